"""Weights on the GPU: streamed from the source through a small ring, moved into planes, never changed."""

import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from ..formats.checkpoint import Checkpoint, TensorInfo
from ..host import BoundBuffer, Buffer, ByteSource, Chunk, Gpu
from ..planner.compose import Kernel, Value, compose
from ..planner.memory import STAGING_BYTES
from ..planner.plan import WeightSpec
from ..tensors import Plane, WeightType, plane_offsets
from .staging import StagingRing

MAX_GROUPS_X = 32_768
VEC4 = 16  # bytes that a thread of relayout_wide.wgsl makes

Progress = Callable[[int], None]  # told how many more bytes of the file are on the GPU


@dataclass(frozen=True)
class ResidentWeight:
    """A weight's buffer: its type's codebook if it has one, its planes, its biases in f32."""

    buffer: Buffer
    size: int


@dataclass(frozen=True)
class Move:
    """A dispatch that makes part of a plane out of a chunk."""

    kernel: Kernel
    uniform: bytes
    threads: int


def _keeps_its_layout(spec: WeightSpec) -> bool:
    """One plane of one-value blocks, rows not padded: the file's bytes are the plane."""
    return len(spec.type.planes) == 1 and spec.padded_blocks == spec.width


class WeightLoader:
    """Uploads weights one after the other; `finish` waits for them, `close` frees the ring."""

    def __init__(self, gpu: Gpu, checkpoint: Checkpoint, progress: Progress) -> None:
        """Raises OutOfMemory."""
        self.gpu = gpu
        self.checkpoint = checkpoint
        self.progress = progress
        self.ring = StagingRing(gpu, STAGING_BYTES)

    def close(self) -> None:
        self.ring.close()

    async def finish(self) -> None:
        """Until every weight is in its place."""
        await self.ring.finish()

    async def load(self, spec: WeightSpec) -> ResidentWeight:
        """A weight in a buffer of its own, on its way there. Raises OutOfMemory, and what reading the source raises."""
        size = spec.resident_bytes
        weight = ResidentWeight(self.gpu.create_buffer(spec.name, size), size)
        try:
            await self._fill(spec, weight)
        except BaseException:
            self.gpu.destroy_buffer(weight.buffer)
            raise
        return weight

    async def _fill(self, spec: WeightSpec, weight: ResidentWeight) -> None:
        if spec.type.codebook:
            self.gpu.write_buffer(weight.buffer, 0, spec.type.codebook)
        first_row = 0
        for i, (name, rows) in enumerate(zip(spec.tensors, spec.rows, strict=True)):
            tensor = _rows_of(self.checkpoint.tensors[name], spec.first_row, rows, spec)
            first_byte = first_row * spec.width * spec.type.bytes
            if spec.vector or (_keeps_its_layout(spec) and first_byte % 4 == 0):
                await self._copy(tensor, weight.buffer, first_byte)
            else:
                await self._relayout(spec, tensor, weight, first_row)
            bias = spec.biases[i] if spec.biases else None
            if bias is not None:
                end = plane_offsets(spec.type, spec.n_rows * spec.padded_blocks)[-1]
                biases = _slice(self.checkpoint.tensors[bias], 4 * spec.first_row, 4 * rows)
                await self._copy(biases, weight.buffer, end + 4 * first_row)
            first_row += rows

    async def _copy(self, tensor: TensorInfo, buffer: Buffer, offset: int) -> None:
        async for position, size, chunk in _chunks(self.checkpoint.source, tensor, STAGING_BYTES):
            await self.ring.room(size)
            self.gpu.write_buffer(buffer, offset + position, chunk)
            self.ring.count(size)
            self.progress(size)

    async def _relayout(self, spec: WeightSpec, tensor: TensorInfo, weight: ResidentWeight, first_row: int) -> None:
        target = BoundBuffer(weight.buffer, 0, weight.size)
        at_once = chunk_blocks(spec)
        async for position, size, chunk in _chunks(self.checkpoint.source, tensor, at_once * spec.type.bytes):
            first_block, n_blocks = position // spec.type.bytes, size // spec.type.bytes
            moves = list(plane_moves(spec, first_row, first_block, n_blocks))
            pipelines = await self.gpu.create_pipelines([move.kernel.source for move in moves])
            await self.ring.room(size, len(moves))
            place = self.ring.stage(chunk, size)
            for move, pipeline in zip(moves, pipelines, strict=True):
                x = min(-(-move.threads // 64), MAX_GROUPS_X)
                self.ring.dispatch(pipeline, [place, target], move.uniform, [x, -(-move.threads // (64 * x)), 1])
            self.progress(size)


async def load_weights(
    gpu: Gpu, checkpoint: Checkpoint, specs: Mapping[str, WeightSpec], progress: Progress
) -> dict[str, ResidentWeight]:
    """All of a model's weights, in the file's order, so that they can be loaded while it is still coming.

    Raises what `WeightLoader.load` raises, and then none is left.
    """
    weights: dict[str, ResidentWeight] = {}
    loader = WeightLoader(gpu, checkpoint, progress)

    def place_in_file(name: str) -> int:
        return min(checkpoint.tensors[tensor].offset for tensor in specs[name].tensors)

    try:
        for name in sorted(specs, key=place_in_file):
            weights[name] = await loader.load(specs[name])
        await loader.finish()
    except BaseException:
        for weight in weights.values():
            gpu.destroy_buffer(weight.buffer)
        raise
    finally:
        loader.close()
    return weights


def chunk_blocks(spec: WeightSpec) -> int:
    """Blocks that are moved at once: whole words of the file, and whole vec4 of every plane, or whole rows."""
    words = 4 // spec.type.unit
    if spec.padded_blocks != spec.width // spec.type.block:
        step = words * (spec.width // spec.type.block)
    else:
        step = max(words, *(VEC4 // math.gcd(VEC4, plane.size) for plane in spec.type.planes))
    return STAGING_BYTES // spec.type.bytes // step * step


def plane_moves(spec: WeightSpec, first_row: int, first_block: int, n_blocks: int) -> Iterator[Move]:
    """What brings blocks [first_block, first_block + n_blocks) of a tensor to their planes.

    The tensor's first row is the weight's `first_row`.
    """
    row_blocks, padded = spec.width // spec.type.block, spec.padded_blocks
    starts = plane_offsets(spec.type, spec.n_rows * padded)
    if padded == row_blocks:
        target_block, target_blocks = first_row * padded + first_block, n_blocks
    else:  # whole rows
        target_block = (first_row + first_block // row_blocks) * padded
        target_blocks = n_blocks // row_blocks * padded
    for plane, start in zip(spec.type.planes, starts[:-1], strict=True):
        first, size = target_block * plane.size, target_blocks * plane.size  # bytes of the plane
        if padded == row_blocks and first % VEC4 == 0 and size >= VEC4:
            count = size // VEC4
            yield wide_move(spec.type, plane, (start + first) // VEC4, count)
            first, size = first + VEC4 * count, size - VEC4 * count
        if size:
            unit = spec.type.unit
            chunk = {
                "first_unit": first // unit,
                "n_units": size // unit,
                "plane": start // 4,
                "row_blocks": row_blocks,
                "padded_blocks": padded,
                "first_block": first_block,
                "first_row": first_row,
            }
            yield unit_move(spec.type, plane, chunk, padded=padded != row_blocks)


def wide_move(weight_type: WeightType, plane: Plane, first: int, count: int) -> Move:
    """Whole vec4 of a plane, from the chunk's first block on."""
    kernel = wide_kernel(weight_type, plane)
    return Move(kernel, kernel.uniforms["chunk"].pack({"first": first, "count": count}), count)


def unit_move(weight_type: WeightType, plane: Plane, chunk: Mapping[str, int], *, padded: bool) -> Move:
    """Any part of a plane, word by word."""
    kernel = relayout_kernel(weight_type, plane, padded=padded)
    units = 4 // weight_type.unit  # of a word
    words = -(-(chunk["first_unit"] % units + chunk["n_units"]) // units)
    return Move(kernel, kernel.uniforms["chunk"].pack(chunk), words)


@cache
def relayout_kernel(weight_type: WeightType, plane: Plane, *, padded: bool) -> Kernel:
    """The kernel that moves any part of a plane; `padded` says whether rows are longer on the GPU than in the file."""
    return compose("relayout.wgsl", parameters={**_cut(weight_type, plane), "PADDED": padded})


@cache
def wide_kernel(weight_type: WeightType, plane: Plane) -> Kernel:
    """The kernel that moves whole vec4 of a plane."""
    return compose("relayout_wide.wgsl", parameters=_cut(weight_type, plane))


def _cut(weight_type: WeightType, plane: Plane) -> dict[str, Value]:
    """How a plane is cut out of a block."""
    unit = weight_type.unit
    return {
        "UNIT_BITS": 8 * unit,
        "PLANE_UNITS": plane.size // unit,
        "BLOCK_UNITS": weight_type.bytes // unit,
        "BLOCK_OFFSET": plane.offset // unit,
    }


def _rows_of(tensor: TensorInfo, first: int, rows: int, spec: WeightSpec) -> TensorInfo:
    """Rows [first, first + rows) of a tensor, as a tensor."""
    row = spec.type.size(spec.width)
    return _slice(tensor, first * row, rows * row)


def _slice(tensor: TensorInfo, first_byte: int, size: int) -> TensorInfo:
    return replace(tensor, offset=tensor.offset + first_byte, size=size)


async def _chunks(source: ByteSource, tensor: TensorInfo, step: int) -> AsyncIterator[tuple[int, int, Chunk]]:
    """(position, size, chunk) of a tensor's bytes, at most `step` at a time."""
    for position in range(0, tensor.size, step):
        size = min(step, tensor.size - position)
        yield position, size, await source.chunk(tensor.offset + position, size)
