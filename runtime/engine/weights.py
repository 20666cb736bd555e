"""Weights on the GPU: streamed from the source through a small ring, moved into planes, never changed.

The ring holds at most 8 MB, however large the model: a chunk of whole blocks is written to a staging buffer, kernels
move its planes to their places, and before a staging buffer is used again its work is waited for.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from ..formats.checkpoint import Checkpoint, TensorInfo
from ..host import BindGroup, BoundBuffer, Buffer, ByteSource, Chunk, Gpu, Pipeline, Usage
from ..planner.compose import Kernel, compose
from ..planner.plan import WeightSpec
from ..tensors import plane_offsets

STAGING_BYTES = 4 << 20
RING = 2  # staging buffers
MAX_GROUPS_X = 32_768

Progress = Callable[[int], None]  # told how many more bytes of the file are on the GPU


@dataclass(frozen=True)
class ResidentWeight:
    """A weight's buffer: its planes, then its biases in f32."""

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
        self.turn = 0
        self.queued = 0  # bytes that the driver holds a copy of until they are waited for
        self.staging: list[Buffer] = []
        self.uniforms: list[Buffer] = []

    async def open(self) -> None:
        """Make the ring and its kernel."""
        self.kernel: Kernel = compose("relayout.wgsl")
        self.pipeline: Pipeline = await self.gpu.create_pipeline(self.kernel.source)
        for i in range(RING):
            self.staging.append(self.gpu.create_buffer(f"upload {i}", STAGING_BYTES))
            self.uniforms.append(self.gpu.create_buffer(f"upload chunk {i}", 1024, Usage.UNIFORM))

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
        first_row = 0
        for i, (name, rows) in enumerate(zip(spec.tensors, spec.rows, strict=True)):
            tensor = self.checkpoint.tensors[name]
            first_byte = first_row * spec.width * spec.type.bytes
            if spec.vector or (_keeps_its_layout(spec) and first_byte % 4 == 0):
                await self._copy(tensor, weight.buffer, first_byte)
            else:
                await self._relayout(spec, tensor, weight, first_row)
            bias = spec.biases[i] if spec.biases else None
            if bias is not None:
                end = plane_offsets(spec.type, spec.n_rows * spec.padded_blocks)[-1]
                await self._copy(self.checkpoint.tensors[bias], weight.buffer, end + 4 * first_row)
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
        blocks_at_once = STAGING_BYTES // spec.type.bytes // 2 * 2  # even: chunks start at whole words
        if row_blocks != spec.padded_blocks:
            blocks_at_once = blocks_at_once // (2 * row_blocks) * 2 * row_blocks
        async for position, size, chunk in _chunks(self.checkpoint.source, tensor, blocks_at_once * spec.type.bytes):
            if self.turn == RING:
                await self._wait()
            self.gpu.write_buffer(self.staging[self.turn], 0, chunk)
            first_block, n_blocks = position // spec.type.bytes, size // spec.type.bytes
            self._move(list(plane_moves(spec, row_blocks, first_row, first_block, n_blocks)), weight)
            self.turn += 1
            self.progress(size)

    async def _wait(self) -> None:
        await self.gpu.wait()
        self.turn = self.queued = 0

    def _move(self, moves: list[dict[str, int]], weight: ResidentWeight) -> None:
        """Run the kernel once for each plane of the chunk in the current staging buffer."""
        layout = self.kernel.uniforms["chunk"]
        staging, uniforms = self.staging[self.turn], self.uniforms[self.turn]
        groups: list[BindGroup] = []
        counts: list[int] = []
        for i, move in enumerate(moves):
            self.gpu.write_buffer(uniforms, 256 * i, layout.pack(move))
            bound = [
                BoundBuffer(staging, 0, STAGING_BYTES),
                BoundBuffer(weight.buffer, 0, weight.size),
                BoundBuffer(uniforms, 256 * i, layout.size),
            ]
            groups.append(self.gpu.create_bind_group(self.pipeline, bound))
            words = -(-(move["first_half"] % 2 + move["n_halves"]) // 2)
            x = min(-(-words // 64), MAX_GROUPS_X)
            counts += [x, -(-words // (64 * x)), 1]
        program = self.gpu.freeze([self.pipeline] * len(groups), groups)
        self.gpu.submit(program, counts)
        self.gpu.release(program)


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
            "first_half": target_block * plane.size // 2,
            "n_halves": target_blocks * plane.size // 2,
            "plane": start // 4,
            "plane_halves": plane.size // 2,
            "block_halves": spec.type.bytes // 2,
            "block_offset": plane.offset // 2,
            "row_blocks": row_blocks,
            "padded_blocks": padded,
            "first_block": first_block,
            "first_row": first_row,
        }


async def _chunks(source: ByteSource, tensor: TensorInfo, step: int) -> AsyncIterator[tuple[int, int, Chunk]]:
    """(position, size, chunk) of a tensor's bytes, at most `step` at a time."""
    for position in range(0, tensor.size, step):
        size = min(step, tensor.size - position)
        yield position, size, await source.chunk(tensor.offset + position, size)
