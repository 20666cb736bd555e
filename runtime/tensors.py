"""Weight types: how the values of a tensor are stored in a file, and how they lie on the GPU.

A type's *block* is the smallest unit that decodes on its own (32 values for Q4_0, one for F16).  On the GPU a tensor is
stored by *planes*: the same byte range of every block, one block after the other, so that a thread can load whole
`vec4<u32>`.  The planes of a type cover its block exactly, so the re-layout moves bytes and changes none.  Where the
blocks hold indices into a codebook, a copy of that lies before the planes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from . import codebooks

PLANE_ALIGNMENT = 16  # bytes: planes start at a whole vec4<u32>

Codebook: TypeAlias = bytes


@dataclass(frozen=True)
class Plane:
    """The bytes [offset, offset + size) of every block."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class WeightType:
    """One row of the table: a block of `block` values takes `bytes` bytes, cut into `planes`."""

    name: str
    ggml: int  # the number that GGUF files use for it
    block: int
    bytes: int
    planes: tuple[Plane, ...]
    codebook: Codebook = field(default=b"", repr=False)  # what a weight's buffer on the GPU begins with
    codebook_entry: int = 4  # bytes of it that kernels read at once

    def __str__(self) -> str:
        return self.name

    @property
    def shader(self) -> str:
        """The WGSL file that decodes this type."""
        return f"quant/{self.name.lower()}.wgsl"

    @property
    def unit(self) -> int:
        """1, 2 or 4: the most bytes that can be moved at once where planes and blocks are whole multiples of them."""
        return math.gcd(4, self.bytes, *(n for plane in self.planes for n in (plane.offset, plane.size)))

    def size(self, values: int) -> int:
        """Bytes of `values` values in a file. `values` is a multiple of the block."""
        return values // self.block * self.bytes


def plane_offsets(weight_type: WeightType, blocks: int) -> tuple[int, ...]:
    """Where each plane of a tensor of `blocks` blocks starts on the GPU, and last where they all end, in bytes.

    The first starts behind the codebook, which lies at 0.
    """
    offsets = [_align(len(weight_type.codebook), PLANE_ALIGNMENT)]
    for plane in weight_type.planes:
        offsets.append(_align(offsets[-1] + plane.size * blocks, PLANE_ALIGNMENT))
    return tuple(offsets)


def _align(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def _in_bytes(codebook: Codebook, bits: int, magnitudes: Sequence[int]) -> Codebook:
    """Entries of codes of 2 or 4 bits as bytes: the magnitudes that the codes stand for."""
    mask = (1 << bits) - 1
    return bytes(magnitudes[byte >> shift & mask] for byte in codebook for shift in range(0, 8, bits))


def _by_name(types: Iterable[WeightType]) -> dict[str, WeightType]:
    return {weight_type.name: weight_type for weight_type in types}


F32 = WeightType("F32", ggml=0, block=1, bytes=4, planes=(Plane("values", 0, 4),))
F16 = WeightType("F16", ggml=1, block=1, bytes=2, planes=(Plane("values", 0, 2),))
BF16 = WeightType("BF16", ggml=30, block=1, bytes=2, planes=(Plane("values", 0, 2),))
Q4_0 = WeightType("Q4_0", ggml=2, block=32, bytes=18, planes=(Plane("scales", 0, 2), Plane("quants", 2, 16)))
Q4_1 = WeightType("Q4_1", ggml=3, block=32, bytes=20, planes=(Plane("scales", 0, 4), Plane("quants", 4, 16)))
Q5_0 = WeightType(
    "Q5_0", ggml=6, block=32, bytes=22, planes=(Plane("scales", 0, 2), Plane("high bits", 2, 4), Plane("quants", 6, 16))
)
Q5_1 = WeightType(
    "Q5_1", ggml=7, block=32, bytes=24, planes=(Plane("scales", 0, 4), Plane("high bits", 4, 4), Plane("quants", 8, 16))
)
Q8_0 = WeightType("Q8_0", ggml=8, block=32, bytes=34, planes=(Plane("scales", 0, 2), Plane("quants", 2, 32)))
Q2_K = WeightType(
    "Q2_K",
    ggml=10,
    block=256,
    bytes=84,
    planes=(Plane("group scales", 0, 16), Plane("quants", 16, 64), Plane("scales", 80, 4)),
)
Q3_K = WeightType(
    "Q3_K",
    ggml=11,
    block=256,
    bytes=110,
    planes=(Plane("high bits", 0, 32), Plane("quants", 32, 64), Plane("group scales", 96, 12), Plane("scales", 108, 2)),
)
Q4_K = WeightType("Q4_K", ggml=12, block=256, bytes=144, planes=(Plane("scales", 0, 16), Plane("quants", 16, 128)))
Q5_K = WeightType(
    "Q5_K",
    ggml=13,
    block=256,
    bytes=176,
    planes=(Plane("scales", 0, 16), Plane("high bits", 16, 32), Plane("quants", 48, 128)),
)
Q6_K = WeightType(
    "Q6_K",
    ggml=14,
    block=256,
    bytes=210,
    planes=(
        Plane("quants", 0, 128),
        Plane("high bits", 128, 64),
        Plane("group scales", 192, 16),
        Plane("scales", 208, 2),
    ),
)
IQ4_NL = WeightType("IQ4_NL", ggml=20, block=32, bytes=18, planes=(Plane("scales", 0, 2), Plane("quants", 2, 16)))
IQ4_XS = WeightType("IQ4_XS", ggml=23, block=256, bytes=136, planes=(Plane("scales", 0, 8), Plane("quants", 8, 128)))
TQ1_0 = WeightType(
    "TQ1_0",
    ggml=34,
    block=256,
    bytes=54,
    planes=(Plane("quants", 0, 48), Plane("last", 48, 4), Plane("scales", 52, 2)),
)
TQ2_0 = WeightType("TQ2_0", ggml=35, block=256, bytes=66, planes=(Plane("quants", 0, 64), Plane("scales", 64, 2)))
MXFP4 = WeightType("MXFP4", ggml=39, block=32, bytes=17, planes=(Plane("scales", 0, 1), Plane("quants", 1, 16)))
NVFP4 = WeightType("NVFP4", ggml=40, block=64, bytes=36, planes=(Plane("scales", 0, 4), Plane("quants", 4, 32)))
Q1_0 = WeightType("Q1_0", ggml=41, block=128, bytes=18, planes=(Plane("scales", 0, 2), Plane("quants", 2, 16)))

# The i-quants: 256 values a block, which index a codebook by 8 (IQ1, IQ2) or by 4 (IQ3).

IQ1_S = WeightType(
    "IQ1_S",
    ggml=19,
    block=256,
    bytes=50,
    planes=(Plane("scales", 0, 2), Plane("indices", 2, 32), Plane("high bits", 34, 16)),
    codebook=codebooks.IQ1,
)
IQ1_M = WeightType(
    "IQ1_M",
    ggml=29,
    block=256,
    bytes=56,
    planes=(Plane("indices", 0, 32), Plane("high bits", 32, 16), Plane("scales", 48, 8)),
    codebook=codebooks.IQ1,
)
IQ2_XXS = WeightType(
    "IQ2_XXS",
    ggml=16,
    block=256,
    bytes=66,
    planes=(Plane("scales", 0, 2), Plane("indices and signs", 2, 64)),
    codebook=_in_bytes(codebooks.IQ2_XXS, 2, (8, 25, 43)),
    codebook_entry=8,
)
IQ2_XS = WeightType(
    "IQ2_XS",
    ggml=17,
    block=256,
    bytes=74,
    planes=(Plane("scales", 0, 2), Plane("indices and signs", 2, 64), Plane("group scales", 66, 8)),
    codebook=_in_bytes(codebooks.IQ2_XS, 2, (8, 25, 43)),
    codebook_entry=8,
)
IQ2_S = WeightType(
    "IQ2_S",
    ggml=22,
    block=256,
    bytes=82,
    planes=(
        Plane("scales", 0, 2),
        Plane("indices", 2, 32),
        Plane("signs", 34, 32),
        Plane("high bits and scales", 66, 16),
    ),
    codebook=_in_bytes(codebooks.IQ2_S, 2, (8, 25, 43)),
    codebook_entry=8,
)
IQ3_XXS = WeightType(
    "IQ3_XXS",
    ggml=18,
    block=256,
    bytes=98,
    planes=(Plane("scales", 0, 2), Plane("indices", 2, 64), Plane("signs and scales", 66, 32)),
    codebook=_in_bytes(codebooks.IQ3_XXS, 4, (4, 12, 20, 28, 36, 44, 52, 62)),
)
IQ3_S = WeightType(
    "IQ3_S",
    ggml=21,
    block=256,
    bytes=110,
    planes=(
        Plane("scales", 0, 2),
        Plane("indices", 2, 64),
        Plane("high bits", 66, 8),
        Plane("signs and scales", 74, 36),
    ),
    codebook=_in_bytes(codebooks.IQ3_S, 4, range(1, 17, 2)),
)

WEIGHT_TYPES = _by_name(
    [
        *(F32, F16, BF16),
        *(Q4_0, Q4_1, Q5_0, Q5_1, Q8_0),
        *(Q2_K, Q3_K, Q4_K, Q5_K, Q6_K),
        *(IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ4_NL, IQ4_XS),
        *(TQ1_0, TQ2_0, MXFP4, NVFP4, Q1_0),
    ]
)
BY_GGML = {weight_type.ggml: weight_type for weight_type in WEIGHT_TYPES.values()}
