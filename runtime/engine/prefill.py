"""Prefill: the rows of a prompt, in submits short enough that a screen does not freeze."""

import struct
import time
from collections.abc import Callable, Sequence as Tokens

from ..host import Readback
from ..planner.plan import BufferRange
from .engine import Engine
from .programs import LoadedPlan
from .results import StepResult, read_results, results_bytes
from .sequence import Sequence

PrefillProgress = Callable[[int, int], bool]  # (rows done, rows in all) -> whether to go on


class PrefillCancelled(Exception):
    """The caller's progress callback asked to stop. What was computed stays in the cache."""


async def prefill(
    engine: Engine, sequence: Sequence, tokens: Tokens[int], *, progress: PrefillProgress | None = None
) -> None:
    """Compute keys and values of `tokens` behind what the sequence has; no logits. Raises PrefillCancelled."""
    plan = await engine.plan("prefill", engine.deployment.choice.prefill_rows)
    await _chunks(engine, sequence, tokens, plan, _before_head(plan), progress, None)


async def prefill_and_sample(
    engine: Engine,
    sequence: Sequence,
    tokens: Tokens[int],
    *,
    n_top: int = 0,
    progress: PrefillProgress | None = None,
) -> StepResult:
    """As `prefill`, then draw the token that follows. `Engine.set_sampling` has been called with `tokens` in place."""
    plan = await engine.plan("prefill", engine.deployment.choice.prefill_rows)
    readback = await _chunks(engine, sequence, tokens, plan, _before_head(plan), progress, n_top)
    assert readback is not None
    return read_results(await engine.gpu.finish_read(readback), 1, 1, n_top)[0]


async def prefill_logits(engine: Engine, sequence: Sequence, tokens: Tokens[int]) -> list[bytes]:
    """Logits of every row: f32, vocab_size of them a row, little-endian."""
    plan = await engine.plan("logits", engine.deployment.choice.logits_rows)
    rows: list[bytes] = []
    row_bytes = 4 * plan.plan.vocab_size

    async def keep(n: int) -> None:
        place = plan.bound(plan.plan.logits)
        data = await engine.gpu.read_buffer(place.buffer, place.offset, row_bytes * n)
        rows.extend(data[i * row_bytes : (i + 1) * row_bytes] for i in range(n))

    start = 0
    while start < len(tokens):
        chunk = tokens[start : start + plan.plan.rows]
        _place(engine, sequence, chunk, plan, every_row=True)
        await _submit_in_parts(engine, plan, len(chunk), sequence.length + len(chunk), len(plan.plan.dispatches), None)
        _advance(engine, sequence, len(chunk))
        await keep(len(chunk))
        start += len(chunk)
    return rows


async def _chunks(
    engine: Engine,
    sequence: Sequence,
    tokens: Tokens[int],
    plan: LoadedPlan,
    before_head: int,
    progress: PrefillProgress | None,
    n_top: int | None,
) -> Readback | None:
    """All chunks; behind the last one the head and the draw, if `n_top` is given."""
    readback = None
    start = 0
    while start < len(tokens):
        chunk = tokens[start : start + plan.plan.rows]
        last = start + len(chunk) == len(tokens)
        _place(engine, sequence, chunk, plan, every_row=False)
        keys = sequence.length + len(chunk)

        def told(done: float, first: int = start, n: int = len(chunk)) -> None:
            if progress is not None and not progress(first + int(done * n), len(tokens)):
                raise PrefillCancelled

        await _submit_in_parts(engine, plan, len(chunk), keys, before_head, told)
        if last and n_top is not None:
            stop = plan.plan.sample_end(n_top)
            read = BufferRange("results", 0, results_bytes(1, n_top))
            readback = plan.submit(len(chunk), keys, start=before_head, stop=stop, read=read)
        _advance(engine, sequence, len(chunk))
        start += len(chunk)
    return readback


def _place(engine: Engine, sequence: Sequence, chunk: Tokens[int], plan: LoadedPlan, *, every_row: bool) -> None:
    """Tokens, pages and rows of a chunk. Rows behind its end are marked done, so that they leave no trace."""
    position = sequence.length
    del sequence.tokens[position:]
    sequence.tokens.extend(chunk)
    engine.reserve(sequence, position + len(chunk))
    engine.write_tokens(sequence, position)
    rows = bytearray()
    for i in range(plan.plan.rows):
        output = i if every_row else len(chunk) - 1
        if i < len(chunk):
            rows += struct.pack("<4I", sequence.slot, position + i, 0, output)
        else:
            rows += struct.pack("<4I", sequence.slot, 0, 1, min(output, len(chunk) - 1))
    plan.write("rows", 0, bytes(rows))


def _advance(engine: Engine, sequence: Sequence, rows: int) -> None:
    sequence.length += rows
    engine.rows_computed += rows


async def _submit_in_parts(
    engine: Engine, plan: LoadedPlan, rows: int, keys: int, stop: int, told: Callable[[float], None] | None
) -> None:
    """Submit dispatches [0, stop), cut between layers. At most two submits are under way."""
    ends = [end for end in plan.plan.layer_ends if end < stop] + [stop]
    under_way: list[tuple[Readback, int]] = []
    fence = BufferRange("rows", 0, 16)
    start, done = 0, 0
    last_time = time.perf_counter()
    while done < len(ends) or under_way:
        if done < len(ends) and len(under_way) < 2:
            layers = min(engine.pace.layers(rows), len(ends) - done)
            done += layers
            readback = plan.submit(rows, keys, start=start, stop=ends[done - 1], read=fence)
            assert readback is not None
            under_way.append((readback, layers))
            start = ends[done - 1]
            continue
        readback, layers = under_way.pop(0)
        await engine.gpu.finish_read(readback)
        now = time.perf_counter()
        engine.pace.learn(now - last_time, rows, layers)
        last_time = now
        if told is not None:
            told((done - sum(n for _, n in under_way)) / len(ends))


def _before_head(plan: LoadedPlan) -> int:
    return next(i for i, dispatch in enumerate(plan.plan.dispatches) if dispatch.label == "logits")
