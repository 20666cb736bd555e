"""The table of weight types: what it says of sizes is what the `gguf` package says, and planes lose no byte."""

import gguf
import pytest

from shaderlm.tensors import BY_GGML, PLANE_ALIGNMENT, WEIGHT_TYPES, WeightType, plane_offsets

every_type = pytest.mark.parametrize("weight_type", WEIGHT_TYPES.values(), ids=str)


@every_type
def test_a_type_has_the_number_and_sizes_that_gguf_gives_it(weight_type: WeightType) -> None:
    number = gguf.GGMLQuantizationType[weight_type.name]
    assert weight_type.ggml == number
    assert (weight_type.block, weight_type.bytes) == gguf.GGML_QUANT_SIZES[number]
    assert BY_GGML[number] is weight_type


@every_type
def test_the_planes_cover_a_block_exactly(weight_type: WeightType) -> None:
    covered = [plane.offset + i for plane in weight_type.planes for i in range(plane.size)]
    assert sorted(covered) == list(range(weight_type.bytes))


@every_type
@pytest.mark.parametrize("blocks", [1, 3, 1000])
def test_planes_start_aligned_and_do_not_overlap(weight_type: WeightType, blocks: int) -> None:
    *starts, end = plane_offsets(weight_type, blocks)
    assert len(starts) == len(weight_type.planes)
    assert len(weight_type.codebook) <= starts[0] < len(weight_type.codebook) + PLANE_ALIGNMENT
    assert all(start % PLANE_ALIGNMENT == 0 for start in (*starts, end))
    for plane, start, following in zip(weight_type.planes, starts, [*starts[1:], end], strict=True):
        assert start + plane.size * blocks <= following < start + plane.size * blocks + PLANE_ALIGNMENT


@every_type
def test_a_row_of_blocks_takes_their_bytes(weight_type: WeightType) -> None:
    assert weight_type.size(7 * weight_type.block) == 7 * weight_type.bytes


@every_type
def test_a_type_is_called_by_its_name(weight_type: WeightType) -> None:
    assert str(weight_type) == weight_type.name
    assert weight_type.shader == f"quant/{weight_type.name.lower()}.wgsl"
