"""What `bench` measures: answers of a fixed length to a fixed prompt, through the asynchronous face."""

import asyncio
import math
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..core import Core
from ..drawing import RUN_AHEAD
from ..engine.counting import Calls, counted
from ..engine.decode import Decoder, Step
from ..engine.engine import Engine
from ..engine.kv_cache import ELEMENT_BYTES
from ..engine.prefill import prefill_and_sample
from ..generation import sampling_state
from ..host import Gpu
from ..model import AsyncModel
from ..options import Options
from ..sampling import Sampling

COPY_BYTES = 128 << 20  # far beyond every cache
COPY_SECONDS = 0.1  # that a sample of the copy bandwidth takes at least
TICK = 0.005  # seconds between two ticks
TICKING = 2.0  # seconds that a ticker is watched at least
NEW_TOKENS = 16  # of the user's next message


@dataclass(frozen=True)
class Settings:
    """What is measured. Without a KV cache every token is computed from the whole text before it."""

    prompt_tokens: int = 128
    tokens: int = 32
    runs: int = 3
    kv_cache: bool = True
    prefix_reuse: bool = True

    @property
    def context(self) -> int:
        """Positions that the longest of the measured texts takes."""
        return self.prompt_tokens + self.tokens + NEW_TOKENS + 1


@dataclass(frozen=True)
class Spread:
    """The median of several samples, and the least and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        return cls(statistics.median(samples), min(samples), max(samples))


@dataclass(frozen=True)
class Answer:
    """One measured answer; rates are tokens per second."""

    time_to_first_token: float
    prefill: float
    decode: float


@dataclass(frozen=True)
class StepCost:
    """What one more token of an answer asks of the device and costs the host."""

    dispatches: float
    passes: float
    submits: float
    bind_groups: float
    bytes_written: float
    bytes_read: float
    host_microseconds: float  # CPU time to encode and submit
    submit_microseconds: float  # the same by the clock: where the device's queue is full, submitting waits for it


def prompt(vocab_size: int, tokens: int) -> list[int]:
    """Token ids all over the vocabulary, the same at every start; what they say does not matter to the speed."""
    return [(7919 * i + 12345) % vocab_size for i in range(tokens)]


async def answer(model: AsyncModel, ids: Sequence[int], tokens: int, settings: Settings) -> Answer:
    """An answer of exactly `tokens` tokens, nothing of its prompt known before."""
    if not settings.kv_cache:
        return await _answer_without_cache(model, ids, tokens)
    done = await model.complete(ids, **await endless(model, tokens))
    t = done.timings
    return Answer(t.time_to_first_token, t.prefill_tokens_per_second, t.decode_tokens_per_second)


async def next_turn(model: AsyncModel, settings: Settings) -> float:
    """Seconds to the first token of a second question, whose prompt begins with the first and its answer."""
    ids = prompt(await vocab_size(model), settings.prompt_tokens)
    reuse = settings.prefix_reuse and settings.kv_cache
    known = await model.complete(ids, **await endless(model, settings.tokens, reuse_prefix=reuse))
    ids += [*known.tokens, *prompt(await vocab_size(model), NEW_TOKENS)]
    done = await model.complete(ids, **await endless(model, 1, reuse_prefix=reuse))
    return done.timings.time_to_first_token


async def step_cost(model: AsyncModel, settings: Settings) -> StepCost:
    """What a token asks of the device, on the average of an answer's tokens behind the first."""
    ids = prompt(await vocab_size(model), settings.prompt_tokens)
    if settings.kv_cache:
        calls = await model.run_on_engine(lambda core: _decode_calls(core.engine, ids, settings.tokens))
    else:
        calls = await _recompute_calls(model, ids, settings.tokens)
    n = settings.tokens
    return StepCost(
        calls.dispatches / n,
        calls.passes / n,
        calls.submits / n,
        calls.bind_groups / n,
        calls.bytes_written / n,
        calls.bytes_read / n,
        1e6 * calls.submit_cpu_seconds / n,
        1e6 * calls.submit_seconds / n,
    )


async def lateness(model: AsyncModel, settings: Settings) -> list[float]:
    """Seconds by which a ticker on this event loop came late, tick by tick, while answers streamed to it."""
    ids = prompt(await vocab_size(model), settings.prompt_tokens)
    options = await endless(model, settings.tokens)
    late: list[float] = []
    ticker = asyncio.ensure_future(_tick(late))
    try:
        end = time.perf_counter() + TICKING
        while time.perf_counter() < end:
            async for _ in model.stream(ids, **options):
                pass
    finally:
        ticker.cancel()
    return late


async def copy_bandwidth(model: AsyncModel, runs: int) -> Spread:
    """Bytes read and bytes written per second by copies between two buffers of the device."""
    return await model.run_on_engine(lambda core: _copy_bandwidth(core.gpu, runs))


async def step_bytes(model: AsyncModel, position: int) -> int:
    """Bytes that a decode step at a position has to read: weights, keys and values."""

    async def job(core: Core) -> int:
        return bytes_read_by_step(core.engine, position)

    return await model.run_on_engine(job)


def bytes_read_by_step(engine: Engine, position: int) -> int:
    """Every weight once, but of an embedding that is not the output head too only a row; every key and value."""
    config = engine.model.config
    weights = sum(weight.size for weight in engine.weights.values())
    embedding = engine.weights["token_embd.weight"].size
    if "output.weight" in engine.weights:
        weights -= embedding - embedding // config.vocab_size
    element = ELEMENT_BYTES[engine.deployment.kv_dtype]
    seen = sum(
        min(position, layer.window or position) * 2 * layer.n_kv_heads * layer.head_dim for layer in engine.model.layers
    )
    return weights + seen * element


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which `share` of them lie (the nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


async def vocab_size(model: AsyncModel) -> int:
    """Tokens of the model's vocabulary."""

    async def job(core: Core) -> int:
        return core.engine.vocabulary.size

    return await model.run_on_engine(job)


async def endless(model: AsyncModel, tokens: int, *, reuse_prefix: bool = False) -> Options:
    """Options of an answer of exactly `tokens` tokens, for no end-of-turn token is drawn; else the defaults."""

    async def job(core: Core) -> Options:
        ends = core.tokenizer.eos_ids if core.tokenizer is not None else ()
        banned = dict.fromkeys(ends, float("-inf"))
        return Options(max_tokens=tokens, seed=1, logit_bias=banned, reuse_prefix=reuse_prefix)

    return await model.run_on_engine(job)


async def _answer_without_cache(model: AsyncModel, ids: Sequence[int], tokens: int) -> Answer:
    """Every token is the first of an answer to all the text before it."""
    text = list(ids)
    options = await endless(model, 1)
    ends = [time.perf_counter()]
    for _ in range(tokens):
        text += (await model.complete(text, **options)).tokens
        ends.append(time.perf_counter())
    first, rest = ends[1] - ends[0], ends[-1] - ends[1]
    return Answer(first, len(ids) / first, (tokens - 1) / rest if tokens > 1 else 0.0)


async def _decode_calls(engine: Engine, ids: Sequence[int], steps: int) -> Calls:
    """Calls of decode steps alone, submitted ahead as answers do."""
    sequence = engine.open_sequence()
    try:
        engine.set_tokens(sequence, ids)
        engine.set_sampling(sequence, sampling_state(Sampling(seed=1), (), len(ids) + steps))
        await prefill_and_sample(engine, sequence)
        decoder = await Decoder.open(engine, [sequence])
        under_way: deque[Step] = deque()
        with counted(engine.gpu) as calls:
            for _ in range(steps):
                under_way.append(decoder.submit())
                if len(under_way) > RUN_AHEAD:
                    await decoder.read(under_way.popleft())
            await decoder.drain(under_way)
    finally:
        engine.close_sequence(sequence, keep=False)
    return calls


async def _recompute_calls(model: AsyncModel, ids: Sequence[int], tokens: int) -> Calls:
    """Calls of an answer that computes every token from the whole text."""
    gpu = await model.run_on_engine(_gpu)
    with counted(gpu) as calls:
        await _answer_without_cache(model, ids, tokens)
    return calls


async def _gpu(core: Core) -> Gpu:
    return core.gpu


async def _tick(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        late.append(max(0.0, time.perf_counter() - due))


async def _copy_bandwidth(gpu: Gpu, runs: int) -> Spread:
    free = gpu.available_memory()
    size = min(COPY_BYTES, gpu.adapter.limits["max-buffer-size"], (free or COPY_BYTES * 8) // 8 // 16 * 16)
    source, target = gpu.create_buffer("copy source", size), gpu.create_buffer("copy target", size)
    try:
        copies = 1
        while await copy_seconds(gpu, source, target, size, copies) < COPY_SECONDS:
            copies *= 2
        seconds = [await copy_seconds(gpu, source, target, size, copies) for _ in range(max(3, runs))]
        return Spread.of([2 * size * copies / each for each in seconds])
    finally:
        gpu.destroy_buffer(source)
        gpu.destroy_buffer(target)


async def copy_seconds(gpu: Gpu, source: object, target: object, size: int, copies: int) -> float:
    """Seconds that so many copies of `size` bytes between two buffers of the device take."""
    await gpu.wait()
    started = time.perf_counter()
    for _ in range(copies):
        gpu.copy_buffer(source, 0, target, 0, size)
    await gpu.wait()
    return time.perf_counter() - started
