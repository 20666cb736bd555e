"""Profiles: each dispatch of a plan is there with its time, sums are sums, and what a dispatch reads is known."""

import itertools
from dataclasses import replace
from statistics import median

import pytest

from engines import opened, start
from gpu import Device
from shaderlm.cli import measuring, profiling
from shaderlm.engine.decode import Decoder
from shaderlm.engine.engine import Engine
from shaderlm.engine.profile import Part, Sum, Timed, busy, parts, span, summed, timed
from shaderlm.errors import UnsuitableAdapter
from shaderlm.hosts.native import gpu as native
from shaderlm.hosts.native import timestamps
from shaderlm.hosts.native.adapters import choose, find_adapters
from shaderlm.hosts.native.thread import run_now
from tiny_model import TINY

LAYERS = 4
PROMPT = [(7 * i) % 500 + 3 for i in range(70)]

EMBED = Part("embed", "embed", "embed+f16", None, 10)
Q = Part("0.qkv", "qkv", "matvec", 0, 400)
ADD = Part("0.combine", "combine", "combine", 0, None)


@pytest.fixture
def engine(gpu: Device):
    with opened(gpu.gpu, TINY, context=256) as engine:
        yield engine


# Sums


def test_a_dispatch_takes_from_the_end_of_the_one_before_to_its_own():
    step = timed([EMBED, Q, ADD], [0, 2], [100, 103, 110])
    assert step == [Timed(EMBED, 100, 103), Timed(ADD, 103, 110)]
    assert (span(step), busy(step)) == (10, 10)


def test_time_between_submits_is_no_dispatch_s():
    step = [Timed(EMBED, 0, 30), Timed(Q, 50, 120)]
    assert (span(step), busy(step)) == (120, 100)


def test_sums_are_over_all_steps_and_know_what_is_read():
    first = timed([EMBED, Q, ADD], range(3), [0, 1, 21, 24])
    second = timed([EMBED, Q, ADD], range(3), [1000, 1003, 1043, 1044])
    assert summed([first, second], lambda part: part.layer) == {None: Sum(4, 2, 20), 0: Sum(64, 4, 800)}
    assert summed([first], lambda part: part.op)["combine"] == Sum(3, 1, None)


def test_a_section_is_of_one_step_on_the_average_and_shows_the_median_one():
    steps = [timed([EMBED, Q, ADD], range(3), clock) for clock in ([0, 1, 9, 10], [0, 2, 2, 20], [0, 10, 80, 90])]
    found = profiling.section(steps)
    assert [event["us"] for event in found["timeline"]] == [0.002, 0.0, 0.018]
    assert found["gpu_ms"] == pytest.approx({"median": 20e-6, "low": 10e-6, "high": 90e-6})
    rows = {row["name"]: row for row in found["by_op"]}
    assert rows["qkv"]["ms"] == pytest.approx(78 / 3 * 1e-6)
    assert rows["qkv"]["median_ms"] == pytest.approx(8e-6)
    assert rows["qkv"]["share"] == pytest.approx(78 / 120)
    assert (rows["qkv"]["bytes"], rows["qkv"]["gb_per_second"]) == (400, pytest.approx(1200 / 78))
    assert (rows["combine"]["bytes"], rows["combine"]["gb_per_second"]) == (None, None)
    assert [row["name"] for row in found["by_layer"]] == ["outside of layers", "layer 0"]
    assert sum(cell["ms"] for cell in found["by_layer_and_op"]) == pytest.approx(40e-6)


# What dispatches are


def test_ops_of_several_weights_are_told_apart(engine: Engine):
    plan = run_now(engine.decode_plan(1)).plan
    known = parts(engine, plan, 1, 10)
    assert [part.label for part in known] == [dispatch.label for dispatch in plan.dispatches]
    ops = {part.op for part in known}
    assert {"embed", "qkv", "attention", "gated", "project attn_output", "project ffn_down", "logits"} <= ops
    assert {part.layer for part in known} == {None, *range(LAYERS)}


def test_a_decode_step_s_dispatches_read_what_the_step_reads(engine: Engine):
    """Beside gains of norms, of which each is read by a dispatch that writes the residual stream."""
    known = parts(engine, run_now(engine.decode_plan(1)).plan, 1, 100)
    gains = sum(weight.size for name, weight in engine.weights.items() if "norm" in name)
    row = engine.weights["token_embd.weight"].size // engine.model.config.vocab_size
    tied = "output.weight" not in engine.weights
    whole = measuring.bytes_read_by_step(engine, 100) - gains + (row if tied else 0)
    assert sum(part.reads or 0 for part in known) == whole


def test_the_shares_of_a_cut_linear_read_one_weight_between_them(gpu: Device):
    def reads(engine: Engine) -> dict[str, int]:
        plan = run_now(engine.plan("prefill", engine.deployment.choice.prefill_rows)).plan
        known = parts(engine, plan, 64, 64)
        return {label: sum(part.reads or 0 for part in same) for label, same in by_label(known).items()}

    def by_label(known):
        return {k: list(v) for k, v in itertools.groupby(known, key=lambda part: part.label)}

    with opened(gpu.gpu, TINY, context=256) as engine:
        whole = reads(engine)
    with opened(gpu.gpu, TINY, context=256) as engine:
        choice = replace(engine.deployment.choice, linear_rate=1_000_000)
        engine.deployment = replace(engine.deployment, choice=choice)
        plan = run_now(engine.plan("prefill", choice.prefill_rows)).plan
        assert len([d for d in plan.dispatches if d.label == "0.qkv"]) > 1, "nothing was cut"
        assert reads(engine) == pytest.approx(whole, abs=plan.rows)


def test_a_window_bounds_the_keys_that_are_read(engine: Engine):
    plan = run_now(engine.decode_plan(1)).plan

    def reads(window: int | None, keys: int) -> int:
        layers = tuple(replace(layer, window=window) for layer in model.layers)
        engine.model = replace(model, layers=layers)
        return next(part.reads for part in parts(engine, plan, 1, keys) if part.op == "attention")

    model = engine.model
    assert reads(None, 200) == 4 * reads(None, 50) == 4 * reads(50, 200)
    assert reads(50, 20) == reads(None, 20)


# Times


def test_every_dispatch_of_a_step_is_timed(engine: Engine):
    sequence, _, _ = start(engine, PROMPT)
    decoder = run_now(Decoder.open(engine, [sequence]))
    plan = decoder.plan.plan
    present = [i for i in range(plan.sample_end(0)) if decoder.plan.counts(1, len(PROMPT) + 1)[3 * i]]
    shares = []
    with engine.gpu.stopwatch() as watch:
        for _ in range(5):
            with watch.timing(engine.gpu, apart=True) as submitted:
                run_now(decoder.read(decoder.submit()))
            (submission,) = submitted
            assert submission.program is decoder.plan.program
            assert list(submission.dispatches) == present
            step = timed(parts(engine, plan, 1, len(PROMPT) + 1), submission.dispatches, submission.clock)
            assert [one.part.label for one in step] == [plan.dispatches[i].label for i in present]
            assert all(one.begin <= one.end for one in step)
            shares.append(busy(step) / submission.nanoseconds)
    assert median(shares) >= 0.9
    engine.close_sequence(sequence, keep=False)


def test_a_timed_step_draws_what_any_step_draws_and_leaves_nothing(gpu: Device):
    drawn = []
    for kind in (None, False, True):
        with opened(gpu.gpu, TINY, context=256) as engine, gpu.gpu.stopwatch() as watch:
            sequence, _, _ = start(engine, PROMPT)
            decoder = run_now(Decoder.open(engine, [sequence]))
            if kind is None:
                results = [run_now(decoder.read(decoder.submit())) for _ in range(4)]
            else:
                with watch.timing(gpu.gpu, apart=kind) as submitted:
                    results = [run_now(decoder.read(decoder.submit())) for _ in range(4)]
                assert len(submitted) == 4
            drawn.append([result[0].token for result in results])
            engine.close_sequence(sequence, keep=False)
    assert drawn[0] == drawn[1] == drawn[2]
    assert "submit" not in vars(gpu.gpu)


def test_one_pass_has_one_time_and_more_passes_than_timestamps_go_in_parts(engine: Engine, monkeypatch):
    monkeypatch.setattr(timestamps, "_MOST_PASSES", 7)
    sequence, _, _ = start(engine, PROMPT)
    decoder = run_now(Decoder.open(engine, [sequence]))
    with engine.gpu.stopwatch() as watch:
        with watch.timing(engine.gpu, apart=True) as apart:
            run_now(decoder.read(decoder.submit()))
        with watch.timing(engine.gpu, apart=False) as together:
            run_now(decoder.read(decoder.submit()))
    assert [len(each.dispatches) for each in apart[:-1]] == [7] * (len(apart) - 1)
    assert [i for each in apart for i in each.dispatches] == list(together[0].dispatches)
    assert all(earlier.clock[-1] <= later.clock[0] for earlier, later in itertools.pairwise(apart))
    assert len(together[0].clock) == 2
    engine.close_sequence(sequence, keep=False)


def test_empty_passes_are_timed_like_others(gpu: Device):
    with gpu.gpu.stopwatch() as watch:
        empty = watch.empty(20)
    assert len(empty.clock) == 21
    assert list(empty.clock) == sorted(empty.clock)
    assert empty.nanoseconds > 0


def test_a_device_without_timestamps_is_refused_with_its_name_and_a_remedy(monkeypatch):
    monkeypatch.setattr(native, "FEATURES", ("subgroup",))
    found = choose(find_adapters())
    device = native.NativeGpu(found.handle, found.facts)
    try:
        with pytest.raises(UnsuitableAdapter, match=r"timestamp-query.*--adapter.*without --profile") as caught:
            device.stopwatch()
        assert found.facts.name in str(caught.value)
    finally:
        device.close()
