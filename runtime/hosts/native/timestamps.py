"""How long single dispatches take by the device's clock: each in a compute pass of its own that ends in a timestamp.

A dispatch is given the time from the end of the pass before it to the end of its own, so that nothing falls between:
neither the wait for what it reads nor the pass itself, whose cost empty passes tell. A timestamp at both ends of each
pass was tried: on lavapipe every timestamp takes 27 us, half of them between the passes, where they belong to nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import wgpu

from ...errors import UnsuitableAdapter
from ...host import Adapter, BoundBuffer
from .failures import explained

if TYPE_CHECKING:
    from .gpu import NativeGpu

FEATURE = "timestamp-query"
_MOST_QUERIES = 4096  # that a set may have (WebGPU specification, section 20.1)
_MOST_PASSES = _MOST_QUERIES - 1  # of a submit: one timestamp more, where the first begins


@dataclass(frozen=True)
class Submission:
    """Work that was submitted at once, on the device's clock.

    `clock` holds the nanoseconds at which the first pass began and each ended; `dispatches` which of the program's ran:
    one in each pass, or all in one.
    """

    program: Any
    dispatches: tuple[int, ...]
    clock: tuple[int, ...]

    @property
    def nanoseconds(self) -> int:
        """From the first begin to the last end."""
        return self.clock[-1] - self.clock[0]


def check(adapter: Adapter) -> None:
    """Raise UnsuitableAdapter for one that has no timestamps."""
    if FEATURE not in adapter.features:
        raise UnsuitableAdapter(
            f"{adapter.name} ({adapter.driver or adapter.backend}) cannot time single dispatches: it lacks WebGPU's "
            f"{FEATURE}. Name an adapter that has it by --adapter (`shaderlm devices` lists features), update the "
            "driver, or measure without --profile."
        )


class Stopwatch:
    """Times what a device runs. It owns GPU objects: close it before its device."""

    def __init__(self, device: Any, adapter: Adapter) -> None:
        """Raises UnsuitableAdapter."""
        check(adapter)
        self._device = device
        self._period = _period(device)
        usage = wgpu.BufferUsage.QUERY_RESOLVE | wgpu.BufferUsage.COPY_SRC
        with explained("for timestamps"):
            self._queries = device.create_query_set(label="timestamps", type="timestamp", count=_MOST_QUERIES)
            self._times = device.create_buffer(label="timestamps", size=8 * _MOST_QUERIES, usage=usage)

    @contextmanager
    def timing(self, gpu: "NativeGpu", *, apart: bool) -> Iterator[list[Submission]]:
        """Inside a `with`, time everything that `gpu` is given to submit; the list grows with each submit.

        `apart`: every dispatch in a pass of its own; else all of a submit in one, as ever. A submit waits for its end.
        """
        submissions: list[Submission] = []
        plain = gpu.submit

        def submit(
            program: Any,
            counts: Sequence[int],
            start: int = 0,
            stop: int | None = None,
            read: BoundBuffer | None = None,
        ) -> Any:
            end = len(program) if stop is None else stop
            present = [i for i in range(start, end) if counts[3 * i]]
            most = _MOST_PASSES if apart else max(1, len(present))
            shares = (present[first : first + most] for first in range(0, len(present), most))
            submissions.extend(self._run(program, share, counts, apart) for share in shares)
            return plain(program, counts, end, end, read) if read is not None else None

        gpu.__dict__["submit"] = submit
        try:
            yield submissions
        finally:
            del gpu.__dict__["submit"]

    def empty(self, passes: int) -> Submission:
        """So many passes without a dispatch, timed as those with one."""
        return Submission(None, (), self._timed([()] * min(passes, _MOST_PASSES)))

    def close(self) -> None:
        self._queries.destroy()
        self._times.destroy()

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, program: Any, dispatches: Sequence[int], counts: Sequence[int], apart: bool) -> Submission:
        calls = [(program.pipelines[i], program.bind_groups[i], tuple(counts[3 * i : 3 * i + 3])) for i in dispatches]
        passes = [(call,) for call in calls] if apart else [tuple(calls)]
        return Submission(program, tuple(dispatches), self._timed(passes))

    def _timed(self, passes: Sequence[Sequence[tuple[Any, Any, tuple[int, ...]]]]) -> tuple[int, ...]:
        """Run passes of (pipeline, bind group, workgroups); when the first began and each ended."""
        encoder = self._device.create_command_encoder()
        for number, calls in enumerate(passes):
            writes = {"query_set": self._queries, "end_of_pass_write_index": number + 1}
            if number == 0:
                writes["beginning_of_pass_write_index"] = 0
            compute_pass = encoder.begin_compute_pass(timestamp_writes=writes)
            for pipeline, bind_group, groups in calls:
                compute_pass.set_pipeline(pipeline)
                compute_pass.set_bind_group(0, bind_group)
                compute_pass.dispatch_workgroups(*groups)
            compute_pass.end()
        encoder.resolve_query_set(self._queries, 0, len(passes) + 1, self._times, 0)
        with explained("to time a step"):
            self._device.queue.submit([encoder.finish()])
            data = bytes(self._device.queue.read_buffer(self._times, 0, 8 * (len(passes) + 1)))
        return tuple(round(tick * self._period) for tick in memoryview(data).cast("Q"))


def _period(device: Any) -> float:
    """Nanoseconds a tick. wgpu-native gives the driver's ticks, any other WebGPU nanoseconds."""
    try:
        from wgpu.backends.wgpu_native import lib  # private: absent on other backends
    except ImportError:
        return 1.0
    return float(lib.wgpuQueueGetTimestampPeriod(device.queue._internal))
