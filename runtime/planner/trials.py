"""What is timed to choose a variant: for each shape of a model's linears, dispatches of its own plans.

Their weights are the model's, of several layers, so that a GPU's cache does not hold what memory would have to bring.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .choice import Deployment, KernelChoice
from .fuse import AddProjection, FusedOp, MakeLogits, ProjectQkv
from .lower import Mode, lower
from .plan import Dispatch, Plan
from .tuned import LinearShape, Step, Tuned
from .weights import Types, linear_shape, linears_of

LAYERS = {"decode": 8, "prefill": 1}  # that are timed, at most: of many rows weights are not what takes the time
REPEATS = {"decode": 4, "prefill": 1}  # of these, where they are short
STEPS: tuple[Step, ...] = ("decode", "prefill")


@dataclass(frozen=True)
class Subject:
    """The linears of one shape: where they stand among a model's operations, and the bytes of their weights."""

    shape: LinearShape
    places: tuple[int, ...]
    bytes: int
    makes_logits: bool


@dataclass(frozen=True)
class Trial:
    """A plan of nothing but the dispatches that are timed: for each of `units` linears `length` of them."""

    plan: Plan
    units: int
    length: int


def subjects(ops: Sequence[FusedOp], types: Types, limit: int) -> list[Subject]:
    """A model's shapes in decode and in prefill, those with the most bytes first. Logits are of few rows."""
    found: dict[LinearShape, Subject] = {}
    for place, op in enumerate(ops):
        is_head = isinstance(op, MakeLogits)
        for parts in linears_of(op, types, limit):
            size = sum(part.resident_bytes for part in parts)
            for step in STEPS[: 1 if is_head else 2]:
                shape = linear_shape(step, parts)
                known = found.get(shape, Subject(shape, (), 0, False))
                places = (*known.places, place)
                found[shape] = Subject(shape, places, known.bytes + size, known.makes_logits or is_head)
    return sorted(found.values(), key=lambda subject: -subject.bytes)


def trial(subject: Subject, ops: Sequence[FusedOp], types: Types, deployment: Deployment, kernel: str) -> Trial:
    """The linears of a subject by a variant.

    Behind a projection the linear that comes next is timed too: it reads the partial sums of squares, a number for each
    workgroup of the projection.
    """
    shape, choice = subject.shape, deployment.choice
    timed = subject.places[: LAYERS[shape.step]]
    choice = replace(choice, tuned=(Tuned(shape, kernel), *(t for t in choice.tuned if t.shape != shape)))
    mode, rows = _step(shape.step, choice)
    first = max((i for i in range(timed[0] + 1) if isinstance(ops[i], ProjectQkv)), default=timed[0])
    last = timed[-1] + 2
    some = [ops[0], *ops[first:last], *(ops[-1:] if last < len(ops) else ())]
    plan = lower(some, types, replace(deployment, choice=choice), mode, rows)
    units = [_unit(shape, ops[place : place + 2], types, deployment, plan) for place in timed]
    length = len(units[0])
    units = [unit for unit in units if len(unit) == length] * REPEATS[shape.step]
    dispatches = tuple(dispatch for unit in units for dispatch in unit)
    bound = {"rows", *(place.buffer for dispatch in dispatches for place in dispatch.buffers)}
    sizes = {name: size for name, size in plan.sizes.items() if name in bound}
    return Trial(replace(plan, dispatches=dispatches, sizes=sizes), len(units), length)


def _step(step: Step, choice: KernelChoice) -> tuple[Mode, int]:
    return ("decode", 1) if step == "decode" else ("prefill", choice.prefill_rows)


def _unit(
    shape: LinearShape, ops: Sequence[FusedOp], types: Types, deployment: Deployment, plan: Plan
) -> list[Dispatch]:
    """The dispatches of the linears of a shape in the first of two operations, and in the second if it reads sums."""
    limit = deployment.binding_limit
    own = [parts for parts in linears_of(ops[0], types, limit) if linear_shape(shape.step, parts) == shape]
    if isinstance(ops[0], AddProjection) and not isinstance(ops[1], MakeLogits):  # which takes far longer
        own += linears_of(ops[1], types, limit)
    weights = {f"weight:{part.name}" for parts in own for part in parts}
    return [
        dispatch
        for dispatch in plan.dispatches
        if "linear" in dispatch.kernel.uniforms and any(place.buffer in weights for place in dispatch.buffers)
    ]
