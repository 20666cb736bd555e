"""From a graph to a plan: what is fused, which kernels run how often, and which graphs and plans are refused."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from plans import (
    CPU,
    GPU,
    LLAMA_3_8B,
    SMOLLM2,
    config_of,
    graph_of,
    plan_of,
    sizes_for,
    small_plan,
    types_of,
    with_dispatch,
)
from shaderlm.errors import InvalidConfig, KernelError, UnknownWeightType
from shaderlm.graph import Graph, Node, Rope
from shaderlm.hosts.native.gpu import GUARANTEED_LIMITS
from shaderlm.planner.checks import MAX_GROUPS, check_plan
from shaderlm.planner.choice import DECODE_ROWS
from shaderlm.planner.fuse import AddProjection, Attend, EmbedRows, GateUp, MakeLogits, ProjectQkv, fuse
from shaderlm.planner.lower import Mode
from shaderlm.planner.lower_sampling import Rows
from shaderlm.planner.plan import EVERY_ROW, ONE, WHOLE, BufferRange, Extent, Plan
from shaderlm.planner.rope_turns import MAX_PAIRS, rope_uniform
from shaderlm.planner.weights import weight_specs
from shaderlm.tensors import F16, F32, Q4_0, Q4_1, Q8_0

ADAPTERS = pytest.mark.parametrize("adapter", [GPU, CPU], ids=["gpu", "cpu"])
LIMIT = 128 << 20  # bytes of a binding
MODES: list[tuple[Mode, int]] = [("logits", 32), ("prefill", 64), *(("decode", rows) for rows in DECODE_ROWS)]


# Fusing


def test_a_llama_is_fused_into_four_operations_a_layer() -> None:
    ops, _ = graph_of(config_of({**SMOLLM2, "n_layers": 2}))
    layer = [ProjectQkv, Attend, AddProjection, GateUp, AddProjection]
    assert [type(op) for op in ops] == [EmbedRows, *layer, *layer, MakeLogits]
    writers = [op.next_norm.weight for op in ops if isinstance(op, EmbedRows | AddProjection)]
    norms = ["attn_norm", "ffn_norm"]
    assert writers == [f"blk.{i}.{norm}.weight" for i in range(2) for norm in norms] + ["output_norm.weight"]
    assert [op.layer for op in ops if isinstance(op, AddProjection | GateUp)] == [0, 0, 0, 1, 1, 1]


class Pieces:
    """A small graph in the making, for graphs that no model file builds."""

    def __init__(self) -> None:
        self.g = Graph()
        self.x = self.g.embed("embed", vocab_size=9, width=8)

    def normed(self, x: Node, name: str = "norm") -> Node:
        return self.g.rms_norm(x, name, 1e-5)

    def attention(self, q: Node, k: Node, v: Node, head_dim: int = 8) -> Node:
        return self.g.attention(q, k, v, layer=0, n_heads=1, n_kv_heads=1, head_dim=head_dim, scale=1.0)

    def block(self, update: Node) -> Node:
        """Logits of a model that adds `update` to its embedding."""
        return self.g.linear(self.normed(self.g.add(self.x, update), "last"), "embed", 9)


def no_norm_at_the_end(p: Pieces) -> Node:
    return p.g.linear(p.x, "embed", 9)


def no_linear_at_the_end(p: Pieces) -> Node:
    return p.normed(p.x)


def a_norm_added(p: Pieces) -> Node:
    return p.block(p.normed(p.x))


def a_norm_projected(p: Pieces) -> Node:
    return p.block(p.g.linear(p.normed(p.x), "w", 8))


def no_embedding(p: Pieces) -> Node:
    return p.g.linear(p.normed(p.g.linear(p.x, "w", 8)), "embed", 9)


def another_stream_read(p: Pieces) -> Node:
    other = p.normed(p.g.embed("other", vocab_size=9, width=8), "other_norm")
    gated = p.g.gated(p.g.linear(other, "gate", 8), p.g.linear(other, "up", 8), "silu")
    return p.block(p.g.linear(gated, "down", 8))


def two_norms_for_gate_and_up(p: Pieces) -> Node:
    gated = p.g.gated(p.g.linear(p.normed(p.x), "gate", 8), p.g.linear(p.normed(p.x, "n2"), "up", 8), "silu")
    return p.block(p.g.linear(gated, "down", 8))


def gate_that_is_no_linear(p: Pieces) -> Node:
    return p.block(p.g.linear(p.g.gated(p.normed(p.x), p.g.linear(p.normed(p.x), "up", 8), "silu"), "down", 8))


def keys_that_are_no_linear(p: Pieces) -> Node:
    norm = p.normed(p.x)
    return p.block(p.g.linear(p.attention(p.g.linear(norm, "q", 8), norm, p.g.linear(norm, "v", 8)), "o", 8))


def two_norms_for_q_and_k(p: Pieces) -> Node:
    one, two = p.normed(p.x), p.normed(p.x, "n2")
    attended = p.attention(p.g.linear(one, "q", 8), p.g.linear(two, "k", 8), p.g.linear(one, "v", 8))
    return p.block(p.g.linear(attended, "o", 8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_norm_at_the_end, "a graph must end in a linear behind a norm"),
        (no_linear_at_the_end, "a graph must end in a linear behind a norm"),
        (a_norm_added, "cannot add a RmsNorm to the residual stream"),
        (a_norm_projected, "cannot project a RmsNorm into the residual stream"),
        (no_embedding, "a graph must begin with an embedding, not with a Linear"),
        (another_stream_read, "a block must read the stream that it adds to"),
        (two_norms_for_gate_and_up, "gate and up must read one norm"),
        (gate_that_is_no_linear, "gate and up must be linears"),
        (keys_that_are_no_linear, "q, k and v must be linears"),
        (two_norms_for_q_and_k, "q, k and v must read one norm"),
    ],
)
def test_a_graph_that_has_no_fused_form_is_refused(make: Any, message: str) -> None:
    with pytest.raises(KernelError, match=message):
        fuse(make(Pieces()))


@pytest.mark.parametrize("head_dim", [7, 514])
def test_heads_that_no_kernel_takes_are_refused(head_dim: int) -> None:
    p = Pieces()
    q, k, v = (p.g.linear(p.normed(p.x), name, head_dim) for name in "qkv")
    with pytest.raises(InvalidConfig, match=f"head_dim is {head_dim}; .* even sizes up to 512"):
        fuse(p.block(p.g.linear(p.attention(q, k, v, head_dim), "o", 8)))


# Weights


def test_linears_of_one_type_behind_one_norm_are_joined() -> None:
    ops, graph = graph_of(config_of({**SMOLLM2, "n_layers": 1}))
    specs = weight_specs(ops, types_of(graph, Q4_1), 49152, LIMIT)
    assert [name for name in specs if "+" in name] == [
        "blk.0.attn_q.weight+blk.0.attn_k.weight+blk.0.attn_v.weight",
        "blk.0.ffn_gate.weight+blk.0.ffn_up.weight",
    ]
    tensors = [name for spec in specs.values() for name in (*spec.tensors, *filter(None, spec.biases))]
    assert sorted(tensors) == sorted(graph.weights), "every tensor has one place"


def test_linears_of_several_types_are_joined_by_type() -> None:
    ops, graph = graph_of(config_of({**SMOLLM2, "n_layers": 1}))
    types = types_of(graph, Q4_0, {"blk.0.attn_k.weight": Q8_0, "blk.0.ffn_up.weight": F16})
    names = list(weight_specs(ops, types, 49152, LIMIT))
    assert "blk.0.attn_q.weight+blk.0.attn_v.weight" in names
    assert {"blk.0.attn_k.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"} <= set(names)


@pytest.mark.parametrize("name", ["blk.0.attn_norm.weight", "blk.0.attn_q.bias"])
def test_norms_and_biases_must_be_f32(name: str) -> None:
    ops, graph = graph_of(config_of({**SMOLLM2, "n_layers": 1}, {"blk.0.attn_q.bias"}))
    with pytest.raises(UnknownWeightType, match=f"{name} is stored as F16"):
        weight_specs(ops, types_of(graph, Q4_1, {name: F16}), 49152, LIMIT)


# Counts


@pytest.mark.parametrize("rows", DECODE_ROWS)
@ADAPTERS
def test_a_decode_step_takes_six_dispatches_a_layer_and_four_more(adapter: Any, rows: int) -> None:
    plan = plan_of(SMOLLM2, "decode", rows, adapter=adapter, matrices=Q4_1, others={"token_embd.weight": Q8_0})
    assert plan.sample_end(0) == 6 * 30 + 4
    assert plan.sample_end(5) <= 6 * 30 + 5
    assert plan.sample_end(5) == len(plan.dispatches) == plan.sample_end(0) + 1, "the likeliest are one more"


def test_mixed_types_cost_one_dispatch_each() -> None:
    uniform = len(small_plan().dispatches)
    q_and_k = {"blk.0.attn_q.weight": Q8_0, "blk.0.attn_k.weight": F16}
    assert len(small_plan(others={"blk.1.ffn_up.weight": F16}).dispatches) == uniform + 1
    assert len(small_plan(others={"blk.0.attn_k.weight": F16}).dispatches) == uniform + 1
    assert len(small_plan(others=q_and_k).dispatches) == uniform + 2


def test_a_step_can_be_cut_behind_every_layer() -> None:
    plan = small_plan("prefill", 64)
    labels = [plan.dispatches[end - 1].label for end in plan.layer_ends]
    assert labels == ["0.project", "1.project", "top_logprobs"]
    assert plan.dispatches[plan.head].label == "logits"


def test_counts_follow_rows_and_keys() -> None:
    extents = (Extent(7), Extent(rows_per_group=8), Extent(keys_per_group=64))
    assert [extent.count(9, 129) for extent in extents] == [7, 2, 3]
    assert [extent.count(8, 128) for extent in (*extents, ONE, EVERY_ROW)] == [7, 1, 2, 1, 8]


def test_workgroups_are_counted_for_all_keys_in_few_tables_and_few_too_many() -> None:
    plan = small_plan()
    counted = [plan.bucket(1, keys)[1] for keys in range(1, 65_537)]
    assert all(keys <= most for keys, most in enumerate(counted, 1))
    assert all(most < 1.25 * keys for keys, most in enumerate(counted, 1) if keys > 1024)
    assert len(set(counted)) <= 30
    assert {1 << n for n in range(6, 17)} <= set(counted), "where a prefill is cut by heads"


@pytest.mark.parametrize("vocab_size", [512, 49_152, 128_256, 262_144, 600_000])
@pytest.mark.parametrize("workgroup", [16, 256])
def test_sampling_looks_at_all_logits_often_enough_before_lavapipe_ends_its_loops(
    vocab_size: int, workgroup: int
) -> None:
    """18 times at most: twice to gather, for eight bits of key or id at a time, for a sum, and for the draw."""
    lanes = Rows(outputs=1, vocab_size=vocab_size, blocks=1, block_tokens=64, context=1).lanes(workgroup)
    assert lanes in (16, 32, 64, 128, 256)
    assert lanes >= workgroup
    assert 18 * -(-vocab_size // lanes) + 10_000 < 65_535


# Plans that break WebGPU's rules


def check(plan: Plan, **changes: int) -> None:
    check_plan(plan, sizes_for(plan), {**GUARANTEED_LIMITS, **changes}, max_keys=512)


@pytest.mark.parametrize(
    "others", [{}, {"blk.0.attn_v.weight": F16, "blk.1.ffn_up.weight": Q8_0}], ids=["one", "mixed"]
)
@pytest.mark.parametrize(("mode", "rows"), MODES)
@ADAPTERS
def test_the_planners_own_plans_break_no_rule(adapter: Any, mode: Mode, rows: int, others: Any) -> None:
    check(small_plan(mode, rows, adapter=adapter, others=others))
    check(small_plan(mode, rows, adapter=adapter, others=others, attention_bias=True, mlp_bias=True, vocab_size=101))


@pytest.mark.parametrize(("mode", "rows"), MODES)
def test_plans_of_a_large_model_break_no_rule(mode: Mode, rows: int) -> None:
    plan = plan_of(LLAMA_3_8B, mode, rows, matrices=Q4_0, context=8192)
    check_plan(plan, sizes_for(plan), GUARANTEED_LIMITS, max_keys=8192)


PLAN = small_plan()
QKV, PROJECT = 1, 4
assert PLAN.dispatches[QKV].label == "0.qkv"
assert PLAN.dispatches[PROJECT].label == "0.project"


def rebound(index: int, name: str, place: BufferRange) -> Plan:
    """The plan with one binding of a dispatch elsewhere."""
    dispatch = PLAN.dispatches[index]
    names = [binding.name for binding in dispatch.kernel.bindings]
    buffers = tuple(place if own == name else old for own, old in zip(names, dispatch.buffers, strict=True))
    return with_dispatch(PLAN, index, buffers=buffers)


def place_of(index: int, name: str) -> BufferRange:
    dispatch = PLAN.dispatches[index]
    return next(p for b, p in zip(dispatch.kernel.bindings, dispatch.buffers, strict=True) if b.name == name)


def refused(plan: Plan, message: str, **limits: int) -> None:
    with pytest.raises(KernelError, match=message):
        check(plan, **limits)


def test_a_buffer_read_and_written_in_one_dispatch_is_refused() -> None:
    written = place_of(PROJECT, "residual")
    apart = replace(written, offset=written.offset + 256, size=256)
    refused(rebound(PROJECT, "x", apart), "0.project: activation:.* is bound as read and read_write at once")


def test_overlapping_writes_are_refused() -> None:
    refused(rebound(PROJECT, "sums", place_of(PROJECT, "normed")), "0.project: normed and sums overlap in activation:")
    whole = replace(place_of(PROJECT, "normed"), offset=0, size=WHOLE)
    refused(rebound(PROJECT, "sums", whole), "overlap")


def test_neighbouring_writes_in_one_buffer_pass() -> None:
    places = [place_of(PROJECT, name) for name in ("residual", "normed", "sums")]
    assert len({place.buffer for place in places}) == 1, "the planner itself does that"
    check(PLAN)


def test_a_misaligned_offset_is_refused() -> None:
    place = place_of(PROJECT, "sums")
    refused(rebound(PROJECT, "sums", replace(place, offset=place.offset + 16)), "sums at offset .*, no multiple of 256")


def test_a_range_past_the_end_of_its_buffer_is_refused() -> None:
    place = place_of(PROJECT, "sums")
    end = PLAN.sizes[place.buffer]
    refused(rebound(PROJECT, "sums", replace(place, offset=end)), f"sums ends at .* of {place.buffer}'s {end} bytes")
    refused(rebound(PROJECT, "sums", replace(place, size=end + 4)), "sums ends at")
    refused(rebound(PROJECT, "sums", replace(place, size=0)), "sums ends at")
    refused(rebound(PROJECT, "sums", replace(place, offset=1 << 20, size=WHOLE)), "sums ends at")


def test_a_buffer_that_does_not_exist_is_refused() -> None:
    missing = rebound(PROJECT, "sums", BufferRange("nowhere", 0, 256))
    with pytest.raises(KernelError, match="sums in nowhere, which does not exist"):
        check_plan(missing, sizes_for(PLAN), GUARANTEED_LIMITS, max_keys=512)


def test_a_dispatch_without_a_buffer_for_each_binding_is_refused() -> None:
    fewer = PLAN.dispatches[PROJECT].buffers[:-1]
    refused(with_dispatch(PLAN, PROJECT, buffers=fewer), r"0.project: \d+ buffers for \d+ bindings")


def test_more_than_eight_storage_bindings_are_refused() -> None:
    dispatch = PLAN.dispatches[QKV]
    more = tuple(replace(dispatch.kernel.bindings[0], number=20 + i, name=f"more{i}") for i in range(5))
    kernel = replace(dispatch.kernel, bindings=(*dispatch.kernel.bindings, *more))
    plan = with_dispatch(PLAN, QKV, kernel=kernel, buffers=(*dispatch.buffers, *[dispatch.buffers[0]] * 5))
    refused(plan, r"0.qkv: \d+ storage bindings; 8 allowed")


def test_a_binding_larger_than_the_device_allows_is_refused() -> None:
    refused(PLAN, "W binds 1048576 bytes; 1048000 allowed", **{"max-storage-buffer-binding-size": 1_048_000})


def test_too_many_workgroups_in_a_dimension_are_refused() -> None:
    groups = (ONE, Extent(MAX_GROUPS), ONE)
    check(with_dispatch(PLAN, QKV, groups=groups))
    groups = (ONE, Extent(MAX_GROUPS + 1), ONE)
    refused(with_dispatch(PLAN, QKV, groups=groups), "0.qkv: 65536 workgroups in one dimension; 65535 allowed")


def test_workgroups_are_checked_for_the_keys_that_are_dispatched() -> None:
    """A step is dispatched for keys rounded up, which may be more than the context."""
    plan = with_dispatch(PLAN, QKV, groups=(ONE, Extent(keys_per_group=1), ONE))
    check_plan(plan, sizes_for(plan), GUARANTEED_LIMITS, max_keys=32_768)
    with pytest.raises(KernelError, match=r"0\.qkv: 65536 workgroups in one dimension; 65535 allowed"):
        check_plan(plan, sizes_for(plan), GUARANTEED_LIMITS, max_keys=60_000)


def test_too_much_workgroup_memory_is_refused() -> None:
    kernel = replace(PLAN.dispatches[QKV].kernel, workgroup_bytes=16400)
    refused(with_dispatch(PLAN, QKV, kernel=kernel), "0.qkv: 16400 bytes of workgroup memory; 16384 allowed")


# RoPE


@pytest.mark.parametrize("frequency", [1.0, 1e-4, 500_000 ** (-126 / 128), 0.7853981633974483, 6.3, 1e-30])
def test_a_frequency_becomes_turns_to_the_last_of_64_bits(frequency: float) -> None:
    turns = rope_uniform(Rope((frequency,), interleaved=True))["turns"]
    assert isinstance(turns, list)
    assert len(turns) == 2 * MAX_PAIRS
    bits = turns[0] << 32 | turns[1]
    pi = Fraction(314159265358979323846264338327950288419716939937510, 10**50)
    exact = Fraction(frequency) / (2 * pi) % 1 * 2**64
    assert abs(bits - exact) <= 1
    assert not any(turns[2:])


def test_without_rope_nothing_turns() -> None:
    assert rope_uniform(None) == {"magnitude": 1.0, "n_pairs": 0, "turns": [0] * 2 * MAX_PAIRS}


def test_more_pairs_than_the_uniform_holds_are_refused() -> None:
    rope_uniform(Rope((1.0,) * MAX_PAIRS, interleaved=True))
    with pytest.raises(InvalidConfig, match="RoPE turns 257 pairs a head; at most 256 are supported"):
        rope_uniform(Rope((1.0,) * (MAX_PAIRS + 1), interleaved=True))


# The choice of kernels


@pytest.mark.parametrize("size", [None, 2, 16, 32])
def test_the_kernel_for_small_subgroups_runs_on_no_others(size: int | None) -> None:
    plan = small_plan("prefill", 64, adapter=replace(CPU, subgroup_size=size))
    assert not [d for d in plan.dispatches if "broadcast" in d.kernel.source.label]
    for small in (4, 8):
        plan = small_plan("prefill", 64, adapter=replace(CPU, subgroup_size=small))
        assert [d for d in plan.dispatches if "broadcast" in d.kernel.source.label]


def test_a_vector_needs_no_padding_in_memory() -> None:
    ops, graph = graph_of(config_of({**SMOLLM2, "hidden_size": 90, "n_layers": 1}))
    specs = weight_specs(ops, types_of(graph, F32), 49152, LIMIT)
    assert specs["output_norm.weight"].resident_bytes == 4 * 90
    assert specs["blk.0.ffn_down.weight"].resident_bytes == 4 * 90 * 1536
    assert specs["token_embd.weight"].resident_bytes == 4 * 96 * 49152
    assert np.prod(graph.weights["token_embd.weight"]) == 90 * 49152
