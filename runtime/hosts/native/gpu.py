"""`host.Gpu` over wgpu-py."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import wgpu

from ...errors import DeviceLost, OutOfMemory
from ...host import Access, Adapter, BoundBuffer, Chunk, KernelSource, Usage
from . import replay
from .compiling import Ahead
from .failures import explained
from .memory import available_memory
from .timestamps import FEATURE, Stopwatch

FEATURES = ("subgroup", "timestamp-query")
LANGUAGE_FEATURES = frozenset({"packed_4x8_integer_dot_product"})  # that naga compiles for every adapter
WEBGPU_NAMES = {"subgroup": "subgroups"}  # wgpu-native calls it otherwise

# What every WebGPU device has (specification, section 3.6.2): kernels must fit these, so tests ask for no more.
GUARANTEED_LIMITS = {
    "max-bind-groups": 4,
    "max-buffer-size": 256 << 20,
    "max-compute-invocations-per-workgroup": 256,
    "max-compute-workgroup-size-x": 256,
    "max-compute-workgroup-size-y": 256,
    "max-compute-workgroup-size-z": 64,
    "max-compute-workgroup-storage-size": 16384,
    "max-compute-workgroups-per-dimension": 65535,
    "max-storage-buffer-binding-size": 128 << 20,
    "max-storage-buffers-per-shader-stage": 8,
    "max-uniform-buffer-binding-size": 64 << 10,
    "max-uniform-buffers-per-shader-stage": 12,
    "min-storage-buffer-offset-alignment": 256,
    "min-uniform-buffer-offset-alignment": 256,
}

_USAGE = {
    Usage.STORAGE: wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST,
    Usage.UNIFORM: wgpu.BufferUsage.UNIFORM | wgpu.BufferUsage.COPY_DST,
}
_BINDING_TYPE = {"read": "read-only-storage", "read_write": "storage", "uniform": "uniform"}

_SUBGROUP_PROBE = """
@group(0) @binding(0) var<storage, read_write> size: array<u32>;
@compute @workgroup_size(128) fn main(@builtin(subgroup_size) lanes: u32) { size[0] = lanes; }
"""


@dataclass
class _Pipeline:
    handle: Any
    layout: Any
    bindings: tuple[tuple[int, Access], ...]


class NativeGpu:
    """A wgpu device; all calls come from the thread that made it."""

    def __init__(self, wgpu_adapter: Any, adapter: Adapter, *, guaranteed_limits_only: bool = False) -> None:
        """Open a device on an adapter. Raises DeviceLost if the driver gives none."""
        features = [name for name in FEATURES if name in wgpu_adapter.features]
        limits = GUARANTEED_LIMITS if guaranteed_limits_only else {}
        try:
            self._device = wgpu_adapter.request_device_sync(required_features=features, required_limits=limits)
        except RuntimeError as error:
            raise DeviceLost(f"{adapter.name} gave no device: {error}") from error
        self._queue = self._device.queue
        self._buffers: dict[int, int] = {}  # id -> bytes
        self._bind_groups = 0  # that programs hold
        self._pipelines: dict[KernelSource, _Pipeline] = {}
        self._ahead = Ahead[_Pipeline]()
        self._layouts: dict[tuple[tuple[int, Access], ...], tuple[Any, Any]] = {}
        self._replay = replay.choose(self._device)
        self._fence: Any = None
        self._stopwatch: Stopwatch | None = None
        self.adapter = replace(
            adapter,
            features=frozenset(WEBGPU_NAMES.get(name, name) for name in features) | LANGUAGE_FEATURES,
            limits={name: int(value) for name, value in self._device.limits.items()},
            subgroup_size=self._probe_subgroup_size() if "subgroup" in features else None,
        )

    # Buffers

    def create_buffer(self, label: str, size: int, usage: Usage = Usage.STORAGE) -> Any:
        size = -(-max(size, 16) // 16) * 16
        limit = int(self._device.limits["max-buffer-size"])
        if size > limit:
            raise OutOfMemory(
                f"Buffer {label} needs {size:,} bytes; {self.adapter.name} allows {limit:,} in one buffer."
            )
        with explained(f"for {size:,} bytes for {label}"):
            buffer = self._device.create_buffer(label=label, size=size, usage=_USAGE[usage])
        self._buffers[id(buffer)] = size
        return buffer

    def destroy_buffer(self, buffer: Any) -> None:
        if self._buffers.pop(id(buffer), None) is not None:
            buffer.destroy()

    def write_buffer(self, buffer: Any, offset: int, chunk: Chunk) -> None:
        data = memoryview(chunk).cast("B")
        whole = data.nbytes // 4 * 4
        with explained(f"to take {data.nbytes:,} bytes"):
            if whole:
                self._queue.write_buffer(buffer, offset, data[:whole])
            if whole < data.nbytes:
                self._queue.write_buffer(buffer, offset + whole, bytes(data[whole:]) + bytes(4 - data.nbytes + whole))

    def copy_buffer(self, source: Any, source_offset: int, target: Any, target_offset: int, size: int) -> None:
        with explained(f"to copy {size:,} bytes"):
            encoder = self._device.create_command_encoder()
            encoder.copy_buffer_to_buffer(source, source_offset, target, target_offset, size)
            self._queue.submit([encoder.finish()])

    async def read_buffer(self, buffer: Any, offset: int, size: int) -> bytes:
        with explained(f"to give {size:,} bytes back"):
            return bytes(self._queue.read_buffer(buffer, offset, size))

    # Programs

    def expect_pipelines(self, kernels: Sequence[KernelSource]) -> None:
        new = [kernel for kernel in dict.fromkeys(kernels) if kernel not in self._pipelines]
        self._ahead.begin((kernel, self._compiler(kernel)) for kernel in new)

    async def create_pipelines(self, kernels: Sequence[KernelSource]) -> list[Any]:
        if len(set(kernels)) > 1:
            self.expect_pipelines(kernels)
        return [self._pipeline(kernel) for kernel in kernels]

    def forget_pipelines(self, kept: Collection[KernelSource]) -> None:
        self._pipelines = {kernel: pipeline for kernel, pipeline in self._pipelines.items() if kernel in kept}

    def _pipeline(self, kernel: KernelSource) -> "_Pipeline":
        if kernel not in self._pipelines:
            self._pipelines[kernel] = self._ahead.take(kernel, self._compiler(kernel))
        return self._pipelines[kernel]

    def _compiler(self, kernel: KernelSource) -> Callable[[], "_Pipeline"]:
        """What compiles a kernel, on any thread."""
        return partial(self._compile, kernel, *self._layout(kernel.bindings))

    def _compile(self, kernel: KernelSource, bind_group_layout: Any, pipeline_layout: Any) -> "_Pipeline":
        with explained(f"to compile kernel {kernel.label} on {self.adapter.name}"):
            module = self._device.create_shader_module(label=kernel.label, code=kernel.code)
            handle = self._device.create_compute_pipeline(
                label=kernel.label, layout=pipeline_layout, compute={"module": module, "entry_point": "main"}
            )
        return _Pipeline(handle, bind_group_layout, kernel.bindings)

    def create_bind_group(self, pipeline: _Pipeline, buffers: Sequence[BoundBuffer]) -> Any:
        entries = [
            {"binding": number, "resource": {"buffer": b.buffer, "offset": b.offset, "size": b.size}}
            for (number, _), b in zip(pipeline.bindings, buffers, strict=True)
        ]
        with explained("to bind buffers to a kernel"):
            return self._device.create_bind_group(layout=pipeline.layout, entries=entries)

    def freeze(self, pipelines: Sequence[_Pipeline], bind_groups: Sequence[Any]) -> Any:
        self._bind_groups += len(bind_groups)
        return self._replay.freeze([p.handle for p in pipelines], list(bind_groups))

    def rebind(self, program: Any, index: int, bind_group: Any) -> None:
        self._replay.rebind(program, index, bind_group)

    def release(self, program: Any) -> None:
        self._bind_groups -= len(program)

    def submit(
        self,
        program: Any,
        counts: Sequence[int],
        start: int = 0,
        stop: int | None = None,
        read: BoundBuffer | None = None,
    ) -> Any:
        return self._replay.submit(program, counts, start, len(program) if stop is None else stop, read)

    async def run_timed(self, program: Any, counts: Sequence[int], start: int, stop: int) -> float | None:
        if FEATURE not in self.adapter.features:
            return None
        self._stopwatch = self._stopwatch or self.stopwatch()
        with self._stopwatch.timing(self, apart=False) as submissions:
            self.submit(program, counts, start, stop)
        return submissions[0].nanoseconds * 1e-9

    async def finish_read(self, readback: Any) -> bytes:
        return self._replay.finish_read(readback)

    async def wait(self) -> None:
        with explained("to finish its work"):
            if self._fence is None:  # wgpu-py 0.32's on_submitted_work_done fails in its own cffi types
                self._fence = self._device.create_buffer(label="fence", size=16, usage=_USAGE[Usage.STORAGE])
            self._queue.read_buffer(self._fence, 0, 4)

    # Facts

    def stopwatch(self) -> Stopwatch:
        """What times single dispatches. Raises UnsuitableAdapter."""
        return Stopwatch(self._device, self.adapter)

    def live_objects(self) -> Mapping[str, int]:
        return {
            "buffers": len(self._buffers),
            "bytes": sum(self._buffers.values()),
            "bind_groups": self._bind_groups,
            "pipelines": len(self._pipelines),
            "staging_buffers": self._replay.staging_buffers(),
        }

    def available_memory(self) -> int | None:
        """Bytes that the host has free for a software adapter; None where memory is the GPU's own."""
        return available_memory(self.adapter)

    def close(self) -> None:
        if self._device is not None:
            self._ahead.close()
            self._replay.close()
            if self._stopwatch is not None:
                self._stopwatch.close()
            self._pipelines.clear()
            self._layouts.clear()
            self._device.destroy()
            self._device = self._fence = None
            self._buffers.clear()
            self._bind_groups = 0

    def _layout(self, bindings: tuple[tuple[int, Access], ...]) -> tuple[Any, Any]:
        if bindings not in self._layouts:
            entries = [
                {
                    "binding": number,
                    "visibility": wgpu.ShaderStage.COMPUTE,
                    "buffer": {"type": _BINDING_TYPE[access], "has_dynamic_offset": False, "min_binding_size": 0},
                }
                for number, access in bindings
            ]
            group = self._device.create_bind_group_layout(entries=entries)
            self._layouts[bindings] = group, self._device.create_pipeline_layout(bind_group_layouts=[group])
        return self._layouts[bindings]

    def _probe_subgroup_size(self) -> int:
        """Adapters give a range (4 to 128 on lavapipe); what kernels get is read by running one."""
        buffer = self._device.create_buffer(size=16, usage=_USAGE[Usage.STORAGE])
        module = self._device.create_shader_module(code=_SUBGROUP_PROBE)
        pipeline = self._device.create_compute_pipeline(layout="auto", compute={"module": module})
        group = self._device.create_bind_group(
            layout=pipeline.get_bind_group_layout(0), entries=[{"binding": 0, "resource": {"buffer": buffer}}]
        )
        encoder = self._device.create_command_encoder()
        compute_pass = encoder.begin_compute_pass()
        compute_pass.set_pipeline(pipeline)
        compute_pass.set_bind_group(0, group)
        compute_pass.dispatch_workgroups(1)
        compute_pass.end()
        self._queue.submit([encoder.finish()])
        size = int.from_bytes(bytes(self._queue.read_buffer(buffer, 0, 4)), "little")
        buffer.destroy()
        return size
