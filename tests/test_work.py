"""What dispatches are assumed to take, how the long ones are cut, and how many rows a step of a prefill has."""

from dataclasses import replace
from typing import Any

import pytest

from plans import CPU, GPU, LLAMA_3_8B, SMOLLM2, plan_of
from shaderlm.planner.choice import choose_kernels
from shaderlm.planner.plan import Extent, Plan
from shaderlm.planner.shares import head_shares, shares
from shaderlm.planner.work import BROADCAST_RATES, DISCRETE, DISPATCH_SECONDS, INTEGRATED, SOFTWARE, Rates, Work
from shaderlm.tensors import Q4_0

IGPU = replace(GPU, kind="integrated")
TILE_CPU = replace(CPU, subgroup_size=16)
ADAPTERS = {"discrete": GPU, "integrated": IGPU, "unknown": replace(GPU, kind="unknown"), "cpu": CPU, "cpu16": TILE_CPU}
each_adapter = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)

LLAMA_70B: dict[str, Any] = {
    **LLAMA_3_8B,
    "hidden_size": 8192,
    "n_heads": 64,
    "intermediate_size": 28672,
}


def prefill_plan(model: dict[str, Any], adapter: Any, context: int, mode: Any = "prefill") -> Plan:
    choice = choose_kernels(adapter, context)
    rows = choice.prefill_rows if mode == "prefill" else choice.logits_rows
    return plan_of({**model, "n_layers": 2}, mode, rows, adapter=adapter, matrices=Q4_0, context=context)


def tile_of(adapter: Any) -> int:
    return choose_kernels(adapter, 512).tile_rows


# Shares


@pytest.mark.parametrize("n", [1, 2, 9, 16, 17, 100, 1001])
@pytest.mark.parametrize("seconds", [1e-9, 0.001, 0.0199, 0.02, 0.1, 0.15, 0.2, 3.0])
def test_shares_are_all_of_it_each_short_and_of_nearly_one_size(n: int, seconds: float) -> None:
    cut = shares(n, seconds)
    assert [i for first, count in cut for i in range(first, first + count)] == list(range(n))
    longest = max(count for _, count in cut)
    assert longest * seconds <= DISPATCH_SECONDS or longest == 1
    assert longest - cut[-1][1] < len(cut)


def test_what_is_short_stays_whole() -> None:
    assert shares(1000, 0.0002) == [(0, 1000)]
    assert shares(1001, 0.0002) == [(0, 501), (501, 500)]


def test_heads_are_one_dispatch_while_that_is_short() -> None:
    """With 8 heads and 100 rows a key takes 1 ms: 200 of them are short, and 128 the largest power of two of those."""
    work = Work(per_key=1e-3 / 800)
    assert head_shares(8, 100, work, 150) == [(0, Extent(8))]
    cut = head_shares(8, 100, work, 500)
    assert [[extent.count(100, keys) for _, extent in cut] for keys in (1, 128, 129, 256, 500, 10**6)] == [
        [8, 0, 0, 0], [8, 0, 0, 0], [0, 3, 3, 2], [0, 3, 3, 2], [0, 3, 3, 2], [0, 3, 3, 2]
    ]  # fmt: skip
    assert [first for first, _ in cut] == [0, 0, 3, 6]
    assert head_shares(8, 100, replace(work, window=150), 500) == [(0, Extent(8))], "no row sees more"
    slow = head_shares(8, 100, replace(work, per_key=1e-3), 500)
    assert [extent.count(100, 64) for _, extent in slow] == [0, *[1] * 8]


# Figures


def test_rates_follow_the_kind_of_adapter_and_its_kernel() -> None:
    chosen = {name: choose_kernels(adapter, 512) for name, adapter in ADAPTERS.items()}
    assert {name: Rates(choice.linear_rate, choice.attention_rate) for name, choice in chosen.items()} == {
        "discrete": DISCRETE, "integrated": INTEGRATED, "unknown": INTEGRATED, "cpu": BROADCAST_RATES, "cpu16": SOFTWARE
    }  # fmt: skip


def test_the_assumed_seconds_are_multiply_adds_over_rates() -> None:
    """Of SmolLM2's first layer, for 64 rows of which none sees more than 512 keys."""
    plan = prefill_plan(SMOLLM2, CPU, 512)
    rates = BROADCAST_RATES
    named = {d.label: d.seconds(64, 512) for d in plan.dispatches}
    assert named["0.qkv"] == pytest.approx(64 * 576 * (576 + 2 * 192) / rates.linear)
    assert named["0.attention"] == pytest.approx(64 * 512 * 9 * 64 * 2 / rates.attention)
    assert named["0.gated"] == pytest.approx(64 * 576 * 2 * 1536 / rates.linear)
    assert plan.dispatches[1].seconds(1, 512) == pytest.approx(4 * 576 * 960 / rates.linear), "a tile is computed whole"
    assert all(d.seconds(64, 512) > 0 for d in plan.dispatches[: plan.head]), "each moves a submit on"


def test_a_window_bounds_the_keys() -> None:
    plan = prefill_plan({**SMOLLM2, "sliding_window": 128}, CPU, 2048)
    attention = next(d for d in plan.dispatches if d.label == "0.attention")
    assert attention.seconds(64, 2048) == attention.seconds(64, 128) == 2 * attention.seconds(64, 64)
    assert Work(1.0, 0.5).seconds(10) == 6.0


# Plans


@each_adapter
@pytest.mark.parametrize("mode", ["prefill", "logits"])
@pytest.mark.parametrize("context", [512, 8192, 131_072])
@pytest.mark.parametrize("model", [SMOLLM2, LLAMA_3_8B, LLAMA_70B], ids=["smollm2", "llama-3-8b", "llama-70b"])
def test_no_dispatch_is_assumed_to_take_longer_than_it_may(
    model: dict[str, Any], adapter: Any, context: int, mode: Any
) -> None:
    """By cutting it, or by fewer rows. On a GPU as far as position 100,000, on software adapters down to one tile."""
    plan, tile = prefill_plan(model, adapter, context, mode), tile_of(adapter)
    for position in (0, 300, 5000, 30_000, 100_000, 131_000):
        if position < context:
            rows = plan.rows_at(position, tile)
            assert rows in (plan.rows, plan.rows // 2, plan.rows // 4, plan.rows // 8, plan.rows // 16)
            assert rows % tile == 0
            longest = max(plan.seconds(rows, min(position + rows, context)))
            least = rows == tile and (adapter.kind == "software" or position > 100_000)  # of one head: can't be cut
            assert longest <= DISPATCH_SECONDS or least, f"{longest} s for {rows} rows at {position}"


@each_adapter
def test_dispatches_that_an_operation_is_cut_into_make_every_workgroup_of_it_once(adapter: Any) -> None:
    plan = prefill_plan(LLAMA_3_8B, adapter, 131_072)
    pairs = {"qkv": 3072, "gated": 14336, "attention": 32}
    for label, n in pairs.items():
        tile = 1 if label == "attention" else choose_kernels(adapter, 512).many_rows(Q4_0).pairs
        for keys in (100, 131_072):
            counts = [d.groups[0].count(64, keys) for d in plan.dispatches if d.label == f"1.{label}"]
            assert sum(counts) == n // tile, (label, keys)
    assert [plan.dispatches[end - 1].label for end in plan.layer_ends] == ["0.project", "1.project", "top_logprobs"]


def test_a_small_model_is_not_cut_and_keeps_its_rows() -> None:
    plan = prefill_plan(SMOLLM2, CPU, 512)
    assert len(plan.dispatches) == 1 + 2 * 5 + 4
    for adapter in (CPU, GPU, IGPU):
        plan = prefill_plan(SMOLLM2, adapter, 2048)
        assert {plan.rows_at(position, tile_of(adapter)) for position in range(0, 2048, 64)} == {plan.rows}


def test_a_wide_model_is_cut_and_keeps_its_rows() -> None:
    plan = prefill_plan(LLAMA_3_8B, IGPU, 4096)
    assert sum(d.label == "0.gated" for d in plan.dispatches) == 8, "30e9 multiply-adds, of which 4e9 take 0.2 s"
    assert {plan.rows_at(position, 32) for position in range(0, 4096, 256)} == {256}


def test_rows_fall_with_the_keys_and_with_nothing_else() -> None:
    plan = prefill_plan(LLAMA_3_8B, IGPU, 131_072)
    rows = [plan.rows_at(position, 32) for position in range(0, 131_072, 1024)]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] == 256
    assert rows[-1] == 32
    again = prefill_plan(LLAMA_3_8B, IGPU, 131_072)
    assert rows == [again.rows_at(position, 32) for position in range(0, 131_072, 1024)]
