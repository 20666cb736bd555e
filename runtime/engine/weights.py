"""Weights on the GPU: streamed from the source through a small ring, moved into planes, never changed.

The ring holds at most 8 MB, however large the model: chunks of whole blocks are written to a staging buffer, kernels
move their planes to their places, and before a staging buffer is used again its work is waited for.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace

from ..formats.checkpoint import Checkpoint, TensorInfo
from ..host import BindGroup, BoundBuffer, Buffer, ByteSource, Chunk, Gpu, Pipeline, Usage
from ..planner.buffers import OFFSET_ALIGNMENT
from ..planner.compose import Kernel, compose
from ..planner.memory import RING, STAGING_BYTES
from ..planner.plan import WeightSpec
from ..tensors import Plane, WeightType, plane_offsets

MOVES = 64  # planes of chunks that a staging buffer may feed
MAX_GROUPS_X = 32_768

Progress = Callable[[int], None]  # told how many more bytes of the file are on the GPU


@dataclass(frozen=True)
class ResidentWeight:
    """A weight's buffer: its type's codebook if it has one, its planes, its biases in f32."""

    buffer: Buffer
    size: int


def _keeps_its_layout(spec: WeightSpec) -> bool:
    """One plane of one-value blocks, rows not padded: the file's bytes are the plane."""
    return len(spec.type.planes) == 1 and spec.padded_blocks == spec.width


class WeightLoader:
    """Uploads weights one after the other; `close` frees the ring."""

    def __init__(self, gpu: Gpu, checkpoint: Checkpoint, progress: Progress) -> None:
        self.gpu = gpu
        self.checkpoint = checkpoint
        self.progress = progress
        self.turn = 0  # the staging buffer that is being filled
        self.used = 0  # bytes of it
        self.moves = 0  # uniforms of it
        self.queued = 0  # bytes that the driver holds a copy of until they are waited for
        self.staging: list[Buffer] = []
        self.uniforms: list[Buffer] = []

    async def open(self) -> None:
        """Make the ring."""
        for i in range(RING):
            self.staging.append(self.gpu.create_buffer(f"upload {i}", STAGING_BYTES))
            self.uniforms.append(self.gpu.create_buffer(f"upload chunk {i}", MOVES * OFFSET_ALIGNMENT, Usage.UNIFORM))

    def close(self) -> None:
        for buffer in (*self.staging, *self.uniforms):
            self.gpu.destroy_buffer(buffer)

    async def load(self, spec: WeightSpec) -> ResidentWeight:
        """A weight in a buffer of its own. Raises OutOfMemory, and what reading the source raises."""
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
            if self.queued + size > RING * STAGING_BYTES:
                await self._wait()
            self.gpu.write_buffer(buffer, offset + position, chunk)
            self.queued += size
            self.progress(size)

    async def _relayout(self, spec: WeightSpec, tensor: TensorInfo, weight: ResidentWeight, first_row: int) -> None:
        row_blocks = spec.width // spec.type.block
        padded = spec.padded_blocks != row_blocks
        kernels = [relayout_kernel(spec.type, plane, padded=padded) for plane in spec.type.planes]
        pipelines = await self.gpu.create_pipelines([kernel.source for kernel in kernels])
        step = 4 // spec.type.unit * (row_blocks if padded else 1)  # so that chunks are whole words, and whole rows
        blocks_at_once = STAGING_BYTES // spec.type.bytes // step * step
        async for position, size, chunk in _chunks(self.checkpoint.source, tensor, blocks_at_once * spec.type.bytes):
            place = await self._place(size, len(kernels))
            self.gpu.write_buffer(place.staging.buffer, place.staging.offset, chunk)
            first_block, n_blocks = position // spec.type.bytes, size // spec.type.bytes
            moves = plane_moves(spec, row_blocks, first_row, first_block, n_blocks)
            self._move(kernels, pipelines, list(moves), 4 // spec.type.unit, place, weight)
            self.progress(size)

    async def _place(self, size: int, n_moves: int) -> "_Place":
        """Room for a chunk and its uniforms, behind what was placed before; waits where the ring is full."""
        if self.used + size > STAGING_BYTES or self.moves + n_moves > MOVES:
            self.turn, self.used, self.moves = self.turn + 1, 0, 0
        if self.turn == RING:
            await self._wait()
        place = _Place(
            BoundBuffer(self.staging[self.turn], self.used, -(-size // 4) * 4),
            self.uniforms[self.turn],
            OFFSET_ALIGNMENT * self.moves,
        )
        self.used += -(-size // OFFSET_ALIGNMENT) * OFFSET_ALIGNMENT
        self.moves += n_moves
        return place

    async def _wait(self) -> None:
        await self.gpu.wait()
        self.turn = self.used = self.moves = self.queued = 0

    def _move(
        self,
        kernels: list[Kernel],
        pipelines: list[Pipeline],
        moves: list[dict[str, int]],
        units: int,
        place: "_Place",
        weight: ResidentWeight,
    ) -> None:
        """Run a kernel for each plane of the chunk; `units` is how many a word has."""
        groups: list[BindGroup] = []
        counts: list[int] = []
        for i, move in enumerate(moves):
            layout, offset = kernels[i].uniforms["chunk"], place.first_uniform + OFFSET_ALIGNMENT * i
            self.gpu.write_buffer(place.uniforms, offset, layout.pack(move))
            bound = [
                place.staging,
                BoundBuffer(weight.buffer, 0, weight.size),
                BoundBuffer(place.uniforms, offset, layout.size),
            ]
            groups.append(self.gpu.create_bind_group(pipelines[i], bound))
            words = -(-(move["first_unit"] % units + move["n_units"]) // units)
            x = min(-(-words // 64), MAX_GROUPS_X)
            counts += [x, -(-words // (64 * x)), 1]
        program = self.gpu.freeze(pipelines, groups)
        self.gpu.submit(program, counts)
        self.gpu.release(program)


@dataclass(frozen=True)
class _Place:
    """Where a chunk lies in the ring, and the uniforms of its moves."""

    staging: BoundBuffer
    uniforms: Buffer
    first_uniform: int


def relayout_kernel(weight_type: WeightType, plane: Plane, *, padded: bool) -> Kernel:
    """The kernel that moves a plane; `padded` says whether rows are longer on the GPU than in the file."""
    unit = weight_type.unit
    return compose(
        "relayout.wgsl",
        parameters={
            "UNIT_BITS": 8 * unit,
            "PLANE_UNITS": plane.size // unit,
            "BLOCK_UNITS": weight_type.bytes // unit,
            "BLOCK_OFFSET": plane.offset // unit,
            "PADDED": padded,
        },
    )


def plane_moves(
    spec: WeightSpec, row_blocks: int, first_row: int, first_block: int, n_blocks: int
) -> Iterator[dict[str, int]]:
    """The uniform `Chunk` of relayout.wgsl for each plane: blocks [first_block, first_block + n_blocks) of a tensor."""
    padded = spec.padded_blocks
    starts = plane_offsets(spec.type, spec.n_rows * padded)
    if padded == row_blocks:
        target_block, target_blocks = first_row * padded + first_block, n_blocks
    else:  # whole rows
        target_block = (first_row + first_block // row_blocks) * padded
        target_blocks = n_blocks // row_blocks * padded
    for plane, start in zip(spec.type.planes, starts[:-1], strict=True):
        yield {
            "first_unit": target_block * plane.size // spec.type.unit,
            "n_units": target_blocks * plane.size // spec.type.unit,
            "plane": start // 4,
            "row_blocks": row_blocks,
            "padded_blocks": padded,
            "first_block": first_block,
            "first_row": first_row,
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
