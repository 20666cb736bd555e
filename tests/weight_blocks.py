"""Weights for tests of kernels: random blocks of every type, what they decode to, and how they lie on the GPU."""

from dataclasses import dataclass

import gguf
import numpy as np
from numpy.typing import NDArray

from gguf_writer import encoded, values
from shaderlm.engine.known_model import SCALES
from shaderlm.tensors import WeightType, plane_offsets


@dataclass(frozen=True)
class Blocks:
    """A weight [rows, columns] as its file has it: uint8 [rows, bytes of a row]."""

    type: WeightType
    bytes: NDArray[np.uint8]

    @property
    def rows(self) -> int:
        return len(self.bytes)

    @property
    def columns(self) -> int:
        return self.bytes.shape[1] // self.type.bytes * self.type.block

    @property
    def groups(self) -> int:
        """Groups of 32 values a row, the last one padded."""
        return -(-self.columns // 32)

    def decoded(self) -> NDArray[np.float64]:
        """The values, [rows, columns], by the `gguf` package."""
        return values(self.bytes, self.type.name).astype(np.float64)

    def laid_out(self, biases: NDArray[np.float32] | None = None) -> NDArray[np.uint32]:
        """The codebook, then planes, one behind the other, each from a multiple of 16 bytes on; then biases."""
        blocks = self.bytes.reshape(self.rows, -1, self.type.bytes)  # [rows, blocks of a row, bytes]
        padding = self.padded_blocks - blocks.shape[1]
        blocks = np.pad(blocks, ((0, 0), (0, padding), (0, 0))).reshape(-1, self.type.bytes)
        laid = self.type.codebook
        for plane in self.type.planes:
            laid += blocks[:, plane.offset : plane.offset + plane.size].tobytes()
            laid += bytes(-len(laid) % 16)
        if biases is not None:
            laid += biases.tobytes()
            laid += bytes(-len(laid) % 16)
        return np.frombuffer(laid, np.uint32)

    @property
    def padded_blocks(self) -> int:
        """Blocks a row on the GPU: one-value blocks are filled up to whole groups."""
        return self.groups * 32 // self.type.block

    def uniform(self, *, pairs: int | None = None, biased: bool = False, scale: float = 1.0) -> dict[str, object]:
        """The members of `Linear` in the kernels."""
        offsets = [offset // 16 for offset in plane_offsets(self.type, self.rows * self.padded_blocks)]
        return {
            "planes": (*offsets[:-1], *[0] * (5 - len(offsets))),
            "bias": offsets[-1] if biased else 0,
            "groups": self.groups,
            "first_pair": 0,
            "end_pair": -(-self.rows // 2) if pairs is None else pairs,
            "all_pairs": -(-self.rows // 2) if pairs is None else pairs,
            "n_rows": self.rows,
            "x_stride": self.groups * 8,
            "first_group": 0,
            "scale": scale,
        }


F16_SCALES = [name for name in SCALES if name not in ("MXFP4", "NVFP4")]


def random_blocks(weight_type: WeightType, rows: int, columns: int, seed: int = 1) -> Blocks:
    """Random bits. Scales go from zero and f16's smallest denormals to its largest number, other values to 1e12."""
    rng = np.random.default_rng(seed)
    if weight_type.block == 1:
        return Blocks(weight_type, _one_value_blocks(weight_type, rng, rows, columns))
    blocks = _random_bytes(weight_type, rng, rows, columns)
    if weight_type.name == "MXFP4":
        blocks[..., 0] = rng.integers(88, 168, blocks.shape[:-1])  # 2^-40 to 2^39
        blocks[2:3, 0, 0] = 0
    elif weight_type.name != "NVFP4":
        scales = f16_scales(weight_type, blocks)
        scales &= np.uint16(0xFBFF)  # an exponent of 31 would be infinity: make it 30
        scales[0, 0] = 0x0001  # the smallest denormal
        scales[0, -1] = 0x83FF  # and the largest, negative
        scales[1, 0] = 0x7BFF  # 65504
        scales[2:3, 0] = 0
        set_f16_scales(weight_type, blocks, scales)
    return Blocks(weight_type, blocks.reshape(rows, -1))


def ordinary_blocks(
    weight_type: WeightType, rows: int, columns: int, seed: int = 1, *, deviation: float | None = None
) -> Blocks:
    """Values with a standard deviation of 1 / sqrt(columns), as trained weights have, or with another one.

    Types that the `gguf` package does not write are random bits with such scales.
    """
    rng = np.random.default_rng(seed)
    deviation = columns**-0.5 if deviation is None else deviation
    try:
        return Blocks(weight_type, encoded(rng.normal(0, deviation, (rows, columns)), weight_type.name))
    except NotImplementedError:
        blocks = _random_bytes(weight_type, rng, rows, columns)
    _set_scales(weight_type, blocks, np.ones(_scales_of(weight_type, blocks)))
    own = Blocks(weight_type, blocks.reshape(rows, -1)).decoded().std()
    shape = _scales_of(weight_type, blocks)
    _set_scales(weight_type, blocks, rng.uniform(0.8, 1.2, shape) * rng.choice((-1, 1), shape) * deviation / own)
    return Blocks(weight_type, blocks.reshape(rows, -1))


def _scales_of(weight_type: WeightType, blocks: NDArray[np.uint8]) -> tuple[int, ...]:
    if weight_type.name == "NVFP4":
        return (*blocks.shape[:-1], 4)
    return f16_scales(weight_type, blocks).shape


def _set_scales(weight_type: WeightType, blocks: NDArray[np.uint8], scales: NDArray[np.float64]) -> None:
    if weight_type.name == "NVFP4":  # has no sign
        blocks[..., :4] = gguf.quants.NVFP4.fp32_to_ue4m3(np.abs(scales).astype(np.float32))
    else:
        set_f16_scales(weight_type, blocks, scales.astype(np.float16).view(np.uint16))


def f16_scales(weight_type: WeightType, blocks: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The bits of the f16 scales of blocks [rows, blocks of a row, bytes]: [rows, blocks of a row, scales of one]."""
    if weight_type.name == "IQ1_M":  # one, by four bits on top of each of four words of 16
        parts = (blocks[..., 48:].view(np.uint16) >> 12) << np.arange(0, 16, 4, dtype=np.uint16)
        return np.bitwise_or.reduce(parts, axis=-1, keepdims=True)
    first, size = SCALES[weight_type.name]
    return np.ascontiguousarray(blocks[..., first : first + size]).view(np.uint16)


def set_f16_scales(weight_type: WeightType, blocks: NDArray[np.uint8], scales: NDArray[np.uint16]) -> None:
    if weight_type.name == "IQ1_M":
        words = blocks[..., 48:].view(np.uint16)
        words[...] = (words & 0x0FFF) | (scales >> np.arange(0, 16, 4, dtype=np.uint16)) << 12
    else:
        first, size = SCALES[weight_type.name]
        blocks[..., first : first + size] = np.ascontiguousarray(scales).view(np.uint8)


def _random_bytes(weight_type: WeightType, rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (rows, columns // weight_type.block, weight_type.bytes), dtype=np.uint8)


def _one_value_blocks(weight_type: WeightType, rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.uint8]:
    if weight_type.name == "F16":
        bits = rng.integers(0, 1 << 16, (rows, columns), dtype=np.uint16) & np.uint16(0xFBFF)
        return bits.view(np.uint8)
    numbers = (rng.normal(0, 1, (rows, columns)) * 10.0 ** rng.uniform(-12, 12, (rows, columns))).astype(np.float32)
    if weight_type.name == "F32":
        return numbers.view(np.uint8)
    return (numbers.view(np.uint32) >> np.uint32(16)).astype(np.uint16).view(np.uint8)
