"""Counting what a device is asked to do, while it is asked for; at any other time the counters do not exist."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..host import BoundBuffer, Buffer, Chunk, Gpu, Program, Readback


@dataclass
class Calls:
    """What was asked for. Each `Gpu.submit` is one compute pass; a copy is a submit without a pass."""

    submits: int = 0
    passes: int = 0
    dispatches: int = 0  # that have workgroups
    bind_groups: int = 0
    bytes_written: int = 0
    bytes_read: int = 0
    submit_seconds: float = 0.0  # to encode and submit passes, by the clock: where the queue is full this waits
    submit_cpu_seconds: float = 0.0  # the same in CPU time of the engine's thread


@contextmanager
def counted(gpu: Gpu) -> Iterator[Calls]:
    """Count the calls on a device inside a `with`, by methods of the object that stand before those of its class."""
    calls = Calls()
    methods: dict[str, Callable[..., Any]] = _counting_methods(gpu, calls)
    for name, method in methods.items():
        setattr(gpu, name, method)
    try:
        yield calls
    finally:
        for name in methods:
            delattr(gpu, name)


def _counting_methods(gpu: Gpu, calls: Calls) -> dict[str, Callable[..., Any]]:
    plain = {name: getattr(gpu, name) for name in ("submit", "copy_buffer", "write_buffer", "read_buffer")}
    bind = gpu.create_bind_group

    def submit(
        program: Program,
        counts: Sequence[int],
        start: int = 0,
        stop: int | None = None,
        read: BoundBuffer | None = None,
    ) -> Readback | None:
        begun, begun_cpu = time.perf_counter(), time.thread_time()
        readback = plain["submit"](program, counts, start, stop, read)
        calls.submit_seconds += time.perf_counter() - begun
        calls.submit_cpu_seconds += time.thread_time() - begun_cpu
        calls.submits += 1
        calls.passes += 1
        groups = counts[3 * start : None if stop is None else 3 * stop : 3]
        calls.dispatches += sum(x > 0 for x in groups)
        calls.bytes_read += read.size if read is not None else 0
        return readback

    def copy_buffer(source: Buffer, source_offset: int, target: Buffer, target_offset: int, size: int) -> None:
        plain["copy_buffer"](source, source_offset, target, target_offset, size)
        calls.submits += 1

    def write_buffer(buffer: Buffer, offset: int, chunk: Chunk) -> None:
        plain["write_buffer"](buffer, offset, chunk)
        calls.bytes_written += len(chunk)

    async def read_buffer(buffer: Buffer, offset: int, size: int) -> bytes:
        calls.bytes_read += size
        data: bytes = await plain["read_buffer"](buffer, offset, size)
        return data

    def create_bind_group(*arguments: Any) -> Any:
        calls.bind_groups += 1
        return bind(*arguments)

    return {
        "submit": submit,
        "copy_buffer": copy_buffer,
        "write_buffer": write_buffer,
        "read_buffer": read_buffer,
        "create_bind_group": create_bind_group,
    }
