"""Llamas of the sizes that people run, with random weights: speed does not ask what they say."""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shaderlm.engine.known_answers import KNOWN
from shaderlm.engine.known_model import ONE, blocks
from shaderlm.formats.checkpoint import Checkpoint, TensorInfo
from shaderlm.tensors import F32, WeightType

CONTEXT = 4096
DRAWN_BYTES = 1 << 20  # of random blocks, over and over


@dataclass(frozen=True)
class Shape:
    """What a published model's config says of its size."""

    hidden_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tied_output: bool  # the output head is the embedding

    def takes(self, weight_type: WeightType) -> bool:
        """Whether rows are whole blocks."""
        widths = (self.hidden_size, self.n_heads * self.head_dim, self.intermediate_size)
        return not any(width % weight_type.block for width in widths)


SHAPES: Mapping[str, Shape] = {
    "135M": Shape(576, 30, 9, 3, 64, 1536, 49152, True),  # SmolLM2
    "GPT-2": Shape(768, 12, 12, 12, 64, 3072, 50257, True),  # its sizes alone: a Llama's layers
    "1B": Shape(2048, 16, 32, 8, 64, 8192, 128256, True),  # Llama 3.2
    "TinyLlama": Shape(2048, 22, 32, 4, 64, 5632, 32000, False),
    "3B": Shape(3072, 28, 24, 8, 128, 8192, 128256, True),  # Llama 3.2
    "8B": Shape(4096, 32, 32, 8, 128, 14336, 128256, False),  # Llama 3.1
}


class RandomWeights:
    """A `ByteSource` of a model's size that holds two kinds of tensors: random blocks over and over, and ones."""

    def __init__(self, name: str, tensors: Sequence[TensorInfo], drawn: bytes) -> None:
        self.name = name
        self.size = tensors[-1].offset + tensors[-1].size
        self._tensors = tensors  # in the order of their offsets
        self._starts = [tensor.offset for tensor in tensors]
        self._drawn = drawn

    async def read(self, offset: int, size: int) -> bytes:
        return bytes(await self.chunk(offset, size))

    async def chunk(self, offset: int, size: int) -> memoryview:
        tensor = self._tensors[bisect.bisect(self._starts, offset) - 1]
        content = ONE if tensor.type is F32 else self._drawn
        first = (offset - tensor.offset) % len(content)
        repeated = content * -(-(first + size) // len(content))
        return memoryview(repeated)[first : first + size]

    def close(self) -> None:
        """Nothing is held."""


def random_llama(name: str, weight_type: WeightType) -> Checkpoint:
    """A Llama of the size `name` with all its matrices in one type."""
    shape = SHAPES[name]
    count = DRAWN_BYTES // weight_type.bytes
    scale = bytes.fromhex(KNOWN[weight_type.name].scale)
    drawn = blocks(weight_type, count * weight_type.block, name, scale)
    tensors, offset = [], 0
    for tensor, rows, width in _tensors(shape):
        kind = F32 if width == 1 else weight_type
        sizes = (rows,) if width == 1 else (rows, width)
        tensors.append(TensorInfo(tensor, sizes, kind, offset, kind.size(rows * width)))
        offset += tensors[-1].size
    title = f"random {name} in {weight_type}"
    hyperparameters = {
        "vocab_size": shape.vocab_size,
        "context_length": CONTEXT,
        "hidden_size": shape.hidden_size,
        "n_layers": shape.n_layers,
        "n_heads": shape.n_heads,
        "n_kv_heads": shape.n_kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.intermediate_size,
        "norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "rope_interleaved": True,
    }
    by_name = {tensor.name: tensor for tensor in tensors}
    return Checkpoint(title, RandomWeights(title, tensors, drawn), "llama", hyperparameters, by_name)


def _tensors(shape: Shape) -> Iterator[tuple[str, int, int]]:
    """(name, rows, width) of each; a norm's gain has the width 1."""
    hidden, heads = shape.hidden_size, shape.n_heads * shape.head_dim
    kv_heads = shape.n_kv_heads * shape.head_dim
    yield "token_embd.weight", shape.vocab_size, hidden
    for i in range(shape.n_layers):
        yield f"blk.{i}.attn_norm.weight", hidden, 1
        yield f"blk.{i}.attn_q.weight", heads, hidden
        yield f"blk.{i}.attn_k.weight", kv_heads, hidden
        yield f"blk.{i}.attn_v.weight", kv_heads, hidden
        yield f"blk.{i}.attn_output.weight", hidden, heads
        yield f"blk.{i}.ffn_norm.weight", hidden, 1
        yield f"blk.{i}.ffn_gate.weight", shape.intermediate_size, hidden
        yield f"blk.{i}.ffn_up.weight", shape.intermediate_size, hidden
        yield f"blk.{i}.ffn_down.weight", hidden, shape.intermediate_size
    yield "output_norm.weight", hidden, 1
    if not shape.tied_output:
        yield "output.weight", shape.vocab_size, hidden
