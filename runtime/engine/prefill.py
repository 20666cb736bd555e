"""Prefill: the rows of a prompt, in submits short enough that a screen does not freeze."""

import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from itertools import accumulate

from ..host import Readback
from ..planner.plan import BufferRange
from .engine import Engine
from .programs import LoadedPlan
from .results import StepResult, read_results, results_bytes
from .sequence import Sequence

PrefillProgress = Callable[[int, int], bool]  # (rows done, rows in all) -> whether to go on


class PrefillCancelled(Exception):
    """The caller's progress callback asked to stop. What was computed stays in the cache."""


async def prefill(engine: Engine, sequence: Sequence, *, progress: PrefillProgress | None = None) -> None:
    """Compute keys and values of the sequence's tokens from `length` on; no logits. Raises PrefillCancelled."""
    plan = await engine.plan("prefill", engine.deployment.choice.prefill_rows)
    while sequence.length < len(sequence.tokens):
        await _chunk(engine, sequence, plan, progress)


async def prefill_and_sample(
    engine: Engine, sequence: Sequence, *, n_top: int = 0, progress: PrefillProgress | None = None
) -> StepResult:
    """As `prefill`, then draw the token that follows, which joins the sequence's tokens.

    `Engine.set_sampling` has been called with the tokens in place. Raises PrefillCancelled.
    """
    plan = await engine.plan("prefill", engine.deployment.choice.prefill_rows)
    rows = 0
    while sequence.length < len(sequence.tokens):
        rows = await _chunk(engine, sequence, plan, progress)
    read = BufferRange("results", 0, results_bytes(1, n_top))
    stop = plan.plan.sample_end(n_top)
    readback = plan.submit(rows, sequence.length, start=plan.plan.head, stop=stop, read=read)
    assert readback is not None
    result = read_results(await engine.gpu.finish_read(readback), 1, 1, n_top)[0]
    sequence.tokens.append(result.token)
    return result


async def prefill_logits(engine: Engine, sequence: Sequence) -> AsyncIterator[bytes]:
    """Logits of the sequence's tokens from `length` on: for some rows at a time f32 [rows, vocab], little-endian."""
    plan = await engine.plan("logits", engine.deployment.choice.logits_rows)
    while sequence.length < len(sequence.tokens):
        rows = await _chunk(engine, sequence, plan, None, every_row=True)
        place = plan.bound(plan.plan.logits)
        yield await engine.gpu.read_buffer(place.buffer, place.offset, 4 * plan.plan.vocab_size * rows)


async def _chunk(
    engine: Engine,
    sequence: Sequence,
    plan: LoadedPlan,
    progress: PrefillProgress | None,
    *,
    every_row: bool = False,
) -> int:
    """Compute the next chunk up to the logits, or with them for `every_row`. Returns its rows."""
    first, total = sequence.length, len(sequence.tokens)
    rows = begin_chunk(engine, sequence, plan, every_row=every_row)

    def told(done: float) -> None:
        if progress is not None and not progress(first + int(done * rows), total):
            raise PrefillCancelled

    stop = len(plan.plan.dispatches) if every_row else plan.plan.head
    await submit_in_parts(engine, plan, rows, first + rows, 0, stop, told)
    sequence.length += rows
    engine.rows_computed += rows
    return rows


def begin_chunk(engine: Engine, sequence: Sequence, plan: LoadedPlan, *, every_row: bool) -> int:
    """Make room in the cache for a sequence's next chunk, and tell the plan of its rows. Returns how many they are."""
    most = plan.plan.rows_at(sequence.length, engine.deployment.choice.tile_rows)
    rows = min(most, len(sequence.tokens) - sequence.length)
    engine.reserve(sequence, sequence.length + rows)
    plan.write("rows", 0, _rows_of_chunk(sequence, rows, plan.plan.rows, every_row))
    return rows


def _rows_of_chunk(sequence: Sequence, rows: int, capacity: int, every_row: bool) -> bytes:
    """(slot, position, done, output row) of a chunk. Rows behind its end are done: they leave no trace in the cache."""
    data = bytearray()
    for i in range(capacity):
        output = min(i, rows - 1) if every_row else rows - 1
        position = sequence.length + i if i < rows else 0
        data += struct.pack("<4I", sequence.slot, position, int(i >= rows), output)
    return bytes(data)


async def submit_in_parts(
    engine: Engine, plan: LoadedPlan, rows: int, keys: int, start: int, stop: int, told: Callable[[float], None]
) -> None:
    """Submit dispatches [start, stop), cut by the engine's pace, and wait for them. At most two submits are under way.

    `told` gets the share that is done, after each submit. Whatever it raises, no submit is left unread.
    """
    borders = [0.0, *accumulate(plan.plan.seconds(rows, keys)[start:stop])]
    fence = BufferRange("rows", 0, 16)
    under_way: deque[tuple[Readback, int]] = deque()
    submitted = finished = 0
    last_time = time.perf_counter()
    try:
        while finished < stop - start:
            if submitted < stop - start and len(under_way) < 2:
                end = engine.pace.stop(borders, submitted)
                readback = plan.submit(rows, keys, start=start + submitted, stop=start + end, read=fence)
                assert readback is not None
                under_way.append((readback, end))
                submitted = end
                continue
            readback, end = under_way.popleft()
            await engine.gpu.finish_read(readback)
            now = time.perf_counter()
            engine.pace.learn(now - last_time, borders[end] - borders[finished])
            finished, last_time = end, now
            told(borders[end] / borders[-1])
    finally:
        for readback, _ in under_way:
            await engine.gpu.finish_read(readback)
