"""The hot loop: replaying a list of dispatches in one pass and one submit, and reading a few bytes back.

Two implementations of one interface.  `PublicReplay` uses wgpu-py's public calls (6 us a dispatch).  `RawReplay` calls
wgpu-native's C functions through wgpu-py's cffi module (2.3 us), waits for one submission instead of all, and is used
where those private names are what we expect.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import wgpu

from ...host import BoundBuffer
from .failures import explained, translated

STEP = "shaderlm step"
_STAGING_USAGE = wgpu.BufferUsage.COPY_DST | wgpu.BufferUsage.MAP_READ


@dataclass
class Program:
    """Pipelines and bind groups of every dispatch, in order; `handles` are their C pointers."""

    pipelines: list[Any]
    bind_groups: list[Any]
    handles: list[tuple[Any, Any]]

    def __len__(self) -> int:
        return len(self.pipelines)


@dataclass
class Readback:
    """Bytes on their way: the staging buffer that they arrive in, and which submission brings them."""

    staging: Any
    size: int
    submission: Any = None


def choose(device: Any) -> "PublicReplay":
    """RawReplay where wgpu-py's internals are as expected, else PublicReplay; SHADERLM_REPLAY=public forces that."""
    if os.environ.get("SHADERLM_REPLAY") != "public":
        with contextlib.suppress(ImportError, AttributeError):
            return RawReplay(device)
    return PublicReplay(device)


class PublicReplay:
    """Replays through wgpu-py's documented calls."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._queue = device.queue
        self._free: dict[int, list[Any]] = {}  # size -> idle staging buffers
        self._staging_count = 0

    def freeze(self, pipelines: list[Any], bind_groups: list[Any]) -> Program:
        return Program(
            pipelines, bind_groups, [self._handles(*pair) for pair in zip(pipelines, bind_groups, strict=True)]
        )

    def rebind(self, program: Program, index: int, bind_group: Any) -> None:
        program.bind_groups[index] = bind_group
        program.handles[index] = self._handles(program.pipelines[index], bind_group)

    def submit(
        self, program: Program, counts: Sequence[int], start: int, stop: int, read: BoundBuffer | None
    ) -> Readback | None:
        encoder = self._device.create_command_encoder()
        compute_pass = encoder.begin_compute_pass()
        self._encode(compute_pass, program, counts, start, stop)
        compute_pass.end()
        readback = None
        if read is not None:
            readback = Readback(self._staging(read.size), read.size)
            encoder.copy_buffer_to_buffer(read.buffer, read.offset, readback.staging, 0, read.size)
        self._submit(encoder.finish(), readback)
        return readback

    def finish_read(self, readback: Readback) -> bytes:
        staging = readback.staging
        with explained("for a step's result"):
            self._map(readback)
            data = bytes(staging.read_mapped(0, readback.size))
            staging.unmap()
        self._free[readback.size].append(staging)
        return data

    def staging_buffers(self) -> int:
        return self._staging_count

    def close(self) -> None:
        for buffers in self._free.values():
            for buffer in buffers:
                buffer.destroy()
        self._free.clear()
        self._staging_count = 0  # those that a step still reads into go with the device

    def _handles(self, pipeline: Any, bind_group: Any) -> tuple[Any, Any]:
        return pipeline, bind_group

    def _encode(self, compute_pass: Any, program: Program, counts: Sequence[int], start: int, stop: int) -> None:
        for i in range(start, stop):
            x, y, z = counts[3 * i : 3 * i + 3]
            if x:
                pipeline, bind_group = program.handles[i]
                compute_pass.set_pipeline(pipeline)
                compute_pass.set_bind_group(0, bind_group)
                compute_pass.dispatch_workgroups(x, y, z)

    def _submit(self, commands: Any, readback: Readback | None) -> None:
        with explained("to run a step"):
            self._queue.submit([commands])

    def _map(self, readback: Readback) -> None:
        readback.staging.map_sync("READ_NOSYNC")

    def _staging(self, size: int) -> Any:
        free = self._free.setdefault(size, [])
        if free:
            return free.pop()
        with explained(f"for {size:,} bytes to read results into"):
            staging = self._device.create_buffer(label="staging", size=size, usage=_STAGING_USAGE)
        self._staging_count += 1
        return staging


class RawReplay(PublicReplay):
    """Replays through wgpu-native's C functions; tested with wgpu-py 0.32."""

    def __init__(self, device: Any) -> None:
        super().__init__(device)
        from wgpu.backends import wgpu_native  # private: absent on other backends
        from wgpu.backends.wgpu_native import _api

        self._ffi = wgpu_native.ffi
        self._lib = wgpu_native.lib
        self._errors = _api.error_handler
        self._begin_encoder = self._lib.wgpuDeviceCreateCommandEncoder
        self._begin_pass = self._lib.wgpuCommandEncoderBeginComputePass
        self._end_pass = self._lib.wgpuComputePassEncoderEnd
        self._forget_pass = self._lib.wgpuComputePassEncoderRelease
        self._copy = self._lib.wgpuCommandEncoderCopyBufferToBuffer
        self._finish = self._lib.wgpuCommandEncoderFinish
        self._forget_encoder = self._lib.wgpuCommandEncoderRelease
        self._forget_commands = self._lib.wgpuCommandBufferRelease
        self._set_pipeline = self._lib.wgpuComputePassEncoderSetPipeline
        self._set_bind_group = self._lib.wgpuComputePassEncoderSetBindGroup
        self._dispatch = self._lib.wgpuComputePassEncoderDispatchWorkgroups
        self._submit_for_index = self._lib.wgpuQueueSubmitForIndex
        self._poll = self._lib.wgpuDevicePoll
        self._commands = self._ffi.new("WGPUCommandBuffer[1]")

    def _handles(self, pipeline: Any, bind_group: Any) -> tuple[Any, Any]:
        return pipeline._internal, bind_group._internal

    def submit(
        self, program: Program, counts: Sequence[int], start: int, stop: int, read: BoundBuffer | None
    ) -> Readback | None:
        readback = None if read is None else Readback(self._staging(read.size), read.size)
        null = self._ffi.NULL
        with self._watched():
            encoder = self._begin_encoder(self._device._internal, null)
            compute_pass = self._begin_pass(encoder, null)
            self._encode(compute_pass, program, counts, start, stop)
            self._end_pass(compute_pass)
            self._forget_pass(compute_pass)
        with self._watched():
            if read is not None and readback is not None:
                self._copy(encoder, read.buffer._internal, read.offset, readback.staging._internal, 0, read.size)
            commands = self._finish(encoder, null)
            self._forget_encoder(encoder)
        with self._watched():
            self._commands[0] = commands
            index = self._submit_for_index(self._queue._internal, 1, self._commands)
            self._forget_commands(commands)
        if readback is not None:
            readback.submission = self._ffi.new("WGPUSubmissionIndex *", index)
        return readback

    def _encode(self, compute_pass: Any, program: Program, counts: Sequence[int], start: int, stop: int) -> None:
        null = self._ffi.NULL
        set_pipeline, set_bind_group, dispatch = self._set_pipeline, self._set_bind_group, self._dispatch
        handles = program.handles
        for i in range(start, stop):
            j = 3 * i
            if counts[j]:
                pipeline, bind_group = handles[i]
                set_pipeline(compute_pass, pipeline)
                set_bind_group(compute_pass, 0, bind_group, 0, null)
                dispatch(compute_pass, counts[j], counts[j + 1], counts[j + 2])

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Raise what wgpu reports of the calls inside: the first error that is told is that of the first call."""
        self._errors.capture(STEP)
        try:
            yield
        finally:
            error = self._errors.release(STEP)
        if error is not None:
            raise translated(RuntimeError(error[1]), "to run a step")

    def _map(self, readback: Readback) -> None:
        promise = readback.staging.map_async("READ_NOSYNC")
        self._poll(self._device._internal, True, readback.submission)
        promise.sync_wait()
