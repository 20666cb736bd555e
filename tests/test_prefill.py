"""Prompts in submits and dispatches that are short on any device: the numbers are those of a prompt left whole."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines import all_logits, decode, held_pages, opened, start
from gpu import Device
from gpu_calls import counted
from shaderlm.engine.engine import Engine
from shaderlm.engine.pace import Pace
from shaderlm.engine.prefill import PrefillCancelled, prefill
from shaderlm.engine.trace import trace_prefill
from shaderlm.hosts.native.thread import run_now
from tiny_model import TINY
from watching import anonymous_memory

TOKENS = np.random.default_rng(7).integers(3, 512, 150).tolist()
SLOW = {"default": 500_000, "tile": 1_000_000}  # multiply-adds a second that allow a chunk a tile or two, in the end
KERNELS = {"default": {}, "tile": {"prefill_kernel": "matmul_tile.wgsl", "tile_rows": 32}}
each_kernel = pytest.mark.parametrize("kernel", KERNELS)


class Slow(Pace):
    """Of a device so slow that every dispatch is a submit of its own, however often it turns out to be faster."""

    def __init__(self) -> None:
        self.slowness = 1e12

    def learn(self, measured: float, assumed: float) -> None:
        pass


class Fast(Slow):
    """Of a device that is given all at once."""

    def __init__(self) -> None:
        self.slowness = 1e-12


@contextmanager
def engine_with(gpu: Device, kernel: str = "default", **choice: Any) -> Iterator[Engine]:
    """The tiny model with other kernels or rates than its adapter's kind would have."""
    with opened(gpu.gpu, TINY, context=480) as engine:
        changed = replace(engine.deployment.choice, **KERNELS[kernel], **choice)
        engine.deployment = replace(engine.deployment, choice=changed)
        engine.pace = Fast()
        yield engine


@pytest.fixture(scope="module")
def engine(gpu: Device) -> Iterator[Engine]:
    with engine_with(gpu) as engine:
        yield engine


@pytest.fixture(autouse=True)
def forget(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test takes the engine as if nothing had run on it, and gives every page and slot back."""
    yield
    if "engine" in request.fixturenames:
        engine: Engine = request.getfixturevalue("engine")
        engine.pace = Fast()
        assert held_pages(engine) == [0]
        assert len(engine.free_slots) == engine.deployment.slots


def answer(engine: Engine, tokens: Sequence[int] = TOKENS) -> list[NDArray[np.float32]]:
    """All that a prompt leads to: logits behind it, behind all of its tokens, and of some decoded ones."""
    sequence, _, first = start(engine, tokens)
    decoded = decode(engine, [sequence], 3)
    engine.close_sequence(sequence, keep=False)
    return [first, decoded, all_logits(engine, tokens)]


def all_equal(one: list[NDArray[np.float32]], other: list[NDArray[np.float32]]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def prefill_submits(engine: Engine, tokens: Sequence[int] = TOKENS) -> int:
    sequence = engine.open_sequence()
    engine.set_tokens(sequence, tokens)
    with counted(engine.gpu) as counts:
        run_now(prefill(engine, sequence))
    engine.close_sequence(sequence, keep=False)
    return counts["submits"]


# Submits


def test_a_device_however_slow_gets_the_same_numbers_in_submits_of_one_dispatch(engine: Engine) -> None:
    whole = answer(engine)
    assert prefill_submits(engine) == 3, "one for each chunk"
    engine.pace = Slow()
    all_equal(answer(engine), whole)
    assert prefill_submits(engine) == 3 * (1 + 4 * 5), "one for the embedding, five for each layer"


@pytest.mark.parametrize("slowness", [1e3, 3e3, 1e4, 1e5])
def test_wherever_it_is_cut_the_numbers_are_the_same(engine: Engine, slowness: float) -> None:
    whole = answer(engine)
    engine.pace = Slow()
    engine.pace.slowness = slowness
    all_equal(answer(engine), whole)
    seconds = slowness * sum(engine.plans["prefill", 64].plan.seconds(64, 64))
    assert prefill_submits(engine, TOKENS[:64]) >= min(seconds / 0.1, 21)


def test_the_pace_is_learnt(engine: Engine) -> None:
    engine.pace = Pace()
    engine.pace.slowness = 1e12
    counts = [prefill_submits(engine) for _ in range(3)]
    assert counts[0] > counts[2], counts
    assert engine.pace.slowness < 1e6


def test_a_look_inside_is_cut_too_and_sees_the_same(engine: Engine) -> None:
    whole = run_now(trace_prefill(engine, TOKENS))
    engine.pace = Slow()
    with counted(engine.gpu) as counts:
        assert run_now(trace_prefill(engine, TOKENS)) == whole
    assert counts["submits"] == 3 * (1 + 4 * 5) + 1


# Cancelling


@pytest.mark.parametrize("told", [1, 2, 4, 11, 22, 40])
def test_a_prompt_cancelled_in_the_middle_of_a_layer_leaves_the_engine_well(engine: Engine, told: int) -> None:
    whole = answer(engine)
    engine.pace = Slow()
    sequence = engine.open_sequence()
    engine.set_tokens(sequence, TOKENS)
    progress: list[tuple[int, int]] = []

    def go_on(done: int, total: int) -> bool:
        progress.append((done, total))
        return len(progress) < told

    with counted(engine.gpu) as counts, pytest.raises(PrefillCancelled):
        run_now(prefill(engine, sequence, progress=go_on))
    assert told <= counts["submits"] <= told + 1, "at most one more was under way"
    assert progress == sorted(progress)
    assert sequence.length == 64 * (told // 21), "whole chunks count"
    run_now(prefill(engine, sequence))
    assert sequence.length == len(TOKENS)
    engine.close_sequence(sequence, keep=False)
    all_equal(answer(engine), whole)


def test_progress_ends_with_all_rows(engine: Engine) -> None:
    engine.pace = Slow()
    sequence = engine.open_sequence()
    engine.set_tokens(sequence, TOKENS)
    told: list[int] = []
    run_now(prefill(engine, sequence, progress=lambda done, total: told.append(done) is None))
    assert (told[20], told[41], told[-1]) == (64, 128, 150)
    assert told == sorted(told)
    engine.close_sequence(sequence, keep=False)


# Dispatches


@each_kernel
@pytest.mark.parametrize("rate", [4_000_000, 5_000_000])
def test_linears_and_heads_cut_into_several_dispatches_give_the_same_numbers(
    gpu: Device, kernel: str, rate: int
) -> None:
    """The rates are those of devices so slow that a layer of this small model takes seconds; rows stay as they are."""
    with engine_with(gpu, kernel) as engine:
        whole = answer(engine)
        uncut = engine.plans["prefill", 64].plan
    with engine_with(gpu, kernel, linear_rate=rate, attention_rate=10_000_000) as engine:
        all_equal(answer(engine), whole)
        plan = engine.plans["prefill", 64].plan
        assert len(plan.dispatches) > len(uncut.dispatches)
        assert all(plan.rows_at(position, engine.deployment.choice.tile_rows) == 64 for position in (0, 100, 400))
        assert max(plan.seconds(64, 480)) <= 0.2
        logits = [d for d in engine.plans["logits", 32].plan.dispatches if d.label == "logits"]
        assert len(logits) > 1, "the output head of all rows is cut as well"


def test_heads_are_cut_only_where_there_are_many_keys(gpu: Device) -> None:
    with engine_with(gpu) as engine:
        whole = answer(engine)
    with engine_with(gpu, attention_rate=10_000_000) as engine:
        all_equal(answer(engine), whole)
        plan = engine.plans["prefill", 64].plan
        attention = [i for i, d in enumerate(plan.dispatches) if d.label == "0.attention"]
        counts = {keys: [plan.counts(64, keys)[3 * i] for i in attention] for keys in (64, 128, 192)}
        assert counts == {64: [6, 0, 0, 0], 128: [6, 0, 0, 0], 192: [0, 2, 2, 2]}


@each_kernel
def test_no_kernel_is_compiled_anew_for_every_dispatch(gpu: Device, kernel: str) -> None:
    """Lavapipe does that to some loops that a uniform bounds, and keeps a megabyte each time: here of a thousand."""
    with engine_with(gpu, kernel) as engine:
        for _ in range(2):
            answer(engine)
        before = anonymous_memory()
        for _ in range(6):
            answer(engine)
        assert anonymous_memory() - before < 8 << 20


# Chunks


@each_kernel
def test_chunks_get_smaller_with_the_keys_and_the_numbers_are_the_same(gpu: Device, kernel: str) -> None:
    with engine_with(gpu, kernel) as engine:
        whole = answer(engine)
    with engine_with(gpu, kernel, attention_rate=SLOW[kernel]) as engine:
        all_equal(answer(engine), whole)
        plan, tile = engine.plans["prefill", 64].plan, engine.deployment.choice.tile_rows
        rows = [plan.rows_at(position, tile) for position in range(416)]
        assert rows == sorted(rows, reverse=True)
        assert rows[0] > rows[100] >= rows[415] == tile


def test_the_same_prompt_is_always_computed_in_the_same_chunks(engine: Engine) -> None:
    """However fast the device turned out to be in between."""
    engine.pace = Pace()
    first = answer(engine)
    for slowness in (1e9, 1e-9, 1.0):
        engine.pace.slowness = slowness
        all_equal(answer(engine), first)
