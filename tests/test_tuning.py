"""Tuning: within which time, and what comes of it; and that no choice changes what must not change."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import shaderlm
from agreement import agree
from engines import Engine, decode, living, opened, start, start_with_prefix
from gguf_writer import dequantized, write_llama
from gpu import Device
from plans import team_of
from random_llama import prompt, random_llama
from reference import Reference
from shaderlm.engine import tuning
from shaderlm.engine.pace import TARGET_SECONDS
from shaderlm.engine.programs import LoadedPlan
from shaderlm.engine.tuning import (
    FIRST_LOAD_SECONDS,
    for_seconds,
    known_winners,
    shapes_of,
    submits,
    tune,
    tune_at_load,
)
from shaderlm.engine.tuning_finds import read_finds
from shaderlm.hosts.native.store import FileStore
from shaderlm.hosts.native.thread import run_now
from shaderlm.planner.choice import (
    DECODE_ROWS,
    INT8,
    LARGE_TILE,
    TILE,
    variants,
)
from shaderlm.planner.tuned import MATVECS, Tuned
from tiny_model import TINY
from tuners import EIGHT, SMALL, FakeClock, favour, small_model, two_to_choose_from


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_model(tmp_path)


# Time


def test_steps_end_before_their_time_is_up() -> None:
    clock = FakeClock(lambda _: 0.0)
    go_on = for_seconds(1.0, clock)
    for now, goes_on in ((100.3, True), (100.6, True), (100.7, True), (100.71, False)):
        clock.now = now
        assert go_on() == goes_on, "a step took 0.3 s, so another may take as long"


def test_the_first_load_takes_no_more_than_its_second(gpu: Device, small: Path, tmp_path: Path) -> None:
    clock = FakeClock(lambda _: 0.09)
    store = FileStore(tmp_path / "finds")
    with opened(gpu.gpu, small) as engine:
        before = living(gpu.gpu)
        run_now(tune_at_load(engine, store, clock=clock, measure=clock.measure))
        assert living(gpu.gpu) == before, "what was not settled is freed, too"
    assert 0.5 < clock.now - 100.0 <= FIRST_LOAD_SECONDS
    finds = run_now(read_finds(store, gpu.gpu.adapter))
    assert 0 < len(finds.shapes) < len(shapes_of(engine.model, gpu.gpu.adapter))


def test_what_is_found_is_used_and_never_timed_again(gpu: Device, small: Path, tmp_path: Path) -> None:
    """The variant that this clock favours wins every shape but the logits'; at the next load no clock is asked."""
    clock = FakeClock(favour(8))
    adapter, store = gpu.gpu.adapter, FileStore(tmp_path / "finds")
    with two_to_choose_from(gpu, small) as engine:
        assert run_now(tune(engine, store, lambda: True, measure=clock.measure))
        dropped = engine.dropped_variants
        tuned = run_now(known_winners(engine.model, adapter, store, dropped, "f32", "exact"))
        shapes = shapes_of(engine.model, adapter)
        assert set(tuned) == {Tuned(s, EIGHT) for s, head in shapes.items() if s.step == "decode" and not head}
        runs = clock.runs
        run_now(tune_at_load(engine, store, clock=clock, measure=clock.measure))
        assert run_now(tune(engine, store, lambda: True, measure=clock.measure))
        assert clock.runs == runs
        engine.take(tuned)
        sequence, _, _ = start(engine, [1, 2, 3])
        decode(engine, [sequence], 1)
        teams = {
            team_of(dispatch) for dispatch in engine.plans["decode", 1].plan.dispatches if dispatch.label == "0.qkv"
        }
        assert teams == {8}
    assert run_now(known_winners(engine.model, adapter, store, {*dropped, EIGHT}, "f32", "exact")) == (), (
        "dropped since"
    )
    assert run_now(known_winners(engine.model, adapter, store, dropped, "f16", "exact")) == (), (
        "not tried with such a cache"
    )


def test_tuning_stops_when_told_and_goes_on_where_it_stopped(gpu: Device, small: Path, tmp_path: Path) -> None:
    clock, store = FakeClock(lambda _: 0.001), FileStore(tmp_path / "finds")
    counts = []
    with two_to_choose_from(gpu, small) as engine:
        for steps in (3, 12, 12):
            left = iter(range(steps))
            assert not run_now(
                tune(engine, store, lambda left=left: next(left, None) is not None, measure=clock.measure)
            )
            finds = run_now(read_finds(store, gpu.gpu.adapter))
            counts.append(sum(len(find.times) for find in finds.shapes.values()))
        assert run_now(tune(engine, store, lambda: True, measure=clock.measure))
    assert counts[0] == 0 < counts[1] < counts[2]


def test_programs_that_never_idle_get_the_winner_that_their_first_load_had_no_time_to_try(
    gpu: Device, small: Path, tmp_path: Path
) -> None:
    clock, store = FakeClock(favour(8)), FileStore(tmp_path / "finds")

    def ends_at_the_first_find() -> float:
        return clock.now + (2.0 if run_now(read_finds(store, gpu.gpu.adapter)).shapes else 0.0)

    with two_to_choose_from(gpu, small) as engine:
        run_now(tune_at_load(engine, store, clock=ends_at_the_first_find, measure=clock.measure))
        assert engine.deployment.choice.tuned == ()
        assert run_now(read_finds(store, gpu.gpu.adapter)).passed == set()
        run_now(tune_at_load(engine, store, clock=clock, measure=clock.measure))
        assert {found.kernel for found in engine.deployment.choice.tuned} == {EIGHT}


def test_a_first_load_whose_second_settles_nothing_is_not_repeated(gpu: Device, small: Path, tmp_path: Path) -> None:
    clock, store = FakeClock(lambda _: 0.3), FileStore(tmp_path / "finds")
    with two_to_choose_from(gpu, small) as engine:
        run_now(tune_at_load(engine, store, clock=clock, measure=clock.measure))
        assert clock.runs > 0
        assert run_now(read_finds(store, gpu.gpu.adapter)).shapes == {}
        clock.runs = 0
        run_now(tune_at_load(engine, store, clock=clock, measure=clock.measure))
        assert clock.runs == 0


def test_the_log_tells_of_runs_that_found_something(
    gpu: Device, small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, store = FakeClock(favour(8)), FileStore(tmp_path / "finds")
    caplog.set_level("INFO", logger="shaderlm")
    with two_to_choose_from(gpu, small) as engine:
        for finds, goes_on in ((0, False), (1, True), (0, True)):
            caplog.clear()
            run_now(tune(engine, store, lambda on=goes_on: on, measure=clock.measure))
            assert sum(record.getMessage().startswith("tuning") for record in caplog.records) == finds


def test_each_find_is_kept_at_once(gpu: Device, small: Path, tmp_path: Path) -> None:
    """A program may end without a word."""
    clock, store, kept_times = FakeClock(favour(8)), FileStore(tmp_path / "finds"), []

    def go_on() -> bool:
        finds = run_now(read_finds(store, gpu.gpu.adapter))
        kept_times.append(sum(len(find.times) for find in finds.shapes.values()))
        return True

    with two_to_choose_from(gpu, small) as engine:
        assert run_now(tune(engine, store, go_on, measure=clock.measure))
    assert sorted(set(kept_times)) == list(range(0, max(kept_times) + 1, 2)), "a default and a variant at a time"
    assert max(kept_times) > 2


def test_no_submit_is_assumed_to_be_long_and_between_two_a_call_is_looked_for(
    gpu: Device, small: Path, tmp_path: Path
) -> None:
    """On a slow device, a whole linear of a prefill would freeze the screen."""
    asked, made, cut = 0, [], 0

    def go_on() -> bool:
        nonlocal asked
        asked += 1
        return True

    async def measure(plan: LoadedPlan, start: int, stop: int) -> float:
        nonlocal cut
        assumed = plan.plan.seconds(plan.plan.rows, 1)
        made.append((sum(assumed[start:stop]), stop - start))
        cut += start > 0
        assert asked >= len(made), "before each"
        return 0.001

    with opened(gpu.gpu, small) as engine:
        engine.dropped_variants = frozenset({*MATVECS} - {variants(gpu.gpu.adapter)[1][0]})
        slow = replace(engine.deployment.choice, linear_rate=5_000_000)
        engine.deployment = replace(engine.deployment, choice=slow)
        assert run_now(tune(engine, FileStore(tmp_path / "finds"), go_on, measure=measure))
    assert all(seconds <= TARGET_SECONDS or dispatches == 1 for seconds, dispatches in made), made
    assert cut, "some linear takes several"


def test_as_few_submits_as_can_be_have_all_dispatches() -> None:
    assert list(submits([0.0, 0.0, 0.0], 0.1)) == [(0, 3)]
    assert list(submits([0.06, 0.04, 0.04, 0.2, 0.01], 0.1)) == [(0, 2), (2, 3), (3, 4), (4, 5)]


def test_what_was_compiled_for_trials_alone_is_forgotten(gpu: Device, small: Path, tmp_path: Path) -> None:
    clock = FakeClock(lambda _: 0.001)
    with two_to_choose_from(gpu, small) as engine:
        sequence, _, _ = start(engine, [1, 2, 3])
        before = decode(engine, [sequence], 2)
        assert run_now(tune(engine, FileStore(tmp_path / "finds"), lambda: True, measure=clock.measure))
        own = len(engine.model.kernels(engine.deployment))
        assert 0 < gpu.gpu.live_objects()["pipelines"] <= own
        engine.close_sequence(sequence, keep=False)
        sequence, _, _ = start(engine, [1, 2, 3])
        np.testing.assert_array_equal(decode(engine, [sequence], 2), before)


# Whatever is chosen


def every_linear(path: Path, gpu: Device, step: str, kernels: tuple[str, ...]) -> list[Tuned]:
    """The variants in turn, for all linears of a model."""
    with opened(gpu.gpu, path) as engine:
        shapes = [shape for shape in shapes_of(engine.model, gpu.gpu.adapter) if shape.step == step]
    return [Tuned(shape, kernels[i % len(kernels)]) for i, shape in enumerate(shapes)]


CHOICES = {"decode": ("decode", tuple(MATVECS)), "prefill": ("prefill", (TILE, LARGE_TILE))}


@pytest.mark.parametrize(("step", "kernels"), CHOICES.values(), ids=CHOICES)
def test_any_choice_has_the_logits_of_float64_and_to_the_bit_those_of_other_numbers_of_rows(
    gpu: Device, tmp_path: Path, step: str, kernels: tuple[str, ...]
) -> None:
    hyperparameters, weights = random_llama(3, **SMALL)
    path = write_llama(tmp_path / "model.gguf", weights, hyperparameters, "Q8_0")
    tokens = prompt(hyperparameters, 70)
    tuned = every_linear(path, gpu, step, kernels)
    with opened(gpu.gpu, path, slots=8, tuned=tuned) as engine:
        assert engine.deployment.choice.tuned == tuple(tuned)
        sequence, _, fresh = start(engine, tokens)
        alone = decode(engine, [sequence], 3)[:, 0]
        answer = list(sequence.tokens)
        engine.close_sequence(sequence, keep=False)
        for rows in DECODE_ROWS[1:]:
            together = [start(engine, tokens)[0] for _ in range(rows)]
            for row in decode(engine, together, 3).swapaxes(0, 1):
                np.testing.assert_array_equal(row, alone, err_msg=f"{rows} rows")
            for one in together:
                engine.close_sequence(one, keep=False)
        sequence, _, _ = start(engine, tokens[:45])
        engine.close_sequence(sequence)
        sequence, _, reused = start_with_prefix(engine, tokens)
        np.testing.assert_array_equal(reused, fresh, err_msg="behind a prefix that was there")
    expected = Reference.of(hyperparameters, dequantized(weights, "Q8_0")).logits(answer[:-1])
    agree(fresh, expected[69], abs=1e-4 * np.abs(expected).max())
    agree(alone, expected[70:], abs=1e-4 * np.abs(expected).max())


def test_what_is_chosen_behind_the_load_has_the_buffers_that_it_would_have_had_from_the_start(
    gpu: Device, small: Path
) -> None:
    """Small workgroups leave more partial sums."""
    tuned = every_linear(small, gpu, "prefill", (TILE,))
    with opened(gpu.gpu, small) as engine:
        engine.take(tuned)
        taken = {name: size for name, (_, size) in engine.shared.items()}
        plan = run_now(engine.plan("prefill", engine.deployment.choice.prefill_rows))
        assert not [name for name in plan.own if name.startswith("activation:")]
    with opened(gpu.gpu, small, tuned=tuned) as engine:
        assert {name: size for name, (_, size) in engine.shared.items()} == taken


def test_a_prefill_that_is_chosen_to_round_is_close_to_one_that_does_not(gpu: Device, small: Path) -> None:
    tokens = list(range(3, 73))
    with opened(gpu.gpu, small) as engine:
        exact = start(engine, tokens)[2]
    tuned = every_linear(small, gpu, "prefill", (INT8,))
    with opened(gpu.gpu, small, arithmetic="fast", tuned=tuned) as engine:
        assert engine.model.arithmetic(engine.deployment) == "fast"
        rounded = start(engine, tokens)[2]
    assert 0 < np.abs(rounded - exact).max() < 0.1 * np.abs(exact).max()


# Faces


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for finds; tuning is on."""
    monkeypatch.setenv("SHADERLM_CACHE", str(tmp_path))
    monkeypatch.delenv("SHADERLM_TUNING")
    return tmp_path


def kept(cache: Path) -> list[str]:
    return [path.name for path in (cache / "finds").iterdir() if path.name.startswith("tuning-")]


def test_a_load_tunes_unless_it_is_told_not_to(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(favour(8, 0.016))
    monkeypatch.setattr(
        "shaderlm.core.tune_at_load",
        lambda engine, store: tune_at_load(engine, store, clock=clock, measure=clock.measure),
    )
    monkeypatch.setattr("shaderlm.hosts.native.thread.IDLE_SECONDS", 1000.0)
    with shaderlm.load(TINY, tuning=False) as model:
        assert model.complete("Once", max_tokens=1).provenance.kernels.tuned == ()
    assert not kept(cache)
    with shaderlm.load(TINY) as model:
        tuned = model.complete("Once", max_tokens=1).provenance.kernels.tuned
    assert {found.kernel for found in tuned} == {EIGHT}
    assert len(kept(cache)) == 1
    runs = clock.runs
    with shaderlm.load(TINY) as model:
        assert model.complete("Once", max_tokens=1).provenance.kernels.tuned == tuned, "known by now"
    assert clock.runs == runs


def test_an_idle_model_times_the_rest_for_its_next_load(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that is loaded keeps its kernels, so that a seed gives the same answer all the time."""
    clock = FakeClock(favour(8, 0.016))
    finished = threading.Event()

    async def with_clock(engine: Engine, store: FileStore) -> None:
        await tune_at_load(engine, store, clock=clock, measure=clock.measure)

    async def nothing(engine: Engine, store: FileStore) -> None:
        assert not (cache / "finds").exists() or not kept(cache)

    async def a_second(engine: Engine, store: FileStore, idle: Callable[[], bool]) -> bool:
        if not idle():  # as long as the thread is being told of this
            return True
        await tune(engine, store, for_seconds(1.0, clock), measure=clock.measure)
        finished.set()
        return True

    monkeypatch.setattr("shaderlm.core.tune_at_load", nothing)
    monkeypatch.setattr("shaderlm.core.tune", a_second)
    monkeypatch.setattr("shaderlm.hosts.native.thread.IDLE_SECONDS", 0.001)
    with shaderlm.load(TINY) as model:
        assert finished.wait(timeout=120)
        assert model.complete("Once", max_tokens=1).provenance.kernels.tuned == ()
    monkeypatch.setattr("shaderlm.core.tune_at_load", with_clock)
    with shaderlm.load(TINY) as model:
        assert {found.kernel for found in model.complete("Once", max_tokens=1).provenance.kernels.tuned} == {EIGHT}


# The time of a run


def test_runs_are_timed_by_the_device_or_else_by_a_clock(
    gpu: Device, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(gpu.gpu, small) as engine:
        plan = run_now(engine.plan("decode", 1))
        everything = len(plan.plan.dispatches)
        begun = time.perf_counter()
        by_device = run_now(tuning.seconds_of(plan, 0, everything))
        assert 0 < by_device < time.perf_counter() - begun
        monkeypatch.setattr(gpu.gpu, "adapter", replace(gpu.gpu.adapter, features=frozenset()))
        assert run_now(gpu.gpu.run_timed(plan.program, plan.counts(1, 1), 0, everything)) is None
        begun = time.perf_counter()
        assert 0 < run_now(tuning.seconds_of(plan, 0, everything)) < time.perf_counter() - begun
