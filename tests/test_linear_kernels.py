"""Kernels that read weights, for every weight type, against float64 over what the `gguf` package decodes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agreement import agree
from gpu import Device
from linear_kernels import BROADCAST, LARGE_TILE, TILE, LinearKernel, broadcast, embed, embedded, matvec, multiplied
from shaderlm.planner.tuned import MATVECS
from shaderlm.tensors import WEIGHT_TYPES, WeightType
from weight_blocks import F16_SCALES, Blocks, f16_scales, ordinary_blocks, random_blocks, set_f16_scales

TYPES = [pytest.param(weight_type, id=name) for name, weight_type in WEIGHT_TYPES.items()]
SOME_TYPES = [
    pytest.param(WEIGHT_TYPES[name], id=name) for name in ("F32", "Q4_0", "IQ3_S")
]  # for what no type changes
FewRows = Callable[[int], LinearKernel]
ROWS = 67  # odd, and no multiple of a workgroup's rows
ROUNDING = 2e-6  # of an f32 sum of a hundred terms, relative to the sum of their magnitudes


def columns_of(weight_type: WeightType) -> int:
    """Three groups of 32, the last one not full where the type allows that; or three blocks if they are larger."""
    return 3 * max(weight_type.block, 32) if weight_type.block > 1 else 75


def inputs(rows: int, columns: int, seed: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32)


def agree_with_float64(actual: NDArray[Any], blocks: Blocks, x: NDArray[np.float32]) -> None:
    """Each sum is as exact as f32 makes it: within ROUNDING of the sum of its terms' magnitudes."""
    w, x64 = blocks.decoded(), x.astype(np.float64)
    magnitude = np.abs(x64) @ np.abs(w).T
    agree(actual / magnitude, x64 @ w.T / magnitude, abs=ROUNDING)


@pytest.mark.parametrize("weight_type", TYPES)
def test_matvec_is_that_of_float64(gpu: Device, weight_type: WeightType) -> None:
    blocks = random_blocks(weight_type, ROWS, columns_of(weight_type))
    x = inputs(1, blocks.columns)
    agree_with_float64(multiplied(gpu, matvec(1, 1), blocks, x), blocks, x)


KINDS = {  # of kernels for few rows, by how many
    "one lane a pair": lambda m: matvec(m, 1),
    "16 lanes a pair": lambda m: matvec(m, 16),
    "broadcast": lambda m: broadcast(min(m, 4)),
}
each_kind = pytest.mark.parametrize("few_rows", KINDS.values(), ids=KINDS)


@each_kind
@pytest.mark.parametrize("m", [1, 2, 4, 8])
@pytest.mark.parametrize("weight_type", SOME_TYPES)
def test_few_rows_are_those_of_float64(gpu: Device, weight_type: WeightType, m: int, few_rows: FewRows) -> None:
    blocks = random_blocks(weight_type, ROWS, columns_of(weight_type), seed=2)
    x = inputs(m, blocks.columns)
    agree_with_float64(multiplied(gpu, few_rows(m), blocks, x), blocks, x)


@each_kind
@pytest.mark.parametrize("weight_type", SOME_TYPES)
def test_a_row_is_bit_equal_whatever_rows_are_computed_beside_it(
    gpu: Device, weight_type: WeightType, few_rows: FewRows
) -> None:
    blocks = ordinary_blocks(weight_type, ROWS, max(20 * 32, 3 * weight_type.block))
    x = inputs(8, blocks.columns)
    all_rows = multiplied(gpu, few_rows(8), blocks, x)
    for rows in (slice(0, 1), slice(7, 8), slice(0, 2), slice(4, 8)):
        fewer = multiplied(gpu, few_rows(rows.stop - rows.start), blocks, x[rows])
        np.testing.assert_array_equal(fewer, all_rows[rows], err_msg=f"rows {rows.start} to {rows.stop - 1}")


@pytest.mark.parametrize("variant", MATVECS)
def test_whatever_timing_chooses_rows_are_bit_equal_and_those_of_float64(gpu: Device, variant: str) -> None:
    blocks = ordinary_blocks(WEIGHT_TYPES["Q8_0"], ROWS, 37 * 32)
    x = inputs(8, blocks.columns)
    all_rows = multiplied(gpu, matvec(8, *MATVECS[variant]), blocks, x)
    agree_with_float64(all_rows, blocks, x)
    for m in (1, 2, 4):
        fewer = multiplied(gpu, matvec(m, *MATVECS[variant]), blocks, x[:m])
        np.testing.assert_array_equal(fewer, all_rows[:m], err_msg=f"{m} rows")


@pytest.mark.parametrize("kernel", [TILE, BROADCAST], ids=str)
@pytest.mark.parametrize("weight_type", TYPES)
def test_matmul_is_that_of_float64(gpu: Device, weight_type: WeightType, kernel: LinearKernel) -> None:
    blocks = random_blocks(weight_type, ROWS, columns_of(weight_type))
    x = inputs(64, blocks.columns)
    agree_with_float64(multiplied(gpu, kernel, blocks, x), blocks, x)


@pytest.mark.parametrize("weight_type", SOME_TYPES)
def test_the_size_of_a_tile_changes_no_bit(gpu: Device, weight_type: WeightType) -> None:
    blocks = random_blocks(weight_type, ROWS, columns_of(weight_type))
    x = inputs(64, blocks.columns)
    np.testing.assert_array_equal(multiplied(gpu, LARGE_TILE, blocks, x), multiplied(gpu, TILE, blocks, x))


@pytest.mark.parametrize("weight_type", TYPES)
def test_embedding_rows_are_the_tables_own(gpu: Device, weight_type: WeightType) -> None:
    blocks = random_blocks(weight_type, 50, columns_of(weight_type))
    width, context = blocks.columns, 6
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, blocks.rows, (3, context), dtype=np.uint32)  # [slots, context]
    tokens[0, 0], tokens[2, 5], tokens[1, 2] = 0, 49, 50  # the last one is out of the vocabulary
    rows = np.array([(0, 0, 0, 0), (2, 5, 0, 1), (1, 1, 0, 2), (1, 2, 0, 3)], np.uint32)
    gain = rng.standard_normal(width, dtype=np.float32)
    done = embed(gpu, blocks, tokens, rows, gain)

    picked = np.minimum(tokens[rows[:, 0], rows[:, 1]], blocks.rows - 1)
    expected = blocks.decoded()[picked]
    agree(done["residual"], expected, rel=1.2e-7)
    agree(done["normed"][:, :width], expected * gain, rel=2.4e-7)
    agree(done["sums"][:, 0], (expected**2).sum(1), rel=ROUNDING)
    assert (done["normed"][:, width:] == 77).all(), "wrote between the rows"


@pytest.mark.parametrize("weight_type", TYPES)
def test_random_bits_decode_to_the_bit(gpu: Device, weight_type: WeightType) -> None:
    """They hold each of IQ1's 2048 entries 16 times, those of the smaller codebooks oftener."""
    blocks = random_blocks(weight_type, 256, 4 * max(32, weight_type.block))
    np.testing.assert_array_equal(embedded(gpu, blocks), blocks.decoded())


@pytest.mark.parametrize("name", ["MXFP4", "NVFP4"])
def test_every_scale_of_a_byte_decodes_to_the_bit(gpu: Device, name: str) -> None:
    """But for values that are denormal, which adapters may take for zero, and those past the largest f32."""
    blocks = ordinary_blocks(WEIGHT_TYPES[name], 256, 64)
    scales = blocks.bytes.reshape(256, -1, blocks.type.bytes)[..., : blocks.type.planes[0].size]
    scales[...] = np.arange(256)[:, np.newaxis, np.newaxis]
    with np.errstate(over="ignore"):
        expected = blocks.decoded()
    finite = np.isfinite(expected)
    assert finite[:253].all()
    agree(embedded(gpu, blocks)[finite], expected[finite], abs=np.finfo(np.float32).tiny)
    normal = finite & (np.abs(expected) >= np.finfo(np.float32).tiny)
    np.testing.assert_array_equal(embedded(gpu, blocks)[normal], expected[normal])


@pytest.mark.parametrize("weight_type", [pytest.param(WEIGHT_TYPES[name], id=name) for name in F16_SCALES])
def test_a_scale_that_is_no_number_spoils_its_own_row_alone(gpu: Device, weight_type: WeightType) -> None:
    blocks = random_blocks(weight_type, ROWS, columns_of(weight_type))
    x = inputs(1, blocks.columns)
    good = multiplied(gpu, matvec(1, 1), blocks, x)
    raw = blocks.bytes.reshape(ROWS, -1, weight_type.bytes)
    scales = f16_scales(weight_type, raw)
    scales[5, 0], scales[8, 1] = 0x7C00, 0x7E01  # infinity, and no number
    set_f16_scales(weight_type, raw, scales)
    bad = multiplied(gpu, matvec(1, 1), blocks, x)
    assert not np.isfinite(bad[:, [5, 8]]).any()
    np.testing.assert_array_equal(np.delete(bad, [5, 8], 1), np.delete(good, [5, 8], 1))


@pytest.mark.parametrize("weight_type", SOME_TYPES)
@pytest.mark.parametrize("kernel", [matvec(1, 1), TILE], ids=str)
def test_a_weight_of_one_row_or_one_group_is_multiplied(
    gpu: Device, weight_type: WeightType, kernel: LinearKernel
) -> None:
    columns = weight_type.block if weight_type.block > 1 else 1
    blocks = ordinary_blocks(weight_type, 1, columns)
    x = inputs(1 if kernel is not TILE else 32, columns)
    agree_with_float64(multiplied(gpu, kernel, blocks, x), blocks, x)
