"""A GPU that writes down all that is asked of it, so that another WebGPU can do the same and be compared."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shaderlm.host import Adapter, BoundBuffer, Chunk, KernelSource, Usage
from shaderlm.hosts.native.gpu import NativeGpu


class RecordingGpu:
    """Does everything on `gpu`, but says that it is `adapter`, by whose traits the planner chooses.

    Buffers, pipelines, bind groups and programs are numbers here. The recording has each frozen plan: WGSL, buffers,
    bindings and counts. `bytes` holds what was written to buffers, `reads` what was read back, in the order of asking.
    """

    def __init__(self, gpu: NativeGpu, adapter: Adapter) -> None:
        self.gpu = gpu
        self.adapter = adapter
        self.calls: list[dict[str, object]] = []
        self.bytes = bytearray()
        self.reads: list[bytes] = []
        self._objects: list[Any] = []  # of `gpu`, by number
        self._pipelines: dict[KernelSource, int] = {}

    @property
    def recording(self) -> bytes:
        """The calls as JSON."""
        return json.dumps(self.calls).encode()

    # Buffers

    def create_buffer(self, label: str, size: int, usage: Usage = Usage.STORAGE) -> int:
        number = self._number(self.gpu.create_buffer(label, size, usage))
        rounded = -(-max(size, 16) // 16) * 16
        self._note("create_buffer", id=number, label=label, size=rounded, uniform=usage is Usage.UNIFORM)
        return number

    def destroy_buffer(self, buffer: int) -> None:
        if self._objects[buffer] is not None:
            self._note("destroy_buffer", buffer=buffer)
            self.gpu.destroy_buffer(self._objects[buffer])
            self._objects[buffer] = None

    def write_buffer(self, buffer: int, offset: int, chunk: Chunk) -> None:
        data = bytes(chunk)
        data += bytes(-len(data) % 4)
        self._note("write_buffer", buffer=buffer, offset=offset, start=len(self.bytes), size=len(data))
        self.bytes += data
        self.gpu.write_buffer(self._objects[buffer], offset, data)

    def copy_buffer(self, source: int, source_offset: int, target: int, target_offset: int, size: int) -> None:
        places = {"source": source, "source_offset": source_offset, "target": target, "target_offset": target_offset}
        self._note("copy_buffer", **places, size=size)
        self.gpu.copy_buffer(self._objects[source], source_offset, self._objects[target], target_offset, size)

    async def read_buffer(self, buffer: int, offset: int, size: int) -> bytes:
        self._note("read_buffer", buffer=buffer, offset=offset, size=size)
        data = await self.gpu.read_buffer(self._objects[buffer], offset, size)
        self.reads.append(data)
        return data

    # Programs

    def expect_pipelines(self, kernels: Sequence[KernelSource]) -> None:
        self.gpu.expect_pipelines(kernels)

    async def create_pipelines(self, kernels: Sequence[KernelSource]) -> list[int]:
        return [await self._pipeline(kernel) for kernel in kernels]

    async def _pipeline(self, kernel: KernelSource) -> int:
        if kernel not in self._pipelines:
            [made] = await self.gpu.create_pipelines([kernel])
            number = self._pipelines[kernel] = self._number(made)
            source = {"label": kernel.label, "code": kernel.code, "bindings": kernel.bindings}
            self._note("create_pipeline", id=number, kernel=source)
        return self._pipelines[kernel]

    def create_bind_group(self, pipeline: int, buffers: Sequence[BoundBuffer]) -> int:
        native = [self._native(bound) for bound in buffers]
        number = self._number(self.gpu.create_bind_group(self._objects[pipeline], native))
        bound = [(bound.buffer, bound.offset, bound.size) for bound in buffers]
        self._note("create_bind_group", id=number, pipeline=pipeline, buffers=bound)
        return number

    def freeze(self, pipelines: Sequence[int], bind_groups: Sequence[int]) -> int:
        native = [[self._objects[number] for number in numbers] for numbers in (pipelines, bind_groups)]
        number = self._number(self.gpu.freeze(*native))
        self._note("freeze", id=number, pipelines=list(pipelines), groups=list(bind_groups))
        return number

    def rebind(self, program: int, index: int, bind_group: int) -> None:
        self._note("rebind", program=program, index=index, group=bind_group)
        self.gpu.rebind(self._objects[program], index, self._objects[bind_group])

    def release(self, program: int) -> None:
        self._note("release", program=program)
        self.gpu.release(self._objects[program])

    def submit(
        self,
        program: int,
        counts: Sequence[int],
        start: int = 0,
        stop: int | None = None,
        read: BoundBuffer | None = None,
    ) -> tuple[int, Any] | None:
        stop = len(self._objects[program]) if stop is None else stop
        place = read and {"buffer": read.buffer, "offset": read.offset, "size": read.size}
        self._note("submit", program=program, counts=list(counts), start=start, stop=stop, read=place)
        native = self._native(read) if read is not None else None
        readback = self.gpu.submit(self._objects[program], counts, start, stop, native)
        if readback is None:
            return None
        self.reads.append(b"")  # until it has been waited for
        return len(self.reads) - 1, readback

    async def finish_read(self, readback: tuple[int, Any]) -> bytes:
        index, native = readback
        self.reads[index] = await self.gpu.finish_read(native)
        return self.reads[index]

    async def wait(self) -> None:
        await self.gpu.wait()

    # Facts

    def available_memory(self) -> int | None:
        return None

    def live_objects(self) -> Mapping[str, int]:
        return self.gpu.live_objects()

    def close(self) -> None:
        self.gpu.close()

    def _native(self, bound: BoundBuffer) -> BoundBuffer:
        return BoundBuffer(self._objects[bound.buffer], bound.offset, bound.size)

    def _number(self, thing: Any) -> int:
        self._objects.append(thing)
        return len(self._objects) - 1

    def _note(self, call: str, **what: object) -> None:
        self.calls.append({"do": call, **what})
