"""The kernel that multiplies bytes, for every weight type whose values are affine in bytes, against float64."""

import numpy as np
import pytest
from numpy.typing import NDArray

from agreement import agree
from gpu import Device
from linear_kernels import INT8, multiplied
from shaderlm.planner.choice import has_bytes
from shaderlm.tensors import WEIGHT_TYPES, WeightType
from weight_blocks import Blocks, random_blocks

TYPES = [pytest.param(each, id=name) for name, each in WEIGHT_TYPES.items() if has_bytes(each)]
ROUNDING = 2e-6  # of an f32 sum of a hundred terms, relative to the sum of their magnitudes
each_type = pytest.mark.parametrize("weight_type", TYPES)


def weights(weight_type: WeightType) -> Blocks:
    return random_blocks(weight_type, 70, 3 * max(weight_type.block, 32))


def magnitudes(blocks: Blocks, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums of the terms' magnitudes, [rows of x, rows of W]. Terms are d * byte * x and m * x, which may cancel out."""
    return np.abs(x.astype(np.float64)) @ np.abs(blocks.decoded()).T + np.abs(x).sum(1, keepdims=True) * np.abs(
        blocks.decoded()
    ).max(1)


@each_type
def test_an_input_of_bytes_loses_nothing(gpu: Device, weight_type: WeightType) -> None:
    """16 whole numbers up to 127, times any power of two, are what the kernel rounds to."""
    blocks = weights(weight_type)
    rng = np.random.default_rng(3)
    x = rng.integers(-127, 128, (64, blocks.columns)).astype(np.float32)
    x[:, ::16] = 127.0
    x *= np.repeat(2.0 ** rng.integers(-20, 20, (64, blocks.columns // 16)), 16, axis=1).astype(np.float32)
    sizes = magnitudes(blocks, x)
    agree(multiplied(gpu, INT8, blocks, x) / sizes, x.astype(np.float64) @ blocks.decoded().T / sizes, abs=ROUNDING)


@each_type
def test_the_error_is_within_half_a_byte_of_each_input(gpu: Device, weight_type: WeightType) -> None:
    blocks = weights(weight_type)
    x = np.random.default_rng(4).standard_normal((64, blocks.columns), dtype=np.float32)
    x[5, 16:48] = 0.0  # no largest value to scale by
    steps = np.repeat(np.abs(x.reshape(64, -1, 16)).max(2) / 127, 16, axis=1)
    bound = 0.5 * steps @ np.abs(blocks.decoded()).T + ROUNDING * magnitudes(blocks, x)
    agree(multiplied(gpu, INT8, blocks, x) / bound, x.astype(np.float64) @ blocks.decoded().T / bound, abs=1.0)


def test_the_error_has_the_size_that_rounding_has(gpu: Device) -> None:
    """Of Q4_0 its root mean square is that of x's own rounding times the weights: no other term adds to it."""
    blocks = random_blocks(WEIGHT_TYPES["Q4_0"], 256, 1024)
    x = np.random.default_rng(5).standard_normal((64, blocks.columns), dtype=np.float32)
    steps = np.repeat(np.abs(x.reshape(64, -1, 16)).max(2) / 127, 16, axis=1).astype(np.float64)
    expected = np.sqrt(steps**2 / 12 @ (blocks.decoded() ** 2).T)
    errors = (multiplied(gpu, INT8, blocks, x) - x.astype(np.float64) @ blocks.decoded().T) / expected
    agree(np.sqrt(np.mean(errors**2)), np.float64(1.0), abs=0.03)
