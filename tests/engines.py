"""Engines for tests, driven without the public face: their logits are read off the GPU after each step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shaderlm.engine.decode import Decoder
from shaderlm.engine.engine import Engine
from shaderlm.engine.prefill import prefill, prefill_and_sample, prefill_logits
from shaderlm.engine.programs import LoadedPlan
from shaderlm.engine.results import StepResult
from shaderlm.engine.sequence import Sequence as Live
from shaderlm.formats import read_checkpoint
from shaderlm.host import Gpu
from shaderlm.hosts.native.files import FileSource
from shaderlm.hosts.native.thread import run_now

Logits = NDArray[np.float32]


@contextmanager
def opened(
    gpu: Gpu, path: Path, *, context: int = 128, kv_dtype: Any = "f32", slots: int = 1, **options: Any
) -> Iterator[Engine]:
    """An engine over a file, on the calling thread. Closing it must leave no buffer and no bind group alive."""
    before = living(gpu)
    source = FileSource(path)
    engine = run_now(
        Engine.load(gpu, run_now(read_checkpoint(source)), context=context, kv_dtype=kv_dtype, slots=slots, **options)
    )
    source.close()
    try:
        yield engine
    finally:
        engine.close()
    assert living(gpu) == before, "the engine left something on the GPU"


def living(gpu: Gpu) -> dict[str, int]:
    """What an engine must free. Compiled pipelines and staging buffers belong to the device."""
    objects = gpu.live_objects()
    return {name: objects[name] for name in ("buffers", "bytes", "bind_groups")}


def set_prefill_rows(engine: Engine, rows: int) -> None:
    """Let prompts be computed in chunks of `rows`."""
    engine.deployment = replace(engine.deployment, choice=replace(engine.deployment.choice, prefill_rows=rows))


def start(engine: Engine, tokens: Sequence[int], *, pieces: Sequence[int] = ()) -> tuple[Live, StepResult, Logits]:
    """A sequence with these tokens computed and the next one drawn, greedily, and the logits of that draw, [vocab].

    `pieces`: lengths up to which the tokens are computed by calls of their own.
    """
    sequence = engine.open_sequence()
    for length in pieces:
        engine.set_tokens(sequence, tokens[:length])
        run_now(prefill(engine, sequence))
    return _started(engine, sequence, tokens)


def start_with_prefix(engine: Engine, tokens: Sequence[int]) -> tuple[Live, StepResult, Logits]:
    """As `start`, after taking up what the cache holds of the tokens."""
    sequence = engine.open_sequence()
    engine.take_up_prefix(sequence, tokens)
    return _started(engine, sequence, tokens)


def _started(engine: Engine, sequence: Live, tokens: Sequence[int]) -> tuple[Live, StepResult, Logits]:
    engine.set_tokens(sequence, tokens)
    engine.set_neutral_sampling(sequence)
    result = run_now(prefill_and_sample(engine, sequence))
    plan = engine.plans["prefill", engine.deployment.choice.prefill_rows]
    return sequence, result, step_logits(engine, plan)[0]


def step_logits(engine: Engine, plan: LoadedPlan) -> Logits:
    """What the last step of a plan left, [outputs, vocab]."""
    place = plan.bound(plan.plan.logits)
    data = run_now(engine.gpu.read_buffer(place.buffer, place.offset, place.size))
    return np.frombuffer(data, "<f4").reshape(plan.plan.outputs, -1)


def decode(engine: Engine, sequences: Sequence[Live], steps: int) -> Logits:
    """Some greedy steps of sequences that run together: logits [steps, sequences, vocab]."""
    decoder = run_now(Decoder.open(engine, sequences))
    rows = []
    for _ in range(steps):
        run_now(decoder.read(decoder.submit()))
        rows.append(step_logits(engine, decoder.plan)[: len(sequences)])
    return np.stack(rows)


def decode_forced(engine: Engine, tokens: Sequence[int], *, prefilled: int = 0) -> Logits:
    """The tokens behind the first `prefilled` one by one through the plan for one row: logits after each."""
    sequence = engine.open_sequence()
    engine.set_tokens(sequence, tokens[:prefilled])
    run_now(prefill(engine, sequence))
    engine.set_tokens(sequence, tokens)
    engine.set_neutral_sampling(sequence)
    decoder = run_now(Decoder.open(engine, [sequence]))
    rows = []
    for _ in tokens[prefilled:]:
        engine.set_tokens(sequence, tokens)  # the step before put what it drew behind its own token
        run_now(decoder.read(decoder.submit()))
        rows.append(step_logits(engine, decoder.plan)[0])
    engine.close_sequence(sequence, keep=False)
    return np.stack(rows)


def all_logits(engine: Engine, tokens: Sequence[int]) -> Logits:
    """Logits after each token by the plan that keeps all of them, [tokens, vocab]."""

    async def parts(sequence: Live) -> list[bytes]:
        return [rows async for rows in prefill_logits(engine, sequence)]

    sequence = engine.open_sequence()
    engine.set_tokens(sequence, tokens)
    engine.set_neutral_sampling(sequence)
    data = b"".join(run_now(parts(sequence)))
    engine.close_sequence(sequence, keep=False)
    return np.frombuffer(data, "<f4").reshape(len(tokens), -1)


def forget_prefixes(engine: Engine) -> None:
    """Let go of what finished sequences left for prompts that begin alike: room for more pages than there may be."""
    engine.prefixes.make_room(engine.cache.most_pages + 1)


def held_pages(engine: Engine) -> list[int]:
    """Pages in use, per layer group."""
    return [pool.capacity - len(pool.free) for pool in engine.cache.pools]
