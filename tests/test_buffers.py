"""Where activations lie: no dispatch reads and writes one buffer, and no two values overlap while both are alive."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans import CPU, GPU, small_plan
from shaderlm.host import Access
from shaderlm.planner.buffers import OFFSET_ALIGNMENT, buffer_sizes, place_values
from shaderlm.planner.plan import BufferRange, Plan

Steps = list[dict[str, Access]]


@st.composite
def steps(draw: st.DrawFn) -> tuple[dict[str, int], Steps]:
    """Sizes of some values, and dispatches that each use a few of them; every value is used."""
    names = [f"v{i}" for i in range(draw(st.integers(1, 8)))]
    sizes = {name: draw(st.integers(1, 3000)) for name in names}
    access: st.SearchStrategy[Access] = st.sampled_from(["read", "read_write"])
    uses = draw(st.lists(st.dictionaries(st.sampled_from(names), access, min_size=1, max_size=4), max_size=12))
    unused = set(names).difference(*uses)
    return sizes, [*uses, *({name: "read_write"} for name in sorted(unused))]


def alive(name: str, uses: Sequence[Mapping[str, Access]]) -> range:
    used = [i for i, dispatch in enumerate(uses) if name in dispatch]
    return range(used[0], used[-1] + 1)


def overlap(a: BufferRange, b: BufferRange) -> bool:
    return a.buffer == b.buffer and a.offset < b.offset + b.size and b.offset < a.offset + a.size


def pairs(names: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(a, b) for a in names for b in names if a < b]


@given(steps())
def test_no_dispatch_reads_and_writes_one_buffer(case: tuple[dict[str, int], Steps]) -> None:
    sizes, uses = case
    places = place_values(sizes, uses, frozenset())
    for dispatch in uses:
        for a, b in pairs(dispatch):
            assert dispatch[a] == dispatch[b] or places[a].buffer != places[b].buffer


@given(steps())
def test_values_that_live_together_do_not_overlap(case: tuple[dict[str, int], Steps]) -> None:
    sizes, uses = case
    places = place_values(sizes, uses, frozenset())
    for a, b in pairs(sizes):
        if set(alive(a, uses)) & set(alive(b, uses)):
            assert not overlap(places[a], places[b])


@given(steps())
def test_ranges_are_aligned_and_as_large_as_asked_for(case: tuple[dict[str, int], Steps]) -> None:
    sizes, uses = case
    places = place_values(sizes, uses, frozenset())
    assert {name: place.size for name, place in places.items()} == sizes
    assert all(place.offset % OFFSET_ALIGNMENT == 0 for place in places.values())
    buffers = buffer_sizes(places)
    assert all(place.offset + place.size <= buffers[place.buffer] for place in places.values())


@given(steps())
def test_kept_values_are_not_written_over_later_and_unshared_ones_never(case: tuple[dict[str, int], Steps]) -> None:
    sizes, uses = case
    kept, unshared = min(sizes), max(sizes)
    places = place_values(sizes, uses, frozenset({kept}), frozenset({unshared}))
    for name in sizes:
        if name not in (kept, unshared):
            assert not overlap(places[name], places[unshared])
            if alive(name, uses)[-1] >= alive(kept, uses)[0]:
                assert not overlap(places[name], places[kept])


def test_a_value_takes_the_place_of_one_that_is_no_longer_needed() -> None:
    uses: Steps = [{"a": "read_write"}, {"a": "read", "b": "read_write"}, {"b": "read", "c": "read_write"}]
    places = place_values({"a": 1000, "b": 1000, "c": 1000}, uses, frozenset())
    assert places["a"] == places["c"]
    assert places["b"].buffer != places["a"].buffer


ODD_SIZES = {"hidden_size": 72, "n_heads": 3, "n_kv_heads": 1, "head_dim": 24, "intermediate_size": 100}


def places_of(plan: Plan, name: str) -> set[BufferRange]:
    return {
        place
        for dispatch in plan.dispatches
        for binding, place in zip(dispatch.kernel.bindings, dispatch.buffers, strict=True)
        if binding.name == name and "activation:" in place.buffer
    }


@pytest.mark.parametrize("adapter", [GPU, CPU], ids=["gpu", "cpu"])
@pytest.mark.parametrize(("mode", "rows"), [("decode", 1), ("decode", 8), ("prefill", 64), ("logits", 32)])
def test_what_fills_up_the_rows_of_a_linears_input_is_never_written(adapter: object, mode: str, rows: int) -> None:
    """It is multiplied by zero weights: a NaN that another value left there would reach every sum."""
    plan = small_plan(mode, rows, adapter=adapter, **ODD_SIZES)  # type: ignore[arg-type]
    inputs = places_of(plan, "x")
    assert len(inputs) == 3, "normed, attended and gated"
    everything = {place for dispatch in plan.dispatches for place in dispatch.buffers}
    for place in inputs:
        assert [other for other in everything if overlap(place, other)] == [place]
