"""Weights on the GPU keep the file's bits: what was uploaded, read back and un-laid-out, is what the file holds."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from byte_sources import BytesSource, wait
from gpu import Device
from shaderlm.engine import weights
from shaderlm.engine.weights import WeightLoader
from shaderlm.formats.checkpoint import Checkpoint, TensorInfo
from shaderlm.planner.plan import WeightSpec
from shaderlm.tensors import F32, WEIGHT_TYPES, WeightType, plane_offsets

TYPES = [pytest.param(weight_type, id=name) for name, weight_type in WEIGHT_TYPES.items()]
Bytes = NDArray[np.uint8]


def file_of(weight_type: WeightType, rows: tuple[int, ...], columns: int, biased: tuple[bool, ...]) -> Checkpoint:
    """Tensors "w0", "w1", ... of random bytes, some with a bias "b0", ...; none begins at a whole word of another."""
    rng = np.random.default_rng(sum(rows) + columns)
    data, tensors = bytearray(rng.bytes(7)), {}

    def add(name: str, shape: tuple[int, ...], type: WeightType) -> None:
        size = type.size(int(np.prod(shape)))
        tensors[name] = TensorInfo(name, shape, type, len(data), size)
        data.extend(rng.bytes(size + 3))

    for i, (n, has_bias) in enumerate(zip(rows, biased, strict=True)):
        add(f"w{i}", (n, columns), weight_type)
        if has_bias:
            add(f"b{i}", (n,), F32)
    return Checkpoint("random", BytesSource(bytes(data)), "llama", {}, tensors)


def spec_of(checkpoint: Checkpoint) -> WeightSpec:
    matrices = [tensor for name, tensor in checkpoint.tensors.items() if name[0] == "w"]
    return WeightSpec(
        name="joined",
        tensors=tuple(tensor.name for tensor in matrices),
        type=matrices[0].type,
        rows=tuple(tensor.shape[0] for tensor in matrices),
        width=matrices[0].shape[1],
        biases=tuple(f"b{i}" if f"b{i}" in checkpoint.tensors else None for i in range(len(matrices))),
    )


def uploaded(gpu: Device, checkpoint: Checkpoint, spec: WeightSpec) -> tuple[Bytes, int]:
    """What lies on the GPU, and how many bytes of the file the progress callback was told of."""
    told = 0

    def progress(size: int) -> None:
        nonlocal told
        told += size

    async def load() -> bytes:
        loader = WeightLoader(gpu.gpu, checkpoint, progress)
        try:
            resident = await loader.load(spec)
            await loader.finish()
            data = await gpu.gpu.read_buffer(resident.buffer, 0, -(-resident.size // 4) * 4)
            gpu.gpu.destroy_buffer(resident.buffer)
            return data[: resident.size]
        finally:
            loader.close()

    return np.frombuffer(wait(load()), np.uint8), told


def bytes_of(checkpoint: Checkpoint, name: str) -> Bytes:
    tensor, source = checkpoint.tensors[name], checkpoint.source
    assert isinstance(source, BytesSource)
    return np.frombuffer(source.data, np.uint8)[tensor.offset : tensor.offset + tensor.size]


def blocks_out_of_planes(data: Bytes, spec: WeightSpec) -> tuple[Bytes, Bytes]:
    """The file's blocks [rows, blocks of a row, bytes of a block], and the blocks that fill the rows up."""
    n = spec.n_rows * spec.padded_blocks
    offsets = plane_offsets(spec.type, n)
    blocks = np.zeros((n, spec.type.bytes), np.uint8)
    for plane, start in zip(spec.type.planes, offsets[:-1], strict=True):
        part = data[start : start + plane.size * n].reshape(n, plane.size)
        blocks[:, plane.offset : plane.offset + plane.size] = part
    rows = blocks.reshape(spec.n_rows, spec.padded_blocks, -1)
    in_file = spec.width // spec.type.block
    return rows[:, :in_file], rows[:, in_file:]


def check(gpu: Device, checkpoint: Checkpoint) -> None:
    spec = spec_of(checkpoint)
    data, told = uploaded(gpu, checkpoint, spec)
    blocks, padding = blocks_out_of_planes(data, spec)
    expected = np.concatenate([bytes_of(checkpoint, name) for name in spec.tensors])
    np.testing.assert_array_equal(blocks.reshape(-1), expected)
    assert data[: len(spec.type.codebook)].tobytes() == spec.type.codebook
    assert not padding.any(), "what fills a row up must be zero"
    assert told == sum(tensor.size for tensor in checkpoint.tensors.values())
    biases = data[plane_offsets(spec.type, spec.n_rows * spec.padded_blocks)[-1] :].view(np.float32)
    first = 0
    for name, rows in zip(spec.biases, spec.rows, strict=True):
        own = biases[first : first + rows] if biases.size else np.zeros(rows, np.float32)
        wanted: NDArray[Any] = bytes_of(checkpoint, name).view(np.float32) if name else np.zeros(rows, np.float32)
        np.testing.assert_array_equal(own.view(np.uint32), wanted.view(np.uint32), err_msg=f"bias of {rows} rows")
        first += rows


def width(weight_type: WeightType, blocks: int, *, odd: bool) -> int:
    """Values a row: some blocks, or groups of 32 of one-value types, which if `odd` are not all whole."""
    return max(32, weight_type.block) * blocks - (13 if odd and weight_type.block == 1 else 0)


@pytest.mark.parametrize("weight_type", TYPES)
def test_a_weight_keeps_the_files_bits(gpu: Device, weight_type: WeightType) -> None:
    check(gpu, file_of(weight_type, (5,), width(weight_type, 4, odd=False), (False,)))


@pytest.mark.parametrize("weight_type", TYPES)
@pytest.mark.parametrize("biased", [(True, True, True), (False, True, False)], ids=["biases", "one-bias"])
def test_joined_weights_of_odd_sizes_keep_the_files_bits(
    gpu: Device, weight_type: WeightType, biased: tuple[bool, ...]
) -> None:
    check(gpu, file_of(weight_type, (5, 3, 7), width(weight_type, 3, odd=True), biased))


@pytest.mark.parametrize("weight_type", TYPES)
@pytest.mark.parametrize("odd", [False, True], ids=["whole-groups", "padded"])
def test_many_chunks_keep_the_files_bits(
    gpu: Device, weight_type: WeightType, odd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "STAGING_BYTES", 4096)  # two to thirteen rows of these
    check(gpu, file_of(weight_type, (33, 17, 17), width(weight_type, 5, odd=odd), (False, True, True)))


@pytest.mark.parametrize("columns", [31, 33, 1])
@pytest.mark.parametrize("weight_type", [t for t in WEIGHT_TYPES.values() if t.block == 1], ids=str)
def test_rows_of_any_width_keep_the_files_bits(gpu: Device, weight_type: WeightType, columns: int) -> None:
    check(gpu, file_of(weight_type, (3, 2), columns, (False, False)))


def test_a_vector_is_kept_as_it_is(gpu: Device) -> None:
    checkpoint = file_of(F32, (1,), 37, (False,))
    data, _ = uploaded(gpu, checkpoint, WeightSpec("gain", ("w0",), F32, (1,), 37, vector=True))
    np.testing.assert_array_equal(data, bytes_of(checkpoint, "w0"))
