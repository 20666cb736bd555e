"""Every kernel that an engine can put on a device, found by asking the planner for the plans of all kinds of models."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from random_llama import random_llama
from shaderlm.engine.weights import relayout_kernel, wide_kernel
from shaderlm.graph import Graph
from shaderlm.host import Adapter
from shaderlm.models import ARCHITECTURES
from shaderlm.models.decoder import Fields
from shaderlm.planner.choice import DECODE_ROWS, LARGE_TILE, PACKED_DOT, Deployment, KvDtype, choose_kernels
from shaderlm.planner.compose import Kernel, compose
from shaderlm.planner.fuse import fuse
from shaderlm.planner.lower import Mode, lower
from shaderlm.planner.plan import Plan
from shaderlm.planner.trials import subjects
from shaderlm.planner.tuned import MATVECS, Tuned
from shaderlm.tensors import WEIGHT_TYPES, WeightType

ADAPTERS = (
    Adapter("GPU", "discrete", "WebGPU"),
    Adapter("GPU that rounds", "discrete", "WebGPU", features=frozenset({PACKED_DOT})),
    Adapter("CPU", "software", "WebGPU"),
    Adapter("CPU with subgroups", "software", "WebGPU", features=frozenset({"subgroups"}), subgroup_size=8),
    Adapter("CPU with small ones", "software", "WebGPU", features=frozenset({"subgroups"}), subgroup_size=4),
)
KV_DTYPES: tuple[KvDtype, ...] = ("f16", "f32")
IN_EVERY_KERNEL = ("F32", "Q4_K", "IQ3_S")  # one-value blocks, large ones, a codebook
STEPS: list[tuple[Mode, int]] = [("logits", 32), ("prefill", 64), *(("decode", rows) for rows in DECODE_ROWS)]

_PARAMETER = re.compile(r"^const (\w+): \w+ = ([^;]+);\s*// parameter", re.MULTILINE)


@cache
def kernel_variants(prologue: str = "", *, every: bool = False) -> dict[str, Kernel]:
    """Kernels by a name that tells files and parameters, each once; `prologue` goes before those with subgroups.

    Unless `every` is asked for, most weight types appear once in each kernel that reads weights: what they bring is a
    function of their own, which no epilogue changes.
    """
    types = [kind for kind in WEIGHT_TYPES.values() if every or kind.name in IN_EVERY_KERNEL]
    plans = itertools.chain(
        _of_weight_types(types, prologue),
        _of_mixed_types(types, prologue),
        _of_head_sizes(prologue),
        _of_tuned_linears(prologue),
        _of_shared_heads(prologue),
    )
    kernels = [dispatch.kernel for plan in plans for dispatch in plan.dispatches]
    kernels += [*_once_of_each_type(prologue), compose("count_tokens.wgsl"), *_that_lay_weights_out()]
    return {_name(kernel): kernel for kernel in {kernel.source.code: kernel for kernel in kernels}.values()}


def needs_subgroups(kernel: Kernel) -> bool:
    return "subgroupBroadcast" in kernel.source.code


def _that_lay_weights_out() -> Iterator[Kernel]:
    """For each plane of each type, as engine/weights.py composes them; only one-value blocks can be padded."""
    for kind in WEIGHT_TYPES.values():
        for plane, padded in itertools.product(kind.planes, (False, True)[: 2 if kind.block == 1 else 1]):
            yield relayout_kernel(kind, plane, padded=padded)
        yield from (wide_kernel(kind, plane) for plane in kind.planes)


def _of_weight_types(types: Sequence[WeightType], prologue: str) -> Iterator[Plan]:
    """Each type in all weights, by each convention of RoPE."""
    for kind, interleaved, kv, adapter in itertools.product(types, (False, True), KV_DTYPES, ADAPTERS):
        model = {"rope_interleaved": interleaved, "n_layers": 1}
        yield from _plans(model, {}, kind, kv, adapter, prologue=prologue)


def _of_mixed_types(types: Sequence[WeightType], prologue: str) -> Iterator[Plan]:
    """Gate and up of different types, each type in either."""
    for (gate, up), adapter in itertools.product(zip(types, [*types[1:], types[0]], strict=True), ADAPTERS):
        yield from _plans({"n_layers": 1}, {"blk.0.ffn_gate.weight": gate}, up, "f16", adapter, prologue=prologue)


def _once_of_each_type(prologue: str) -> Iterator[Kernel]:
    for kind, adapter in itertools.product(WEIGHT_TYPES.values(), ADAPTERS):
        for plan in _plans({"n_layers": 1}, {}, kind, "f16", adapter, steps=STEPS[1:3], prologue=prologue):
            yield from (dispatch.kernel for dispatch in plan.dispatches if dispatch.label in ("embed", "0.project"))


def _of_head_sizes(prologue: str) -> Iterator[Plan]:
    """Heads of fewer and of more values than a workgroup takes at once, in contexts that are split differently."""
    for head_dim, context, kv, adapter in itertools.product((16, 64, 80, 128), (512, 16384), KV_DTYPES, ADAPTERS):
        model, f32 = {"head_dim": head_dim, "n_layers": 1}, WEIGHT_TYPES["F32"]
        yield from _plans(model, {}, f32, kv, adapter, context=context, steps=STEPS[1:3], prologue=prologue)


def _of_tuned_linears(prologue: str) -> Iterator[Plan]:
    """What timing may choose in the place of a default, for the fewest and the most rows."""
    model, f32 = {"n_layers": 1}, WEIGHT_TYPES["F32"]
    steps = {**dict.fromkeys(MATVECS, STEPS[2::3]), LARGE_TILE: STEPS[1:2]}
    for kernel, tried in steps.items():
        yield from _plans(model, {}, f32, "f16", ADAPTERS[0], steps=tried, tuned=kernel, prologue=prologue)


def _of_shared_heads(prologue: str) -> Iterator[Plan]:
    """From one to five heads that share keys and values, decoded."""
    for sharing, kv, adapter in itertools.product(range(1, 6), KV_DTYPES, ADAPTERS):
        model, f32 = {"n_heads": 2 * sharing, "n_kv_heads": 2, "n_layers": 1}, WEIGHT_TYPES["F32"]
        yield from _plans(model, {}, f32, kv, adapter, steps=STEPS[2:3], prologue=prologue)


def _plans(
    changes: Mapping[str, object],
    types: Mapping[str, WeightType],
    others: WeightType,
    kv: KvDtype,
    adapter: Adapter,
    *,
    context: int = 512,
    steps: Sequence[tuple[Mode, int]] = STEPS,
    tuned: str | None = None,
    prologue: str,
) -> Iterator[Plan]:
    """Plans of a small Llama whose weights have `types`, or else the type `others`; all by `tuned`, if it is given."""
    hyperparameters, weights = random_llama(1, **changes)
    graph = Graph()
    llama = ARCHITECTURES["llama"]
    ops = fuse(llama.build(graph, llama.config(Fields(hyperparameters, "a model"), weights)))
    all_types = dict.fromkeys(graph.weights, others) | dict(types)
    step = "decode" if tuned in MATVECS else "prefill"
    found = [Tuned(s.shape, tuned) for s in subjects(ops, all_types, 128 << 20) if tuned and s.shape.step == step]
    choice = choose_kernels(adapter, context, arithmetic="fast", tuned=found)  # exact where it cannot be had
    deployment = Deployment(choice, context, 1, kv, (None,), prologue)
    for mode, rows in steps:
        yield lower(ops, all_types, deployment, mode, rows)


def _name(kernel: Kernel) -> str:
    return " ".join(
        [kernel.source.label, *(f"{name}={value}" for name, value in _PARAMETER.findall(kernel.source.code))]
    )
