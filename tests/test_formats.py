"""What a file is, told by its first bytes; and a checkpoint's tensors held against what its graph needs."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

from byte_sources import BytesSource, wait
from gguf_writer import gguf_bytes, tensor
from shaderlm.errors import InvalidFile, TensorMismatch, TruncatedFile
from shaderlm.formats import check_weights, read_checkpoint
from shaderlm.formats.checkpoint import Checkpoint

SAFETENSORS = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 98362432\n"


def checkpoint(shapes: Mapping[str, tuple[int, ...]]) -> Checkpoint:
    tensors = {name: tensor(np.zeros(shape), "F32") for name, shape in shapes.items()}
    return wait(read_checkpoint(BytesSource(gguf_bytes({"general.architecture": "llama"}, tensors))))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (LFS_POINTER, r"model\.gguf is a Git LFS pointer, .* Run `git lfs pull`"),
        (b"\n<!DOCTYPE html><html><title>404</title>", r"model\.gguf is a web page, not a model"),
        (b"<html><body>Sign in", r"model\.gguf is a web page, not a model"),
        (
            len(SAFETENSORS).to_bytes(8, "little") + SAFETENSORS,
            r"model\.gguf is a safetensors file, .* not supported yet",
        ),
        (
            b"PK\x03\x04" + bytes(60),
            r"model\.gguf is a zip archive or a PyTorch checkpoint\. Convert the model to GGUF",
        ),
        (b"tjgg" + bytes(60), r"model\.gguf is of a format older than GGUF"),
        (b"hello", r"model\.gguf is no GGUF file: it starts with b'hell', not with b'GGUF'"),
        (b"GG", r"model\.gguf is no GGUF file: it starts with b'GG'"),
        (b" ", r"model\.gguf is no GGUF file: it starts with b' '"),
    ],
)
def test_a_file_that_is_no_gguf_file_is_told_what_it_is(data: bytes, message: str) -> None:
    with pytest.raises(InvalidFile, match=message):
        wait(read_checkpoint(BytesSource(data)))


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(TruncatedFile, match=r"model\.gguf is empty\. Download it again"):
        wait(read_checkpoint(BytesSource(b"")))


def test_a_gguf_file_is_read() -> None:
    found = checkpoint({"w": (2, 3)})
    assert found.tensors["w"].shape == (2, 3)
    assert found.metadata == {"general.architecture": "llama"}


NEEDED = {"token_embd.weight": (8, 4), "blk.0.attn_q.weight": (4, 4), "blk.0.attn_norm.weight": (4,)}


def test_tensors_that_fit_pass() -> None:
    check_weights(checkpoint(NEEDED), NEEDED)


def test_all_that_differs_is_listed_at_once() -> None:
    given = {"token_embd.weight": (8, 5), "blk.0.attn_norm.weight": (4,), "blk.0.attn_q.bias": (4,), "x": (1, 2, 3)}
    with pytest.raises(TensorMismatch) as raised:
        check_weights(checkpoint(given), NEEDED)
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("The tensors of model.gguf are not those of its architecture, llama")
    assert lines[1:] == [
        "  missing: blk.0.attn_q.weight, 4 x 4",
        "  wrong shape: token_embd.weight is 8 x 5, but must be 8 x 4",
        "  unexpected: blk.0.attn_q.bias, 4",
        "  unexpected: x, 1 x 2 x 3",
    ]
