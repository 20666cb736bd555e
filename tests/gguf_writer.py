"""Writes GGUF files for tests, byte by byte, so that a test can also write what no honest writer would.

Layout (GGUF 3, little-endian): magic, version, number of tensors, number of keys; then the keys, the table of tensors,
padding, and the tensors' bytes, each padded to the alignment. The block formats come from the `gguf` package.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, Keys
from numpy.typing import NDArray

from shaderlm.formats.checkpoint import TokenizerData

ALIGNMENT = 32
SCALARS = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "B",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}


@dataclass(frozen=True)
class Typed:
    """A metadata value whose GGUF type is said, where the one that its Python type gives is not wanted."""

    type: GGUFValueType
    value: Any
    element: GGUFValueType | None = None  # of an array


class Tensor(NamedTuple):
    """One line of the table of tensors; `shape` is outermost first, `type` a number, as the file has it."""

    shape: tuple[int, ...]
    type: int
    data: bytes
    offset: int | None = None  # None: behind the one before


TensorSource: TypeAlias = "tuple[NDArray[Any], str] | Tensor"


# Whole models


def write_llama(
    path: Path,
    weights: Mapping[str, NDArray[Any]],
    hyperparameters: Mapping[str, object],
    weight_type: str = "F32",
    tokenizer: TokenizerData | Mapping[str, object] | None = None,
) -> Path:
    """A Llama of canonical tensor names ("blk.0.attn_q.weight") and canonical hyperparameters, as GGUF has it.

    Matrices become `weight_type` ("F16", "Q4_0", ...) where their rows are whole blocks of it; norms, biases and the
    rest stay F32. `rope_interleaved` must be given: where it is False, the rows of Q and K are reordered, because GGUF
    stores this architecture for interleaved pairs, and the file computes the same.
    """
    interleaved = hyperparameters["rope_interleaved"]
    tensors: dict[str, TensorSource] = {}
    for name, weight in weights.items():
        stored = weight if interleaved else _interleaved(name, weight, hyperparameters)
        tensors[name] = (stored, weight_type if takes(stored, weight_type) else "F32")
    factors = hyperparameters.get("rope_frequency_factors")
    if factors is not None:
        tensors["rope_freqs.weight"] = (np.array(factors, np.float32), "F32")
    if isinstance(tokenizer, TokenizerData):
        tokenizer = tokenizer_metadata(tokenizer)
    return write_gguf(path, "llama", {**llama_metadata(hyperparameters), **(tokenizer or {})}, tensors)


def dequantized(weights: Mapping[str, NDArray[Any]], weight_type: str) -> dict[str, NDArray[np.float32]]:
    """The values that a file made by `write_llama` of these weights and this type holds, in the weights' own order."""
    return {
        name: values(encoded(weight, weight_type), weight_type) if takes(weight, weight_type) else weight
        for name, weight in weights.items()
    }


def llama_metadata(hyperparameters: Mapping[str, object]) -> dict[str, object]:
    """GGUF keys of canonical hyperparameters."""
    named = {key.format(arch="llama"): hyperparameters.get(name) for name, key in LLAMA_KEYS.items()}
    return {key: value for key, value in named.items() if value is not None}


def tokenizer_metadata(tokenizer: TokenizerData) -> dict[str, object]:
    """GGUF keys of a tokenizer; of several `eos_ids` the second becomes the end of turn, the third of message."""
    ends = dict(zip((Keys.Tokenizer.EOS_ID, Keys.Tokenizer.EOT_ID, Keys.Tokenizer.EOM_ID), tokenizer.eos_ids))  # noqa: B905
    found: dict[str, object] = {
        Keys.Tokenizer.MODEL: tokenizer.model,
        Keys.Tokenizer.PRE: tokenizer.pre or None,
        Keys.Tokenizer.LIST: list(tokenizer.tokens),
        Keys.Tokenizer.SCORES: [float(score) for score in tokenizer.scores],
        Keys.Tokenizer.TOKEN_TYPE: Typed(GGUFValueType.ARRAY, list(tokenizer.token_types), GGUFValueType.INT32),
        Keys.Tokenizer.MERGES: list(tokenizer.merges),
        Keys.Tokenizer.BOS_ID: tokenizer.bos_id,
        **ends,
        Keys.Tokenizer.UNK_ID: tokenizer.unknown_id,
        Keys.Tokenizer.SEP_ID: tokenizer.sep_id,
        Keys.Tokenizer.ADD_BOS: tokenizer.add_bos,
        Keys.Tokenizer.ADD_EOS: tokenizer.add_eos,
        Keys.Tokenizer.ADD_SEP: tokenizer.add_sep,
        Keys.Tokenizer.ADD_PREFIX: tokenizer.add_space_prefix,
        Keys.Tokenizer.REMOVE_EXTRA_WS: tokenizer.remove_extra_whitespaces,
        Keys.Tokenizer.PRECOMPILED_CHARSMAP: Typed(GGUFValueType.ARRAY, list(tokenizer.charsmap), GGUFValueType.UINT8),
        "tokenizer.ggml.normalizer.lowercase": tokenizer.lower_case,
        "tokenizer.ggml.normalizer.strip_accents": tokenizer.strip_accents,
        Keys.Tokenizer.CHAT_TEMPLATE: tokenizer.chat_template,
    }
    lists = {key: value.value if isinstance(value, Typed) else value for key, value in found.items()}
    return {key: found[key] for key, value in lists.items() if value is not None and value != []}


LLAMA_KEYS = {
    "vocab_size": Keys.LLM.VOCAB_SIZE,
    "context_length": Keys.LLM.CONTEXT_LENGTH,
    "hidden_size": Keys.LLM.EMBEDDING_LENGTH,
    "n_layers": Keys.LLM.BLOCK_COUNT,
    "intermediate_size": Keys.LLM.FEED_FORWARD_LENGTH,
    "n_heads": Keys.Attention.HEAD_COUNT,
    "n_kv_heads": Keys.Attention.HEAD_COUNT_KV,
    "head_dim": Keys.Attention.KEY_LENGTH,
    "norm_eps": Keys.Attention.LAYERNORM_RMS_EPS,
    "sliding_window": Keys.Attention.SLIDING_WINDOW,
    "rope_dim": Keys.Rope.DIMENSION_COUNT,
    "rope_theta": Keys.Rope.FREQ_BASE,
    "rope_scaling": Keys.Rope.SCALING_TYPE,
    "rope_scaling_factor": Keys.Rope.SCALING_FACTOR,
    "rope_original_context": Keys.Rope.SCALING_ORIG_CTX_LEN,
    "rope_attention_factor": Keys.Rope.SCALING_ATTN_FACTOR,
    "rope_extrapolation_factor": Keys.Rope.SCALING_YARN_EXT_FACTOR,
    "rope_beta_fast": Keys.Rope.SCALING_YARN_BETA_FAST,
    "rope_beta_slow": Keys.Rope.SCALING_YARN_BETA_SLOW,
}


def _interleaved(name: str, weight: NDArray[Any], h: Mapping[str, Any]) -> NDArray[Any]:
    """Rows of Q or K (or their biases) reordered within each head: pair i, (i, i + dim/2), moves to (2i, 2i + 1)."""
    n_heads = {"attn_q": h["n_heads"], "attn_k": h.get("n_kv_heads", h["n_heads"])}.get(name.split(".")[-2])
    if n_heads is None:
        return weight
    heads = weight.reshape(n_heads, -1, *weight.shape[1:])  # [n_heads, head_dim, ...]
    head_dim = heads.shape[1]
    dim = h.get("rope_dim") or head_dim
    order = [i + half for i in range(dim // 2) for half in (0, dim // 2)] + list(range(dim, head_dim))
    return heads[:, order].reshape(weight.shape)


# Block formats


def takes(weight: NDArray[Any], weight_type: str) -> bool:
    """Whether it is a matrix whose rows are whole blocks of a type."""
    block, _ = gguf.GGML_QUANT_SIZES[GGMLQuantizationType[weight_type]]
    return weight.ndim == 2 and weight.shape[1] % block == 0


def encoded(weight: NDArray[Any], weight_type: str) -> NDArray[np.uint8]:
    """Values [..., columns] as the bytes of their blocks, [..., bytes of a row]."""
    blocks = gguf.quants.quantize(weight.astype(np.float32), GGMLQuantizationType[weight_type])
    return np.ascontiguousarray(blocks).view(np.uint8)


def values(blocks: NDArray[np.uint8], weight_type: str) -> NDArray[np.float32]:
    """The values of `encoded` bytes, [..., columns]."""
    if weight_type == "Q1_0":  # which the `gguf` package knows the size of, and no more
        return _one_bit_values(blocks)
    return gguf.quants.dequantize(blocks, GGMLQuantizationType[weight_type]).astype(np.float32)


def _one_bit_values(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """128 values in 18 bytes: f16 d, then a bit a value, lowest first: d or -d (llama.cpp's dequantize_row_q1_0)."""
    each = blocks.reshape(*blocks.shape[:-1], -1, 18)
    d = np.ascontiguousarray(each[..., :2]).view(np.float16).astype(np.float32)
    bits = np.unpackbits(each[..., 2:], axis=-1, bitorder="little")
    return np.where(bits == 1, d, -d).reshape(*blocks.shape[:-1], -1)


# The file


def write_gguf(
    path: Path, architecture: str, metadata: Mapping[str, object], tensors: Mapping[str, TensorSource]
) -> Path:
    """A whole file. A tensor is (float values, type name), (uint8 blocks [..., bytes of a row], type name) or `Tensor`.

    Metadata values get the GGUF type that fits their Python type (bool, uint32, float32, string, array of these);
    `Typed` says another.
    """
    table = {name: source if isinstance(source, Tensor) else tensor(*source) for name, source in tensors.items()}
    Path(path).write_bytes(gguf_bytes({Keys.General.ARCHITECTURE: architecture, **metadata}, table))
    return Path(path)


def tensor(array: NDArray[Any], weight_type: str) -> Tensor:
    """Float values, or the uint8 blocks of any type, as a line of the table."""
    number = GGMLQuantizationType[weight_type]
    blocks = array if array.dtype == np.uint8 else encoded(array, weight_type)
    shape = gguf.quants.quant_shape_from_byte_shape(blocks.shape, number)
    return Tensor(tuple(shape), int(number), blocks.tobytes())


def gguf_bytes(
    metadata: Mapping[str, object] | Sequence[tuple[str, object]],
    tensors: Mapping[str, Tensor] | Sequence[tuple[str, Tensor]] = (),
    *,
    version: int = 3,
    alignment: int = ALIGNMENT,
    n_tensors: int | None = None,
    n_keys: int | None = None,
) -> bytes:
    """The bytes of a file. Pairs instead of mappings allow a name twice; the counts can be made to lie."""
    keys = list(metadata.items() if isinstance(metadata, Mapping) else metadata)
    table = list(tensors.items() if isinstance(tensors, Mapping) else tensors)
    counts = (len(table) if n_tensors is None else n_tensors, len(keys) if n_keys is None else n_keys)
    header = bytearray(b"GGUF" + struct.pack("<IQQ", version, *counts))
    for key, value in keys:
        header += string(key) + _typed(value)
    data = bytearray()
    for name, (shape, number, content, offset) in table:
        at = len(data) if offset is None else offset
        header += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), number, at)
        data += _padded(content, alignment)
    return _padded(bytes(header), alignment) + bytes(data)


def string(text: str | bytes) -> bytes:
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded


def _typed(value: object) -> bytes:
    kind = _type_of(value)
    if not isinstance(value, Typed):
        return struct.pack("<I", kind) + _content(kind, value)
    return struct.pack("<I", kind) + _content(kind, value.value, value.element)


def _content(kind: GGUFValueType, value: Any, element: GGUFValueType | None = None) -> bytes:
    if kind == GGUFValueType.STRING:
        return string(value)
    if kind != GGUFValueType.ARRAY:
        return struct.pack("<" + SCALARS[kind], value)
    if element is None:
        element = _type_of(value[0]) if len(value) else GGUFValueType.UINT32
    head = struct.pack("<IQ", element, len(value))
    if element in SCALARS:
        return head + struct.pack(f"<{len(value)}{SCALARS[element]}", *value)
    return head + b"".join(_content(element, item) for item in value)


def _type_of(value: object) -> GGUFValueType:
    if isinstance(value, Typed):
        return value.type
    if isinstance(value, bool):
        return GGUFValueType.BOOL
    if isinstance(value, int):
        return GGUFValueType.UINT32 if value >= 0 else GGUFValueType.INT32
    if isinstance(value, float):
        return GGUFValueType.FLOAT32
    if isinstance(value, str | bytes):
        return GGUFValueType.STRING
    if isinstance(value, Sequence):
        return GGUFValueType.ARRAY
    raise TypeError(f"no GGUF type for {value!r}")


def _padded(data: bytes, alignment: int) -> bytes:
    return data + bytes(-len(data) % alignment)
