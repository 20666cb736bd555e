"""Timing in rounds: everything that is compared is measured once in each, and each round is begun by another one."""

import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from shaderlm.host import BoundBuffer, Gpu

MOST_DISPATCHES = 4096  # of a sample
READ = 16  # bytes that a sample reads back, to know that it is done

Step = tuple[Any, Any, tuple[int, int, int]]  # pipeline, bind group, workgroups


@dataclass(frozen=True)
class Took:
    """A sample of one time, by the clock and by the processors' time of this process, both in seconds.

    A software adapter computes in this process: what others on the machine take away, the second does not count.
    """

    seconds: float
    busy: float


@dataclass
class Repeated:
    """Dispatches in a row, each behind the one before it, `times` times over."""

    gpu: Gpu
    program: Any
    counts: list[int]
    times: int
    read: BoundBuffer

    async def sample(self) -> Took:
        started, busy = time.perf_counter(), time.process_time()
        readback = self.gpu.submit(self.program, self.counts, read=self.read)
        await self.gpu.finish_read(readback)
        return Took((time.perf_counter() - started) / self.times, (time.process_time() - busy) / self.times)

    def close(self) -> None:
        self.gpu.release(self.program)


async def repeated(gpu: Gpu, turns: Sequence[Sequence[Step]], place: BoundBuffer, seconds: float) -> Repeated:
    """As many times as take about `seconds`, after a first run that compiles; the `turns` are taken one by one.

    A turn is the dispatches of one time; turns differ in the buffers that they bind.
    """
    most = max(1, MOST_DISPATCHES // len(turns[0]))
    read = BoundBuffer(place.buffer, place.offset, READ)
    found = _times(gpu, turns, 1, read)
    await found.sample()
    while True:
        one = await found.sample()
        wanted = min(most, math.ceil(seconds / one.seconds))
        if wanted <= found.times:
            return found
        found.close()
        found = _times(gpu, turns, min(wanted, 8 * found.times), read)


def _times(gpu: Gpu, turns: Sequence[Sequence[Step]], times: int, read: BoundBuffer) -> Repeated:
    steps = [step for i in range(times) for step in turns[i % len(turns)]]
    program = gpu.freeze([pipeline for pipeline, _, _ in steps], [bound for _, bound, _ in steps])
    return Repeated(gpu, program, [n for _, _, counts in steps for n in counts], times, read)


async def in_rounds(tasks: Sequence[Any], rounds: int) -> AsyncIterator[tuple[int, int, Any]]:
    """(round, task, sample) of every task in every round."""
    for number in range(rounds):
        for task in in_turn(len(tasks), number, rounds):
            yield number, task, await tasks[task].sample()


def in_turn(n: int, number: int, rounds: int) -> list[int]:
    """The order of a round: each begins further along."""
    first = number * n // rounds
    return [*range(first, n), *range(first)]
