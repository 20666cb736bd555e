"""The ring that weights are uploaded through: slots filled in turn, each handed to the GPU as one submit.

While the GPU works on a slot the next one is filled. A slot is waited for only before it is used again, so that however
large the model, the ring holds RING * STAGING_BYTES, and the driver a copy of as many bytes at the most.
"""

from collections.abc import Sequence

from ..host import BindGroup, BoundBuffer, Buffer, Chunk, Gpu, Pipeline, Readback, Usage
from ..planner.buffers import OFFSET_ALIGNMENT
from ..planner.memory import RING, STAGING_BYTES

MOVES = 64  # dispatches that a slot may feed


class StagingRing:
    """Bytes on their way to kernels that put them where they belong."""

    def __init__(self, gpu: Gpu, slot_bytes: int = STAGING_BYTES) -> None:
        """Make the slots. Raises OutOfMemory."""
        self.gpu = gpu
        self.slot_bytes = slot_bytes
        self.staging: list[Buffer] = []
        self.uniforms: list[Buffer] = []
        self.fences: list[Readback | None] = [None] * RING
        self.turn = 0  # the slot that is being filled
        try:
            for i in range(RING):
                self.staging.append(gpu.create_buffer(f"upload {i}", slot_bytes))
                self.uniforms.append(gpu.create_buffer(f"upload chunk {i}", MOVES * OFFSET_ALIGNMENT, Usage.UNIFORM))
        except BaseException:
            self.close()
            raise
        self._begin()

    def close(self) -> None:
        """Free the ring; what was not finished is lost."""
        for buffer in (*self.staging, *self.uniforms):
            self.gpu.destroy_buffer(buffer)
        self.staging.clear()
        self.uniforms.clear()

    async def room(self, size: int, moves: int = 0) -> None:
        """Make sure that the slot takes `size` bytes and `moves` dispatches more; waits where all slots are in use."""
        if self.used and (self.used + size > self.slot_bytes or len(self.groups) + moves > MOVES):
            self._flush()
        fence, self.fences[self.turn] = self.fences[self.turn], None
        if fence is not None:
            await self.gpu.finish_read(fence)

    def stage(self, chunk: Chunk, size: int) -> BoundBuffer:
        """Put bytes into the slot, which has room for them, and say where they lie."""
        place = BoundBuffer(self.staging[self.turn], self.used, -(-size // 4) * 4)
        self.gpu.write_buffer(place.buffer, place.offset, chunk)
        self.count(size)
        return place

    def count(self, size: int) -> None:
        """Bytes that were written elsewhere, of which the driver holds a copy until the slot is done."""
        self.used += -(-size // OFFSET_ALIGNMENT) * OFFSET_ALIGNMENT

    def dispatch(
        self, pipeline: Pipeline, bound: Sequence[BoundBuffer], uniform: bytes, workgroups: Sequence[int]
    ) -> None:
        """Run a kernel when the slot is full. Its last binding is its uniform."""
        place = BoundBuffer(self.uniforms[self.turn], len(self.chunks), len(uniform))
        self.chunks += uniform + bytes(-len(uniform) % OFFSET_ALIGNMENT)
        self.pipelines.append(pipeline)
        self.groups.append(self.gpu.create_bind_group(pipeline, [*bound, place]))
        self.counts += workgroups

    async def finish(self) -> None:
        """Hand over what is left, and wait for everything, and so for what a host tells late."""
        self._flush()
        await self.gpu.wait()
        for i, fence in enumerate(self.fences):
            if fence is not None:
                await self.gpu.finish_read(fence)
                self.fences[i] = None

    def _flush(self) -> None:
        if self.chunks:
            self.gpu.write_buffer(self.uniforms[self.turn], 0, bytes(self.chunks))
        program = self.gpu.freeze(self.pipelines, self.groups)
        fence = BoundBuffer(self.staging[self.turn], 0, 16)
        self.fences[self.turn] = self.gpu.submit(program, self.counts, read=fence)
        self.gpu.release(program)
        self.turn = (self.turn + 1) % RING
        self._begin()

    def _begin(self) -> None:
        self.used = 0  # bytes of the slot
        self.chunks = bytearray()  # uniforms of its dispatches
        self.pipelines: list[Pipeline] = []
        self.groups: list[BindGroup] = []
        self.counts: list[int] = []
