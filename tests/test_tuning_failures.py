"""Tuning that meets what is wrong: it is kept in mind, and the model answers all the same."""

from pathlib import Path

import pytest

from gpu import Device
from plans import team_of
from shaderlm.engine import tuning
from shaderlm.engine.programs import LoadedPlan
from shaderlm.engine.tuning import Measure, known_winners, tune, tune_at_load
from shaderlm.engine.tuning_finds import read_finds
from shaderlm.errors import DeviceLost, ModelTooLarge
from shaderlm.hosts.native.store import FileStore
from shaderlm.hosts.native.thread import run_now
from shaderlm.planner import compose
from tuners import EIGHT, FakeClock, favour, small_model, two_to_choose_from


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_model(tmp_path)


def test_a_variant_that_computes_wrongly_never_wins(
    gpu: Device, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = compose.read_shader("matvec.wgsl")
    broken = text.replace("linear.scale *", "linear.scale * select(1.0, 1.1, TEAM == 8u) *")
    assert broken != text
    read = compose.read_shader
    monkeypatch.setattr(compose, "read_shader", lambda name: broken if name == "matvec.wgsl" else read(name))
    clock, store = FakeClock(favour(8)), FileStore(tmp_path / "finds")
    with two_to_choose_from(gpu, small) as engine:
        assert run_now(tune(engine, store, lambda: True, measure=clock.measure))
        assert (
            run_now(known_winners(engine.model, gpu.gpu.adapter, store, engine.dropped_variants, "f32", "exact")) == ()
        )
    finds = run_now(read_finds(store, gpu.gpu.adapter))
    assert finds.wrong == {EIGHT}


def loses_by(team: int) -> Measure:
    """With variants of so many lanes a pair the device is lost."""

    async def measure(plan: LoadedPlan, start: int, stop: int) -> float:
        if team_of(plan.plan.dispatches[0]) == team:
            raise DeviceLost("the driver gave up")
        return 0.001

    return measure


def test_a_variant_that_loses_the_device_is_not_tried_again(gpu: Device, small: Path, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "finds")
    with two_to_choose_from(gpu, small) as engine:
        with pytest.raises(DeviceLost):
            run_now(tune(engine, store, lambda: True, measure=loses_by(8)))
        assert run_now(read_finds(store, gpu.gpu.adapter)).wrong == {EIGHT}
        assert run_now(tune(engine, store, lambda: True, measure=loses_by(8)))


def test_a_device_that_is_lost_when_time_is_up_is_told_of(gpu: Device, small: Path, tmp_path: Path) -> None:
    store, measure, time_left = FileStore(tmp_path / "finds"), loses_by(8), [True]

    async def lose(plan: LoadedPlan, start: int, stop: int) -> float:
        time_left[0] = team_of(plan.plan.dispatches[0]) != 8
        return await measure(plan, start, stop)

    with two_to_choose_from(gpu, small) as engine, pytest.raises(DeviceLost):
        run_now(tune(engine, store, lambda: time_left[0], measure=lose))
    assert run_now(read_finds(store, gpu.gpu.adapter)).wrong == {EIGHT}


def test_a_winner_that_loses_the_device_on_known_answers_is_not_tried_again(
    gpu: Device, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clock = FileStore(tmp_path / "finds"), FakeClock(favour(8))

    async def lose(*_: object) -> bool:
        raise DeviceLost("the driver gave up")

    monkeypatch.setattr(tuning, "is_right", lose)
    with two_to_choose_from(gpu, small) as engine:
        with pytest.raises(DeviceLost):
            run_now(tune(engine, store, lambda: True, measure=clock.measure))
        assert run_now(read_finds(store, gpu.gpu.adapter)).wrong == {EIGHT}
        assert run_now(tune(engine, store, lambda: True, measure=clock.measure))


def test_a_default_that_loses_the_device_is_not_laid_to_a_variant(gpu: Device, small: Path, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "finds")
    rounds = iter(range(3))

    async def lose(plan: LoadedPlan, start: int, stop: int) -> float:
        if team_of(plan.plan.dispatches[0]) != 8 and next(rounds, None) is None:
            raise DeviceLost("the driver gave up")
        return 0.001

    with two_to_choose_from(gpu, small) as engine, pytest.raises(DeviceLost):
        run_now(tune(engine, store, lambda: True, measure=lose))
    assert run_now(read_finds(store, gpu.gpu.adapter)).wrong == set()


def test_a_model_that_is_loaded_stays_so_whatever_its_tuning_fails_by(
    gpu: Device, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(favour(8))

    async def fail(*_: object) -> bool:
        raise ModelTooLarge("nothing is left for the known model")

    monkeypatch.setattr(tuning, "is_right", fail)
    with two_to_choose_from(gpu, small) as engine:
        run_now(tune_at_load(engine, FileStore(tmp_path / "finds"), clock=clock, measure=clock.measure))
        assert engine.deployment.choice.tuned == ()


def test_a_clock_too_coarse_to_see_a_run_is_none_to_go_by(gpu: Device, small: Path, tmp_path: Path) -> None:
    clock, store = FakeClock(lambda _: 0.0), FileStore(tmp_path / "finds")
    with two_to_choose_from(gpu, small) as engine:
        assert run_now(tune(engine, store, lambda: True, measure=clock.measure))
    finds = run_now(read_finds(store, gpu.gpu.adapter))
    assert {find.winner == find.default for find in finds.shapes.values()} == {True}
