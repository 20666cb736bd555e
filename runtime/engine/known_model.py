"""A tiny Llama whose logits are known: of every weight type one, made out of numbers that any Python draws alike.

Its blocks are random bytes but for those that scale them, which `known_answers.py` sets so that values have the spread
of trained weights.
"""

import random
from collections.abc import Iterator, Mapping

from ..formats.checkpoint import Checkpoint, TensorInfo
from ..tensors import F32, WeightType
from .known_answers import KNOWN

HIDDEN, HEADS, KV_HEADS, VOCAB = 256, 4, 2, 64
PROMPT = tuple((29 * i + 7) % VOCAB for i in range(40))  # beyond a page of the cache and a tile of rows
NEXT = 17  # the token behind the prompt
HYPERPARAMETERS: Mapping[str, object] = {
    "vocab_size": VOCAB,
    "context_length": 64,
    "hidden_size": HIDDEN,
    "n_layers": 1,
    "n_heads": HEADS,
    "n_kv_heads": KV_HEADS,
    "intermediate_size": HIDDEN,
    "norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_interleaved": True,
}
MATRICES = {
    "token_embd.weight": VOCAB,
    "blk.0.attn_q.weight": HIDDEN,
    "blk.0.attn_k.weight": HIDDEN // 2,
    "blk.0.attn_v.weight": HIDDEN // 2,
    "blk.0.attn_output.weight": HIDDEN,
    "blk.0.ffn_gate.weight": HIDDEN,
    "blk.0.ffn_up.weight": HIDDEN,
    "blk.0.ffn_down.weight": HIDDEN,
}
NORMS = ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight")
ONE = bytes.fromhex("0000803f")  # 1.0 in F32


class KnownBytes:
    """A `ByteSource` over bytes in memory."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.size = len(data)
        self._data = data

    async def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]

    async def chunk(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]

    def close(self) -> None:
        """Nothing is held."""


def known_model(weight_type: WeightType) -> Checkpoint:
    """The tiny Llama with all its matrices in one type."""
    data = bytearray()
    tensors: dict[str, TensorInfo] = {}
    for name, shape, kind, content in _tensors(weight_type):
        tensors[name] = TensorInfo(name, shape, kind, len(data), len(content))
        data += content + bytes(-len(content) % 32)
    name = f"the known model in {weight_type}"
    return Checkpoint(name, KnownBytes(name, bytes(data)), "llama", HYPERPARAMETERS, tensors)


def blocks(weight_type: WeightType, values: int, seed: str, scale: bytes) -> bytes:
    """`values` values of random blocks; `scale` are the bytes that `SCALES` or `SPANS` asks for."""
    count = values // weight_type.block
    drawn = int.from_bytes(random.Random(seed).randbytes(count * weight_type.bytes), "little")
    keep, fixed = _mask(weight_type, scale)
    kept = drawn & int.from_bytes(keep * count, "little")
    return (kept | int.from_bytes(fixed * count, "little")).to_bytes(count * weight_type.bytes, "little")


# Which bytes of a block scale it: (first, number). All else is drawn. They are one f16 or two, but for MXFP4 and NVFP4.
SCALES: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("Q4_0", "Q5_0", "Q8_0", "IQ4_NL", "IQ4_XS", "Q1_0"), (0, 2)),
    **dict.fromkeys(("IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"), (0, 2)),
    **dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), (0, 4)),
    "Q2_K": (80, 4),
    "Q3_K": (108, 2),
    "Q6_K": (208, 2),
    "TQ1_0": (52, 2),
    "TQ2_0": (64, 2),
    "MXFP4": (0, 1),
    "NVFP4": (0, 4),
}
# Where no whole bytes scale: at a block's end the bits that are drawn, the others are those of `scale`.
SPANS: Mapping[str, bytes] = {
    "F32": bytes.fromhex("ffff7f80"),
    "F16": bytes.fromhex("ff83"),
    "BF16": bytes.fromhex("7f80"),
    "IQ1_M": bytes.fromhex("ff0fff0fff0fff0f"),
}


def _mask(weight_type: WeightType, scale: bytes) -> tuple[bytes, bytes]:
    """The bits of a block that are drawn, and those that are set."""
    if weight_type.name in SPANS:
        span = SPANS[weight_type.name]
        before = weight_type.bytes - len(span)
        return b"\xff" * before + span, bytes(before) + scale
    first, size = SCALES[weight_type.name]
    behind = weight_type.bytes - first - size
    return b"\xff" * first + bytes(size) + b"\xff" * behind, bytes(first) + scale + bytes(behind)


def _tensors(weight_type: WeightType) -> Iterator[tuple[str, tuple[int, ...], WeightType, bytes]]:
    scale = bytes.fromhex(KNOWN[weight_type.name].scale)
    for name, rows in MATRICES.items():
        yield name, (rows, HIDDEN), weight_type, blocks(weight_type, rows * HIDDEN, f"{weight_type} {name}", scale)
    for name in NORMS:
        yield name, (HIDDEN,), F32, ONE * HIDDEN
