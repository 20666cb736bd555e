"""What the dispatches of a plan are, and where the time of steps went that were timed dispatch by dispatch.

Nothing here asks a device: whatever host has timed a step gives the times.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..planner.plan import Dispatch, Plan
from .engine import Engine
from .kv_cache import ELEMENT_BYTES

K = TypeVar("K")

_LAYER = re.compile(r"^\d+\.")
_ROLE = re.compile(r"blk\.\d+\.|\.weight|\[\d+:\d+\]|^weight:")


@dataclass(frozen=True)
class Part:
    """A dispatch of a plan. `reads`: bytes of weights, keys and values; None where it reads activations alone."""

    label: str
    op: str  # the label without its layer, and with the weight's name where several weights have that label
    kernel: str
    layer: int | None
    reads: int | None


@dataclass(frozen=True)
class Timed:
    """A dispatch that ran, from the end of the one before it to its own: nanoseconds of the device's clock."""

    part: Part
    begin: int
    end: int

    @property
    def nanoseconds(self) -> int:
        return self.end - self.begin


Step = Sequence[Timed]  # in the order in which they ran


@dataclass(frozen=True)
class Sum:
    """Dispatches that are alike, over some steps."""

    nanoseconds: int
    dispatches: int
    reads: int | None


def parts(engine: Engine, plan: Plan, rows: int, keys: int) -> tuple[Part, ...]:
    """What each dispatch of a plan does for `rows` rows of which the last sees `keys` positions."""
    roles = defaultdict[str, set[str]](set)
    for dispatch in plan.dispatches:
        roles[_base(dispatch)].add(_role(dispatch))
    shares = _shares(plan, rows, keys)
    return tuple(
        Part(
            dispatch.label,
            _base(dispatch) if len(roles[_base(dispatch)]) == 1 else f"{_base(dispatch)} {_role(dispatch)}".strip(),
            dispatch.kernel.source.label,
            dispatch.layer,
            _reads(engine, dispatch, share, rows, keys),
        )
        for dispatch, share in zip(plan.dispatches, shares, strict=True)
    )


def timed(known: Sequence[Part], dispatches: Sequence[int], clock: Sequence[int]) -> list[Timed]:
    """Dispatches with their times; `clock` holds when the first began and each ended."""
    return [Timed(known[i], begin, end) for i, begin, end in zip(dispatches, clock[:-1], clock[1:], strict=True)]


def span(step: Step) -> int:
    """Nanoseconds from the first begin to the last end."""
    return step[-1].end - step[0].begin


def busy(step: Step) -> int:
    """Nanoseconds of all dispatches together. Between submits of a step there may be time that none has."""
    return sum(one.nanoseconds for one in step)


def summed(steps: Iterable[Step], key: Callable[[Part], K]) -> dict[K, Sum]:
    """Sums by what `key` says of a dispatch, in the order in which it first says so."""
    alike = defaultdict[K, list[Timed]](list)
    for step in steps:
        for one in step:
            alike[key(one.part)].append(one)
    return {name: _sum(members) for name, members in alike.items()}


def _sum(members: Sequence[Timed]) -> Sum:
    reads = [one.part.reads for one in members if one.part.reads is not None]
    return Sum(busy(members), len(members), sum(reads) if reads else None)


def _base(dispatch: Dispatch) -> str:
    return _LAYER.sub("", dispatch.label)


def _role(dispatch: Dispatch) -> str:
    """ "attn_output" of a dispatch that reads that weight, whatever the layer; "" where it reads none."""
    return _ROLE.sub("", _bound(dispatch, "W") or "")


def _bound(dispatch: Dispatch, name: str) -> str | None:
    """The buffer that the kernel knows by this name."""
    places = zip(dispatch.kernel.bindings, dispatch.buffers, strict=True)
    return next((place.buffer for binding, place in places if binding.name == name), None)


def _shares(plan: Plan, rows: int, keys: int) -> list[float]:
    """Of each dispatch by its workgroups, among those that read the same for the same purpose."""
    groups = [_workgroups(dispatch, rows, keys) for dispatch in plan.dispatches]
    purposes = [(dispatch.label, _bound(dispatch, "W")) for dispatch in plan.dispatches]
    whole = defaultdict[tuple[str, str | None], int](int)
    for purpose, count in zip(purposes, groups, strict=True):
        whole[purpose] += count
    return [count / max(1, whole[purpose]) for purpose, count in zip(purposes, groups, strict=True)]


def _workgroups(dispatch: Dispatch, rows: int, keys: int) -> int:
    x, y, z = (extent.count(rows, keys) for extent in dispatch.groups)
    return x * y * z


def _reads(engine: Engine, dispatch: Dispatch, share: float, rows: int, keys: int) -> int | None:
    """Its share of a weight and of a layer's keys and values, each once, and of an embedding only the rows' own."""
    weight, cache = _bound(dispatch, "W"), _bound(dispatch, "kv")
    if weight is not None:
        name = weight.removeprefix("weight:")
        size = engine.weights[name].size
        if _base(dispatch) == "embed":
            return rows * size // engine.model.specs(engine.deployment)[name].n_rows
        return round(share * size)
    if cache is not None:
        layer = engine.model.layers[int(cache.removeprefix("kv:"))]
        seen = min(keys, layer.window + rows - 1) if layer.window else keys
        return round(share * seen * 2 * layer.n_kv_heads * layer.head_dim * ELEMENT_BYTES[engine.deployment.kv_dtype])
    return None
