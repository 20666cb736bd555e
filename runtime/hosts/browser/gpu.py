"""`host.Gpu` over the browser's WebGPU. Objects are numbers that web/worker/gpu.js knows."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyodide.ffi import JsException, create_proxy, to_js

from ...errors import OutOfMemory
from ...host import Adapter, AdapterKind, BoundBuffer, Chunk, KernelSource, Usage
from .failures import explained, translated
from .readback import Readback

ACCESS = ("read", "read_write", "uniform")  # in the order of BINDING_TYPES in gpu.js
_SOFTWARE = re.compile(r"swiftshader|llvmpipe|lavapipe|basic render", re.IGNORECASE)


@dataclass
class BrowserProgram:
    """A program, and the tables of workgroup counts that it was submitted with."""

    number: int
    length: int
    counts: dict[int, tuple[Sequence[int], int]] = field(default_factory=dict)  # by id(): the table itself, its number


class BrowserGpu:
    """A WebGPU device; `device` is gpu.js's object."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._submit = device.submit  # bound once: a look-up through a proxy costs as much as the call
        self._write = device.writeBuffer
        self._readbacks: dict[int, Readback] = {}
        self._arrived_for_js = create_proxy(self._arrived)
        device.onRead = self._arrived_for_js
        self.adapter = adapter_of(json.loads(device.facts()))

    # Buffers

    def create_buffer(self, label: str, size: int, usage: Usage = Usage.STORAGE) -> int:
        """An allocation that fails is told by the next call that waits for the GPU."""
        size = -(-max(size, 16) // 16) * 16
        limit = self.adapter.limits["max-buffer-size"]
        if size > limit:
            raise OutOfMemory(
                f"Buffer {label} needs {size:,} bytes; {self.adapter.name} allows {limit:,} in one buffer."
            )
        return int(self._device.createBuffer(label, size, usage is Usage.UNIFORM))

    def destroy_buffer(self, buffer: int) -> None:
        self._device.destroyBuffer(buffer)

    def write_buffer(self, buffer: int, offset: int, chunk: Chunk) -> None:
        self._write(buffer, offset, to_js(chunk) if isinstance(chunk, bytes | bytearray | memoryview) else chunk)

    def copy_buffer(self, source: int, source_offset: int, target: int, target_offset: int, size: int) -> None:
        self._device.copyBuffer(source, source_offset, target, target_offset, size)

    async def read_buffer(self, buffer: int, offset: int, size: int) -> bytes:
        return await self._readback(self._device.readBuffer(buffer, offset, size))

    # Programs

    def expect_pipelines(self, kernels: Sequence[KernelSource]) -> None:
        """Nothing: pages show how many kernels are compiled, once the model's bytes are there."""

    async def create_pipelines(self, kernels: Sequence[KernelSource]) -> list[int]:
        told = [
            {"label": k.label, "code": k.code, "bindings": [[n, ACCESS.index(access)] for n, access in k.bindings]}
            for k in kernels
        ]
        with explained():
            numbers = await self._device.createPipelines(json.dumps(told))
        return [int(number) for number in _list(numbers)]

    def forget_pipelines(self, kept: Collection[KernelSource]) -> None:
        """Nothing: numbers of pipelines are given for good, and only what a second of tuning compiled would go."""

    def create_bind_group(self, pipeline: int, buffers: Sequence[BoundBuffer]) -> int:
        places = [number for b in buffers for number in (b.buffer, b.offset, b.size)]
        return int(self._device.createBindGroup(pipeline, to_js(places)))

    def freeze(self, pipelines: Sequence[int], bind_groups: Sequence[int]) -> BrowserProgram:
        number = self._device.freeze(to_js(list(pipelines)), to_js(list(bind_groups)))
        return BrowserProgram(int(number), len(pipelines))

    def rebind(self, program: BrowserProgram, index: int, bind_group: int) -> None:
        self._device.rebind(program.number, index, bind_group)

    def release(self, program: BrowserProgram) -> None:
        self._device.release(program.number, to_js([number for _, number in program.counts.values()]))

    def submit(
        self,
        program: BrowserProgram,
        counts: Sequence[int],
        start: int = 0,
        stop: int | None = None,
        read: BoundBuffer | None = None,
    ) -> Readback | None:
        known = program.counts.get(id(counts))
        if known is None:  # the table is kept, so that no other one gets its id
            known = program.counts[id(counts)] = counts, int(self._device.keepCounts(to_js(list(counts))))
        end = program.length if stop is None else stop
        if read is None:
            self._submit(program.number, known[1], start, end, 0, 0, 0)
            return None
        return self._readback(self._submit(program.number, known[1], start, end, read.buffer, read.offset, read.size))

    async def run_timed(self, program: BrowserProgram, counts: Sequence[int], start: int, stop: int) -> float | None:
        """None: browsers round timestamps to a tenth of a millisecond, which a clock around a submit does as well."""
        return None

    async def finish_read(self, readback: Readback) -> bytes:
        return await readback

    def _readback(self, number: int) -> Readback:
        readback = self._readbacks[number] = Readback()
        return readback

    def _arrived(self, number: int, data: Any, error: JsException | None = None) -> None:
        """What gpu.js calls when a readback is there, or failed."""
        readback = self._readbacks.pop(number)
        if error is None:
            readback.arrive(data.to_bytes())
        else:
            readback.arrive(None, translated(error) or error)

    async def wait(self) -> None:
        with explained():
            await self._device.wait()

    # Facts

    def live_objects(self) -> Mapping[str, int]:
        names = ("buffers", "bytes", "bind_groups", "pipelines", "staging_buffers")
        return dict(zip(names, map(int, _list(self._device.liveObjects())), strict=True))

    def available_memory(self) -> int | None:
        """None: a browser does not tell."""
        return None

    def close(self) -> None:
        self._device.close()
        self._arrived_for_js.destroy()


def adapter_of(facts: Mapping[str, Any]) -> Adapter:
    """What gpu.js tells of an adapter, in the words of every host: names hyphenated, kinds where they can be known."""
    parts = [facts[part] for part in ("vendor", "architecture", "device", "description")]
    told = dict.fromkeys(part for part in parts if part)
    smallest, largest = facts["subgroupSizes"]
    has_subgroups = "subgroups" in facts["features"]
    return Adapter(
        name=" ".join(told) or "unnamed adapter",
        kind=_kind(" ".join(told), facts["isFallback"]),
        backend="WebGPU",
        features=frozenset(facts["features"]),
        limits={_hyphenated(name): int(value) for name, value in facts["limits"].items()},
        subgroup_size=int(smallest) if has_subgroups and smallest == largest and smallest else None,
        prologue="enable subgroups;\n" if has_subgroups else "",
    )


def _kind(name: str, is_fallback: bool) -> AdapterKind:
    return "software" if is_fallback or _SOFTWARE.search(name) else "unknown"


def _hyphenated(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: "-" + letter.group().lower(), name)


def _list(proxy: Any) -> list[Any]:
    values: list[Any] = proxy.to_py()
    return values
