"""What timing chooses from: the variants of a shape, and the dispatches that stand for it."""

from dataclasses import replace
from typing import Any

import pytest

from plans import CPU, GPU, LLAMA_3_8B, config_of, deployment, graph_of, team_of, types_of
from shaderlm.planner.choice import (
    BROADCAST,
    INT8,
    LARGE_TILE,
    PACKED_DOT,
    TILE,
    candidates,
    choose_kernels,
    variants,
)
from shaderlm.planner.lower import lower
from shaderlm.planner.trials import STEPS, subjects, trial
from shaderlm.planner.tuned import MATVECS, LinearShape, Tuned
from shaderlm.planner.weights import WHOLE_WORKGROUPS
from shaderlm.tensors import Q4_0, Q8_0

EIGHT = "matvec, 8 lanes a pair"
SHAPE = LinearShape("decode", "Q4_0", 64, 2)


@pytest.mark.parametrize("adapter", [CPU, GPU], ids=str)
def test_the_default_comes_first_and_broadcasts_are_for_cpus(adapter: Any) -> None:
    prefill, decode, _ = variants(adapter)
    for step, default in zip(STEPS, (decode[0], prefill[0]), strict=True):
        names = candidates(adapter, replace(SHAPE, step=step))
        assert names[0] == default
        assert len(set(names)) == len(names)
        assert (BROADCAST in names) == (adapter is CPU)
    assert set(MATVECS) <= set(candidates(adapter, SHAPE))


def test_what_was_dropped_is_not_timed() -> None:
    assert EIGHT not in candidates(GPU, SHAPE, {EIGHT})
    assert candidates(CPU, replace(SHAPE, step="prefill"), {BROADCAST}) == (TILE, LARGE_TILE)


def test_what_timing_found_wrong_is_not_timed_again_but_stays_the_default_where_it_is() -> None:
    shape = replace(SHAPE, step="prefill")
    wrong = {TILE, LARGE_TILE, EIGHT}
    assert EIGHT not in candidates(GPU, SHAPE, wrong=wrong)
    assert candidates(replace(GPU, features=frozenset({PACKED_DOT})), shape, (), "fast", wrong=wrong) == (INT8,)
    assert candidates(GPU, shape, wrong=wrong) == (TILE,), "it was found by one that was to round"


def test_what_rounds_is_timed_where_it_is_asked_for_and_the_type_has_bytes() -> None:
    adapter, shape = replace(GPU, features=frozenset({PACKED_DOT})), replace(SHAPE, step="prefill")
    assert candidates(adapter, shape) == (TILE, LARGE_TILE)
    assert candidates(adapter, shape, (), "fast") == (INT8, TILE, LARGE_TILE)
    assert candidates(adapter, replace(shape, type="IQ2_S"), (), "fast") == (TILE, LARGE_TILE)
    on_cpu = candidates(replace(CPU, features=CPU.features | {PACKED_DOT}), shape, (), "fast")
    assert on_cpu == (BROADCAST, INT8, TILE, LARGE_TILE)


def test_the_linear_that_makes_logits_gets_no_smaller_workgroups() -> None:
    pairs = {name: lanes // team for name, (team, lanes) in MATVECS.items()}
    for name in candidates(GPU, SHAPE, makes_logits=True):
        assert pairs[name] >= pairs["matvec, 16 lanes a pair"], name


def test_weights_are_divided_at_whole_workgroups_of_every_variant() -> None:
    for name, (team, lanes) in MATVECS.items():
        assert lanes % team == 0, name
        assert WHOLE_WORKGROUPS // 2 % (lanes // team) == 0, name


def test_what_takes_most_of_a_step_is_timed_first() -> None:
    ops, graph = graph_of(config_of(LLAMA_3_8B))
    found = subjects(ops, types_of(graph, Q4_0), 1 << 30)
    decoding = [(s.shape.rows, 32 * s.shape.groups) for s in found if s.shape.step == "decode"]
    assert decoding == [(28672, 4096), (4096, 14336), (6144, 4096), (4096, 4096), (128256, 4096)]
    assert [s.makes_logits for s in found if s.shape.rows == 128256] == [True], "of many rows it makes none"


def test_a_trial_times_linears_of_several_layers_and_what_reads_their_sums() -> None:
    config = config_of(LLAMA_3_8B)
    ops, graph = graph_of(config)
    types, d = types_of(graph, Q4_0), deployment(config_of(LLAMA_3_8B))
    for subject in subjects(ops, types, d.binding_limit):
        if subject.shape.step == "decode":
            made = trial(subject, ops, types, d, EIGHT)
            labels = [dispatch.label.split(".")[-1] for dispatch in made.plan.dispatches]
            assert len(labels) == made.units * made.length
            bound = {place.buffer for dispatch in made.plan.dispatches for place in dispatch.buffers}
            weights = {name for name in bound if name.startswith("weight:") and "_norm" not in name}
            assert len(weights) >= min(8, len(subject.places)), "so that no cache holds them"
            own = [dispatch for dispatch in made.plan.dispatches if team_of(dispatch) == 8]
            assert len(own) * (1 + labels.count("project") // len(own)) == len(labels)


def test_parts_of_a_divided_weight_are_whole_workgroups_of_what_was_chosen() -> None:
    config = config_of({**LLAMA_3_8B, "n_layers": 1})
    ops, graph = graph_of(config)
    types = types_of(graph, Q8_0)
    shapes = [s.shape for s in subjects(ops, types, 20 << 20) if s.shape.step == "decode"]
    for kernel in MATVECS:
        d = deployment(config)
        tuned = choose_kernels(GPU, 512, tuned=[Tuned(shape, kernel) for shape in shapes])
        plan = lower(ops, types, replace(d, choice=tuned, binding_limit=20 << 20), "decode", 1)
        team, lanes = MATVECS[kernel]
        heads = [dispatch for dispatch in plan.dispatches if dispatch.label == "logits"]
        assert len(heads) > 1
        assert sum(dispatch.groups[0].fixed for dispatch in heads) == 128256 // 2 // (lanes // team), kernel
