"""What is timed: the planner's dispatches of an operation, for a weight type, a number of rows and a kernel variant.

They are those of a step, epilogue and all. Models of one layer stand for the real ones: no weight of theirs is read
from a file.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from shaderlm.engine.blueprint import Blueprint, blueprint
from shaderlm.formats.checkpoint import Checkpoint, TensorInfo
from shaderlm.host import Adapter
from shaderlm.planner.choice import Deployment, candidates, variants
from shaderlm.planner.lower import Mode
from shaderlm.planner.plan import Dispatch, Plan
from shaderlm.planner.tuned import Tuned
from shaderlm.planner.weights import linear_shape
from shaderlm.tensors import F32, WeightType

Operation = Literal["qkv", "output", "gate+up", "down", "logits", "attention"]
Rows = tuple[Mode, int]

CONTEXT = 4096  # positions
PREFILL_ROWS = 64  # of a chunk, on every adapter

# The weight that tells an operation's dispatches.
WEIGHTS: dict[Operation, str] = {
    "qkv": "blk.0.attn_q.weight",
    "output": "blk.0.attn_output.weight",
    "gate+up": "blk.0.ffn_gate.weight",
    "down": "blk.0.ffn_down.weight",
    "logits": "token_embd.weight",
}
LINEARS = tuple(WEIGHTS)

_LLAMA: dict[str, Any] = {"context_length": CONTEXT, "n_layers": 1, "norm_eps": 1e-5, "rope_theta": 1e5}
MODELS: dict[str, dict[str, Any]] = {
    "135M": {"hidden_size": 576, "n_heads": 9, "n_kv_heads": 3, "intermediate_size": 1536, "vocab_size": 49152},
    "1B": {"hidden_size": 2048, "n_heads": 32, "n_kv_heads": 8, "intermediate_size": 8192, "vocab_size": 32000},
    "8B": {"hidden_size": 4096, "n_heads": 32, "n_kv_heads": 8, "intermediate_size": 14336, "vocab_size": 32000},
}


@dataclass(frozen=True)
class Place:
    """An operation of a model; of an attention, over so many keys."""

    model: str
    operation: Operation
    keys: int = 0

    def __str__(self) -> str:
        return f"{self.model} {self.operation}" + (f" {self.keys}" if self.keys else "")


@dataclass(frozen=True)
class Subject:
    """One thing to time, and what it has to do."""

    place: Place
    weight_type: WeightType | None  # None: an attention
    rows: Rows
    variant: str
    blueprint: Blueprint
    deployment: Deployment

    @property
    def name(self) -> str:
        """ "1B output 2048x2048, Q4_0, decode 1, matvec, 16 lanes a pair" """
        words = [f"{self.place} {self.shape}".strip(), *([self.weight_type.name] if self.weight_type else [])]
        return ", ".join([*words, f"{self.rows[0]} {self.rows[1]}", self.variant.removesuffix(".wgsl")])

    @cached_property
    def plan(self) -> Plan:
        return self.blueprint.plan(self.deployment, *self.rows)

    @cached_property
    def dispatches(self) -> tuple[Dispatch, ...]:
        """Those of the operation, in order."""
        if self.place.operation == "attention":
            return tuple(each for each in self.plan.dispatches if each.label in ("0.attention", "0.combine"))
        start = f"weight:{WEIGHTS[self.place.operation]}"
        return tuple(
            each
            for each in self.plan.dispatches
            if each.label != "embed" and any(place.buffer.startswith(start) for place in each.buffers)
        )

    @property
    def positions(self) -> int:
        """Keys that the last row sees."""
        return self.place.keys or self.rows[1]

    @cached_property
    def counts(self) -> list[int]:
        """x, y, z of each dispatch."""
        bucket = self.plan.bucket(self.rows[1], self.positions)
        return [extent.count(*bucket) for each in self.dispatches for extent in each.groups]

    @property
    def dispatched(self) -> int:
        """Dispatches that have workgroups: short texts join no parts of attention."""
        return sum(all(self.counts[3 * i : 3 * i + 3]) for i in range(len(self.dispatches)))

    @property
    def kernels(self) -> list[str]:
        return list(dict.fromkeys(each.kernel.source.label for each in self.dispatches))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the weight."""
        start = WEIGHTS[self.place.operation]
        specs = [spec for name, spec in self.blueprint.specs(self.deployment).items() if name.startswith(start)]
        return sum(spec.n_rows for spec in specs), specs[0].width

    @property
    def shape(self) -> str:
        return "" if self.weight_type is None else "x".join(map(str, self.size))

    @property
    def bytes_read(self) -> int:
        """Of weights as the file has them; of an attention keys and values, once."""
        if self.weight_type is not None:
            return self.weight_type.size(math.prod(self.size))
        layer = self.blueprint.layers[0]
        return self.positions * 2 * layer.n_kv_heads * layer.head_dim * 2

    @property
    def multiply_adds(self) -> int:
        n = self.rows[1]
        if self.weight_type is not None:
            return n * math.prod(self.size)
        config = self.blueprint.config
        seen = sum(range(self.positions - n + 1, self.positions + 1))
        return 2 * config.n_heads * config.head_dim * seen


def subjects(
    places: Sequence[Place],
    types: Sequence[WeightType],
    rows: Sequence[int],
    adapter: Adapter,
    *,
    every_variant: Collection[str] = (),
) -> Iterator[Subject]:
    """All that is asked for; `rows` over 8 are a prefill's. Of types in `every_variant` all that may be chosen."""
    for place in places:
        own: Sequence[WeightType | None] = [None] if place.operation == "attention" else types
        for weight_type in own:
            model = blueprint(checkpoint(place.model, weight_type or F32))
            every = (weight_type or F32).name in every_variant
            for n in rows:
                yield from _by_variants(place, weight_type, n, model, adapter, every_variant=every)


def _by_variants(
    place: Place, weight_type: WeightType | None, n: int, model: Blueprint, adapter: Adapter, *, every_variant: bool
) -> Iterator[Subject]:
    if place.operation == "attention" and (n > place.keys or 1 < n <= 8):
        return
    if place.operation == "logits" and n > 8:
        return  # of a prefill one row goes on to logits
    mode: Mode = "decode" if n <= 8 else "prefill"
    for variant, deployment in deployments(place.operation, mode, model, adapter):
        yield Subject(place, weight_type, (mode, n), variant, model, deployment)
        if not every_variant:
            return


def deployments(
    operation: Operation, mode: Mode, model: Blueprint, adapter: Adapter
) -> Iterator[tuple[str, Deployment]]:
    """Each variant that may be chosen for it, the default first, and a deployment by it."""
    if operation == "attention":
        names = variants(adapter)[2]
        for i, name in enumerate(names):
            yield name, model.deployment(adapter, CONTEXT, dropped=names[:i])
        return
    specs = model.specs(model.deployment(adapter, CONTEXT))
    parts = [spec for name, spec in specs.items() if name.startswith(WEIGHTS[operation])]
    shape = linear_shape("decode" if mode == "decode" else "prefill", parts)
    default, *others = candidates(adapter, shape, makes_logits=operation == "logits")
    yield default, model.deployment(adapter, CONTEXT)
    for name in others:
        yield name, model.deployment(adapter, CONTEXT, tuned=(Tuned(shape, name),))


def checkpoint(name: str, weight_type: WeightType) -> Checkpoint:
    """A Llama of one layer, its matrices in one type where their rows are whole blocks of it; it has no bytes."""
    h = {**_LLAMA, **MODELS[name], "rope_interleaved": True}
    hidden, inner = h["hidden_size"], h["intermediate_size"]
    kv = hidden // h["n_heads"] * h["n_kv_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (h["vocab_size"], hidden),
        "blk.0.attn_q.weight": (hidden, hidden),
        "blk.0.attn_k.weight": (kv, hidden),
        "blk.0.attn_v.weight": (kv, hidden),
        "blk.0.attn_output.weight": (hidden, hidden),
        "blk.0.ffn_gate.weight": (inner, hidden),
        "blk.0.ffn_up.weight": (inner, hidden),
        "blk.0.ffn_down.weight": (hidden, inner),
        **{f"{norm}.weight": (hidden,) for norm in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")},
    }
    tensors = {}
    for tensor, shape in shapes.items():
        fits = len(shape) == 2 and shape[1] % weight_type.block == 0
        info = TensorInfo(tensor, shape, weight_type if fits else F32, 0, 0)
        tensors[tensor] = replace(info, size=info.type.size(info.values))
    return Checkpoint(name, _NoBytes(), "llama", h, tensors)


class _NoBytes:
    """A `ByteSource` of a model that is never read."""

    name = "no file"
    size = 0

    async def read(self, offset: int, size: int) -> bytes:
        raise NotImplementedError(self.name)

    async def chunk(self, offset: int, size: int) -> bytes:
        raise NotImplementedError(self.name)

    def close(self) -> None:
        """Nothing is held."""


def takes(place: Place, weight_type: WeightType) -> bool:
    """Whether the rows of a place's weight are whole blocks."""
    model = MODELS[place.model]
    width = model["intermediate_size"] if place.operation == "down" else model["hidden_size"]
    return width % weight_type.block == 0
