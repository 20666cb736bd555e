"""Broken and hostile GGUF files: each ends in an error that says where, none in another exception or a full memory."""

import struct
import tracemalloc

import numpy as np
import pytest
from gguf import GGUFValueType

from byte_sources import BytesSource, wait
from gguf_writer import Tensor, Typed, gguf_bytes, llama_metadata, string, tensor
from random_llama import random_llama
from shaderlm.errors import InvalidFile, TensorOutOfFile, TruncatedFile
from shaderlm.formats.gguf import read_gguf
from shaderlm.formats.gguf_arrays import MetadataArray
from shaderlm.formats.gguf_cursor import HEADER_LIMIT, MoreBytesNeeded
from shaderlm.formats.gguf_header import HeaderReader

LLAMA = ("general.architecture", "llama")
ARRAY, STRING, U8, U32 = GGUFValueType.ARRAY, GGUFValueType.STRING, GGUFValueType.UINT8, GGUFValueType.UINT32
ROW = tensor(np.arange(4, dtype=np.float32), "F32")


def read(data: bytes, claimed: int | None = None) -> None:
    wait(read_gguf(BytesSource(data, claimed=claimed)))


def key(name: str | bytes, kind: int, content: bytes, *, file_size: int = 0) -> bytes:
    """A file of one key, whose value is any bytes."""
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string(name) + struct.pack("<I", kind) + content
    return data + bytes(max(file_size - len(data), 0))


def flat(value: object) -> object:
    return [flat(item) for item in value] if isinstance(value, MetadataArray) else value


def small_llama() -> bytes:
    """A whole model with every kind of metadata, header and data together about 5 KB."""
    h, weights = random_llama(2, vocab_size=8, hidden_size=8, intermediate_size=8, n_layers=1)
    metadata = {
        "general.architecture": "llama",
        **llama_metadata(h),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "a", "b", "é", "<|im_end|>", "h"],
        "tokenizer.ggml.scores": [0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0],
        "tokenizer.ggml.token_type": Typed(ARRAY, [2, 3, 3, 1, 1, 1, 3, 1], GGUFValueType.INT32),
        "tokenizer.chat_template": "{{ messages }}",
        "nested": Typed(ARRAY, [[1, 2], [3]], ARRAY),
        "flag": True,
        "big": Typed(GGUFValueType.UINT64, 2**63),
        "double": Typed(GGUFValueType.FLOAT64, 1e300),
    }
    return gguf_bytes(metadata, {name: tensor(weight, "F32") for name, weight in weights.items()})


# Truncation


def header_size(data: bytes) -> int:
    return HeaderReader(len(data), "model.gguf").read(data).data_start


def test_a_file_cut_at_any_byte_of_its_header_is_truncated() -> None:
    data = small_llama()
    for size in range(header_size(data)):
        with pytest.raises(TruncatedFile, match=r"model\.gguf"):
            read(data[:size])


def test_a_file_cut_at_any_byte_of_its_weights_lacks_a_tensor() -> None:
    data = small_llama()
    for size in range(header_size(data), len(data), 7):
        with pytest.raises(TensorOutOfFile, match=rf"in model\.gguf ends at byte [\d,]+, but the file has {size:,}\."):
            read(data[:size])


def bytes_needed(reader: HeaderReader, start: bytes) -> int | None:
    try:
        reader.read(start)
    except MoreBytesNeeded as more:
        return more.end
    return None


def test_a_header_given_in_part_asks_for_bytes_that_the_file_has() -> None:
    data = small_llama()
    end = header_size(data)
    for size in range(end):
        needed = bytes_needed(HeaderReader(len(data), "model.gguf"), data[:size])
        assert needed is None or size < needed <= len(data)
        assert needed or size >= end - 31  # what is cut off is padding


def test_a_header_given_byte_by_byte_is_the_same() -> None:
    data = small_llama()
    whole, bit_by_bit = HeaderReader(len(data), "whole").read(data), HeaderReader(len(data), "model.gguf")
    size = next(size for size in range(len(data)) if bytes_needed(bit_by_bit, data[:size]) is None)
    found = bit_by_bit.read(data[:size])
    assert (found.tensors, found.data_start) == (whole.tensors, whole.data_start)
    assert {key: flat(value) for key, value in found.metadata.items()} == {
        key: flat(value) for key, value in whole.metadata.items()
    }


def test_a_source_that_shrinks_while_it_is_read_is_noticed() -> None:
    data = gguf_bytes([LLAMA, ("words", ["word"] * 200_000)])
    with pytest.raises(TruncatedFile, match=r"model\.gguf gave .* bytes at byte 1,048,576 where .* were asked for"):
        read(data[: 3 << 19], claimed=len(data))


# Every check has its words

CASES: list[tuple[str, bytes, str]] = [
    ("another magic", b"GGML" + bytes(60), r"model\.gguf starts with b'GGML', but a GGUF file starts with b'GGUF'"),
    ("version 1", gguf_bytes([LLAMA], version=1), r"has GGUF version 1; versions 2 and 3 are supported"),
    ("version 9", gguf_bytes([LLAMA], version=9), r"has GGUF version 9; versions 2 and 3 are supported"),
    ("big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0), r"is a big-endian GGUF file"),
    ("key twice", gguf_bytes([LLAMA, ("k", 1), ("k", 2)]), r"the metadata key k stands there twice"),
    ("key without a name", gguf_bytes([LLAMA, ("", 1)]), r"metadata key 1 has no name, in model\.gguf at byte 69"),
    ("long key", gguf_bytes([LLAMA, ("k" * 65536, 1)]), r"name of metadata key 1 has 65,536 bytes, but at most 65,535"),
    (
        "key not UTF-8",
        key(b"a\xff", U8, b"\0"),
        r"the name of metadata key 0 is not UTF-8",
    ),
    ("text not UTF-8", gguf_bytes([LLAMA, ("k", b"a\xff")]), r"k is not UTF-8, in model\.gguf at byte 91"),
    ("value type", key("k", 13, bytes(8)), r"k has the value type 13, but GGUF has 0 to 12"),
    ("element type", key("k", ARRAY, struct.pack("<IQ", 77, 0)), r"the elements of k has the value type 77"),
    ("bool of 2", key("k", GGUFValueType.BOOL, b"\x02"), r"k is a bool of value 2"),
    ("alignment 3", gguf_bytes([LLAMA, ("general.alignment", 3)]), r"general\.alignment is 3 in model\.gguf"),
    ("alignment 0", gguf_bytes([LLAMA, ("general.alignment", 0)]), r"general\.alignment is 0 in model\.gguf"),
    ("alignment yes", gguf_bytes([LLAMA, ("general.alignment", True)]), r"general\.alignment is True in model\.gguf"),
    ("alignment text", gguf_bytes([LLAMA, ("general.alignment", "8")]), r"general\.alignment is '8' in model\.gguf"),
    ("tensor twice", gguf_bytes([LLAMA], [("t", ROW), ("t", ROW)]), r"model\.gguf has two tensors called t"),
    ("one key too many", gguf_bytes([LLAMA], {"t": ROW}, n_keys=2), r"tensor 0 has no name"),
    ("one tensor too many", gguf_bytes([LLAMA], {"t": ROW}, n_tensors=2), r"tensor 1 has no name"),
    ("tensor without a name", gguf_bytes([LLAMA], {"": ROW}), r"tensor 0 has no name"),
    ("no dimension", gguf_bytes([LLAMA], {"t": Tensor((), 0, bytes(4))}), r"tensor t has 0 dimensions, but 1 to 4"),
    (
        "5 dimensions",
        gguf_bytes([LLAMA], {"t": Tensor((1,) * 5, 0, bytes(4))}),
        r"tensor t has 5 dimensions, but 1 to 4",
    ),
    ("empty tensor", gguf_bytes([LLAMA], {"t": Tensor((2, 0), 0, b"")}), r"t in model\.gguf has the shape \(2, 0\)"),
    ("2^64 values", gguf_bytes([LLAMA], {"t": Tensor((2**32, 2**32), 0, b"")}), r"t in .* 18,446,744,073,709,551,616"),
    ("2^63 bytes", gguf_bytes([LLAMA], {"t": Tensor((2**61,), 0, b"")}), r"t in .* 2,305,843,009,213,693,952 values"),
    (
        "part of a block",
        gguf_bytes([LLAMA], {"t": Tensor((2, 48), 2, bytes(54))}),
        r"rows of 48 values.*Q4_0's block of 32",
    ),
    (
        "part of a large block",
        gguf_bytes([LLAMA], {"t": Tensor((4, 576), 12, bytes(9 * 144))}),
        r"rows of 576 values.*Q4_K's block of 256",
    ),
    ("crooked offset", gguf_bytes([LLAMA], {"t": ROW._replace(offset=4)}), r"t in model\.gguf has the offset 4, .* 32"),
    (
        "overlap",
        gguf_bytes([LLAMA], {"a": Tensor((16,), 0, bytes(64)), "b": ROW._replace(offset=32)}),
        r"a in model\.gguf ends at byte 224, but b starts at 192",
    ),
    (
        "three deep",
        key("k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 9 + bytes(8)),
        r"arrays within arrays, more than 4 deep",
    ),
]


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_broken_rule_is_named(data: bytes, message: str) -> None:
    with pytest.raises(InvalidFile, match=message):
        read(data)


def test_a_tensor_past_the_end_is_named_with_both_numbers() -> None:
    data = gguf_bytes([LLAMA], {"a": ROW, "blk.0.ffn_down.weight": Tensor((1000,), 0, b"")})
    with pytest.raises(
        TensorOutOfFile, match=r"blk\.0\.ffn_down\.weight in model\.gguf ends at byte 4,192, but the file has 192\."
    ):
        read(data)
    with pytest.raises(TensorOutOfFile, match="probably incomplete: fetch the file again"):
        read(gguf_bytes([LLAMA], {"far": ROW._replace(offset=2**64 - 32)}))


# Numbers that lie

LIES: list[tuple[str, bytes]] = [
    ("tensors", gguf_bytes([LLAMA], n_tensors=2**64 - 1)),
    ("keys", gguf_bytes([LLAMA], n_keys=2**64 - 1)),
    ("length of a key", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63) + bytes(100)),
    ("length of a text", key("k", STRING, struct.pack("<Q", 2**64 - 1), file_size=100)),
    ("numbers", key("k", ARRAY, struct.pack("<IQ", U8, 2**40), file_size=100)),
    ("numbers whose bytes overflow", key("k", ARRAY, struct.pack("<IQ", U32, 2**62), file_size=100)),
    ("strings", key("k", ARRAY, struct.pack("<IQ", STRING, 2**50), file_size=100)),
    ("length of a string", key("k", ARRAY, struct.pack("<IQQ", STRING, 2, 2**64 - 1), file_size=100)),
    ("arrays", key("k", ARRAY, struct.pack("<IQ", ARRAY, 2**50), file_size=100)),
    ("numbers in an array", key("k", ARRAY, struct.pack("<IQIQ", ARRAY, 1, U32, 2**60), file_size=100)),
]


@pytest.mark.parametrize("data", [lie[1] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_a_count_that_lies_is_held_against_the_file_before_it_takes_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TruncatedFile, match=r"model\.gguf"):
            read(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20, f"{peak:,} bytes"


def test_a_header_of_gigabytes_is_not_read_even_if_the_file_is_that_large() -> None:
    data = key("k", ARRAY, struct.pack("<IQ", U8, 3 << 30), file_size=1 << 20)
    with pytest.raises(InvalidFile, match=rf"a header of more than {HEADER_LIMIT:,} bytes is not believed"):
        read(data, claimed=4 << 30)
