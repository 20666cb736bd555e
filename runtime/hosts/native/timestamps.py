"""How long single dispatches take by the device's clock: each in a compute pass of its own that ends in a timestamp.

A dispatch is given the time from the end of the pass before it to the end of its own, so that nothing falls between:
neither the wait for what it reads nor the pass itself, whose cost empty passes tell. A timestamp at both ends of each
pass was tried: on lavapipe every timestamp takes 27 us, half of them between the passes, where they belong to nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
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
_TIMES = wgpu.BufferUsage.QUERY_RESOLVE | wgpu.BufferUsage.COPY_SRC


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


@dataclass(frozen=True)
class _Pending:
    """A submit whose times have not been read; `times` is their buffer."""

    program: Any
    dispatches: tuple[int, ...]
    times: Any


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
        with explained("for timestamps"):
            self._queries = device.create_query_set(label="timestamps", type="timestamp", count=_MOST_QUERIES)

    @contextmanager
    def timing(self, gpu: "NativeGpu", *, apart: bool) -> Iterator[list[Submission]]:
        """Inside a `with`, time everything that `gpu` is given to submit. What that took is in the list at its end.

        `apart`: every dispatch in a pass of its own; else all of a submit in one, as ever.
        """
        pending: list[_Pending] = []
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
            for first in range(0, len(present), most):
                share = present[first : first + most]
                calls = [(program.pipelines[i], program.bind_groups[i], counts[3 * i : 3 * i + 3]) for i in share]
                times = self._submit([[call] for call in calls] if apart else [calls])
                pending.append(_Pending(program, tuple(share), times))
            return plain(program, counts, end, end, read) if read is not None else None

        replaced = vars(gpu).get("submit")  # engine/counting.py may count beside
        vars(gpu)["submit"] = submit  # before the class's own, as it does
        try:
            yield submissions
        finally:
            if replaced is None:
                del vars(gpu)["submit"]
            else:
                vars(gpu)["submit"] = replaced
            read_back = [Submission(one.program, one.dispatches, self._clock(one.times)) for one in pending]
            submissions.extend(read_back)

    def empty(self, passes: int) -> Submission:
        """So many passes without a dispatch, timed as those with one."""
        return Submission(None, (), self._clock(self._submit([()] * min(passes, _MOST_PASSES))))

    def close(self) -> None:
        self._queries.destroy()

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, passes: Sequence[Sequence[tuple[Any, Any, Sequence[int]]]]) -> Any:
        """Submit passes of (pipeline, bind group, workgroups); the buffer in which their timestamps will be."""
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
        with explained("to time a step"):
            times = self._device.create_buffer(label="timestamps", size=8 * (len(passes) + 1), usage=_TIMES)
            encoder.resolve_query_set(self._queries, 0, len(passes) + 1, times, 0)
            self._device.queue.submit([encoder.finish()])
        return times

    def _clock(self, times: Any) -> tuple[int, ...]:
        """Wait for a submit's timestamps, in nanoseconds, and free their buffer."""
        with explained("for the times of a step"):
            data = bytes(self._device.queue.read_buffer(times))
        times.destroy()
        period = Fraction(self._period)  # ticks since 1970 have more digits than a float keeps
        return tuple(round(tick * period) for tick in memoryview(data).cast("Q"))


def _period(device: Any) -> float:
    """Nanoseconds a tick. wgpu-native gives the driver's ticks, any other WebGPU nanoseconds."""
    try:
        from wgpu.backends.wgpu_native import lib  # private: absent on other backends
    except ImportError:
        return 1.0
    return float(lib.wgpuQueueGetTimestampPeriod(device.queue._internal))
