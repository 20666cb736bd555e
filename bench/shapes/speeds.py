"""How fast a loaded model is: seconds of a decode step by its rows, of a prompt, and of a first token."""

import time
from collections import deque
from collections.abc import Sequence as Many
from dataclasses import dataclass

from shaderlm.cli.measuring import bytes_read_by_step, prompt
from shaderlm.drawing import RUN_AHEAD
from shaderlm.engine.decode import Decoder, Step
from shaderlm.engine.engine import Engine
from shaderlm.engine.prefill import prefill_and_sample
from shaderlm.engine.sequence import Sequence

POSITION = 16  # of the first measured step
LEAST_STEPS = 4


@dataclass(frozen=True)
class Speeds:
    """Samples, in seconds, of one model."""

    step: dict[int, list[float]]  # by rows
    prompt: list[float]
    first_token: list[float]  # of a prompt of POSITION tokens
    prompt_tokens: int
    step_bytes: int  # that a step of one row reads
    dispatches: int  # of that step that have workgroups


async def measured(engine: Engine, *, rows: Many[int], prompt_tokens: int, rounds: int, seconds: float) -> Speeds:
    """Each figure once in every round, after one that compiles kernels. A figure of steps takes about `seconds`."""
    steps: dict[int, list[float]] = {n: [] for n in rows}
    prompts: list[float] = []
    firsts: list[float] = []
    for number in range(rounds + 1):
        kept = number > 0
        firsts += [await _prompt_seconds(engine, POSITION)] * kept
        prompts += [await _prompt_seconds(engine, prompt_tokens)] * kept
        for n in rows:
            taken = await _step_seconds(engine, n, seconds if kept else 0.0)
            steps[n] += [taken] * kept
    plan = (await engine.decode_plan(1)).plan
    counts = plan.counts(1, POSITION + 1)
    return Speeds(
        steps,
        prompts,
        firsts,
        prompt_tokens,
        bytes_read_by_step(engine, POSITION),
        sum(all(counts[3 * i : 3 * i + 3]) for i in range(plan.sample_end(0))),
    )


async def _prompt_seconds(engine: Engine, tokens: int) -> float:
    started = time.perf_counter()
    sequence = await _begun(engine, tokens, 0)
    taken = time.perf_counter() - started
    engine.close_sequence(sequence, keep=False)
    return taken


async def _step_seconds(engine: Engine, rows: int, seconds: float) -> float:
    """Of a step of so many sequences, submitted ahead as answers are."""
    sequences = [await _begun(engine, POSITION, i) for i in range(rows)]
    decoder = await Decoder.open(engine, sequences)
    under_way: deque[Step] = deque()
    started, n = time.perf_counter(), 0
    most = engine.deployment.context - POSITION - 2  # steps that the context has room for
    while n < LEAST_STEPS or (time.perf_counter() - started < seconds and n < most):
        under_way.append(decoder.submit())
        n += 1
        if len(under_way) > RUN_AHEAD:
            await decoder.read(under_way.popleft())
    await decoder.drain(under_way)
    taken = time.perf_counter() - started
    for sequence in sequences:
        engine.close_sequence(sequence, keep=False)
    return taken / n


async def _begun(engine: Engine, tokens: int, which: int) -> Sequence:
    """A sequence whose prompt is computed; prompts begin differently, so that none is known before."""
    sequence = engine.open_sequence()
    size = engine.vocabulary.size
    engine.set_tokens(sequence, [which % size, *prompt(size, tokens)[1:]])
    engine.set_neutral_sampling(sequence)
    await prefill_and_sample(engine, sequence)
    return sequence
