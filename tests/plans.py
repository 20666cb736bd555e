"""Plans without a device: what the planner makes of small models and of the shapes of real ones."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from random_llama import random_llama
from shaderlm.graph import Graph
from shaderlm.host import Adapter
from shaderlm.models import llama
from shaderlm.models.decoder import Fields
from shaderlm.models.llama import LlamaConfig
from shaderlm.planner.choice import Deployment, KvDtype, choose_kernels
from shaderlm.planner.fuse import FusedOp, fuse
from shaderlm.planner.lower import Mode, lower
from shaderlm.planner.plan import Dispatch, Plan
from shaderlm.tensors import F32, WeightType

GPU = Adapter("a GPU", "discrete", "Vulkan")
CPU = Adapter("a CPU", "software", "Vulkan", features=frozenset({"subgroups"}), subgroup_size=8)

SMOLLM2: dict[str, Any] = {
    "vocab_size": 49152,
    "context_length": 8192,
    "hidden_size": 576,
    "n_layers": 30,
    "n_heads": 9,
    "n_kv_heads": 3,
    "head_dim": 64,
    "intermediate_size": 1536,
    "norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "rope_interleaved": True,
}
LLAMA_3_8B: dict[str, Any] = {
    **SMOLLM2,
    "vocab_size": 128256,
    "hidden_size": 4096,
    "n_layers": 32,
    "n_heads": 32,
    "n_kv_heads": 8,
    "head_dim": 128,
    "intermediate_size": 14336,
}


def config_of(hyperparameters: Mapping[str, object], tensors: Any = ()) -> LlamaConfig:
    return llama.config(Fields(hyperparameters, "a model"), tensors)


def graph_of(config: LlamaConfig) -> tuple[list[FusedOp], Graph]:
    """The fused operations, and the graph with the names and shapes of its weights."""
    graph = Graph()
    return fuse(llama.build(graph, config)), graph


def deployment(config: LlamaConfig, adapter: Adapter = GPU, *, context: int = 512, slots: int = 1,
               kv_dtype: KvDtype = "f16") -> Deployment:  # fmt: skip
    return Deployment(choose_kernels(adapter, context), context, slots, kv_dtype, (config.sliding_window,))


def types_of(
    graph: Graph, matrices: WeightType, others: Mapping[str, WeightType] | None = None
) -> dict[str, WeightType]:
    """Matrices in one type but for `others`, vectors in F32."""
    types = {name: matrices if len(shape) == 2 else F32 for name, shape in graph.weights.items()}
    return types | dict(others or {})


def plan_of(
    hyperparameters: Mapping[str, object],
    mode: Mode = "decode",
    rows: int = 1,
    *,
    adapter: Adapter = GPU,
    matrices: WeightType = F32,
    others: Mapping[str, WeightType] | None = None,
    tensors: Any = (),
    **options: Any,
) -> Plan:
    config = config_of(hyperparameters, tensors)
    ops, graph = graph_of(config)
    return lower(ops, types_of(graph, matrices, others), deployment(config, adapter, **options), mode, rows)


def small_plan(mode: Mode = "decode", rows: int = 1, **options: Any) -> Plan:
    """A plan of a random Llama of two layers; `options` are its hyperparameters' changes and those of `plan_of`."""
    named = {
        name: options.pop(name) for name in ("adapter", "matrices", "others", "context", "slots") if name in options
    }
    hyperparameters, weights = random_llama(1, **options)
    return plan_of(hyperparameters, mode, rows, tensors=weights, **named)


def sizes_for(plan: Plan) -> dict[str, int]:
    """Bytes of every buffer that a plan names, as large as they need to be for bindings of whole buffers to fit."""
    sizes = dict(plan.sizes)
    for dispatch in plan.dispatches:
        for place in dispatch.buffers:
            sizes.setdefault(place.buffer, 1 << 20)
    return sizes


def with_dispatch(plan: Plan, index: int, **changes: Any) -> Plan:
    """The plan with one dispatch changed."""
    dispatches = list(plan.dispatches)
    dispatches[index] = replace(dispatches[index], **changes)
    return replace(plan, dispatches=tuple(dispatches))


def team_of(dispatch: Dispatch) -> int:
    """Lanes that share a pair of weight rows in a dispatch, 0 where it is no linear that has teams."""
    found = re.search(r"const TEAM: u32 = (\d+)u", dispatch.kernel.source.code)
    return int(found.group(1)) if found else 0
