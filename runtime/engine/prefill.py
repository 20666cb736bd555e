"""Prefill: the rows of a prompt, in submits short enough that a screen does not freeze."""

import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

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
    rows = min(plan.plan.rows, total - first)
    engine.reserve(sequence, first + rows)
    plan.write("rows", 0, chunk_rows(sequence, rows, plan.plan.rows, every_row))

    def told(done: float) -> None:
        if progress is not None and not progress(first + int(done * rows), total):
            raise PrefillCancelled

    stop = len(plan.plan.dispatches) if every_row else plan.plan.head
    await _submit_in_parts(engine, plan, rows, first + rows, stop, told)
    sequence.length += rows
    engine.rows_computed += rows
    return rows


def chunk_rows(sequence: Sequence, rows: int, capacity: int, every_row: bool) -> bytes:
    """(slot, position, done, output row) of a chunk. Rows behind its end are done: they leave no trace in the cache."""
    data = bytearray()
    for i in range(capacity):
        output = min(i, rows - 1) if every_row else rows - 1
        position = sequence.length + i if i < rows else 0
        data += struct.pack("<4I", sequence.slot, position, int(i >= rows), output)
    return bytes(data)


async def _submit_in_parts(
    engine: Engine, plan: LoadedPlan, rows: int, keys: int, stop: int, told: Callable[[float], None]
) -> None:
    """Submit dispatches [0, stop), cut between layers. At most two submits are under way.

    Whatever `told` raises, no submit is left unread.
    """
    ends = [end for end in plan.plan.layer_ends if end < stop] + [stop]
    fence = BufferRange("rows", 0, 16)
    under_way: deque[tuple[Readback, int]] = deque()
    start, submitted, finished = 0, 0, 0
    last_time = time.perf_counter()
    try:
        while finished < len(ends):
            if submitted < len(ends) and len(under_way) < 2:
                layers = min(engine.pace.layers(rows), len(ends) - submitted)
                submitted += layers
                readback = plan.submit(rows, keys, start=start, stop=ends[submitted - 1], read=fence)
                assert readback is not None
                under_way.append((readback, layers))
                start = ends[submitted - 1]
                continue
            readback, layers = under_way.popleft()
            await engine.gpu.finish_read(readback)
            finished += layers
            now = time.perf_counter()
            engine.pace.learn(now - last_time, rows, layers)
            last_time = now
            told(finished / len(ends))
    finally:
        for readback, _ in under_way:
            await engine.gpu.finish_read(readback)
