"""Which tensors lie together on the GPU: linears that read one norm, grouped by weight type and scale."""

from collections.abc import Iterable, Mapping, Sequence

from ..errors import UnknownWeightType
from ..graph import Linear
from ..tensors import F32, WeightType, plane_offsets
from .fuse import AddProjection, EmbedRows, FusedOp, GateUp, MakeLogits, ProjectQkv
from .plan import WeightSpec

Types = Mapping[str, WeightType]


def join(linears: Sequence[Linear], types: Types) -> list[WeightSpec]:
    """One spec per weight type and scale among `linears`, in their order.

    Raises UnknownWeightType for a bias that is not F32.
    """
    alike: dict[tuple[WeightType, float], list[Linear]] = {}
    for linear in linears:
        alike.setdefault((types[linear.weight], linear.scale), []).append(linear)
    return [_spec(members, weight_type, types) for (weight_type, _), members in alike.items()]


def single(linear: Linear, types: Types) -> WeightSpec:
    """As `join`, for a linear of its own."""
    return _spec([linear], types[linear.weight], types)


def vector(name: str, width: int, types: Types) -> WeightSpec:
    """A norm's gain. Raises UnknownWeightType if it is not in F32, which norms and biases are in every GGUF file."""
    _require_f32(name, types)
    return WeightSpec(name, (name,), F32, (1,), width, vector=True)


def table(name: str, rows: int, width: int, types: Types) -> WeightSpec:
    return WeightSpec(name, (name,), types[name], (rows,), width, (None,))


def weight_specs(ops: Iterable[FusedOp], types: Types, vocab_size: int) -> dict[str, WeightSpec]:
    """Every weight that the plans of a model bind, by name."""
    specs: dict[str, WeightSpec] = {}
    for op in ops:
        for spec in _specs_of(op, types, vocab_size):
            specs.setdefault(spec.name, spec)
    return specs


def plane_starts(weight: WeightSpec) -> tuple[int, ...]:
    """Where the planes start, in vec4, as four numbers."""
    starts = [offset // 16 for offset in plane_offsets(weight.type, weight.n_rows * weight.padded_blocks)[:-1]]
    return tuple(starts + [0] * (4 - len(starts)))


def linear_uniform(weight: WeightSpec, pairs: int, first_group: int) -> dict[str, object]:
    """The uniform `Linear` of linear.wgsl, for a dispatch that begins with the workgroup `first_group`."""
    has_bias = any(bias is not None for bias in weight.biases)
    end = plane_offsets(weight.type, weight.n_rows * weight.padded_blocks)[-1] // 16
    return {
        "planes": plane_starts(weight),
        "bias": end if has_bias else 0,
        "groups": weight.groups,
        "pairs": pairs,
        "n_rows": weight.n_rows,
        "x_stride": weight.groups * 8,
        "first_group": first_group,
        "scale": weight.scale,
    }


def _specs_of(op: FusedOp, types: Types, vocab_size: int) -> list[WeightSpec]:
    match op:
        case EmbedRows(weight, norm):
            return [table(weight, vocab_size, norm.x.width, types), vector(norm.weight, norm.x.width, types)]
        case ProjectQkv(q, k, v):
            return join((q, k, v), types)
        case GateUp(gate, up):
            return join((gate, up), types)
        case AddProjection(linear, _, norm):
            return [single(linear, types), vector(norm.weight, norm.x.width, types)]
        case MakeLogits(linear):
            return [single(linear, types)]
        case _:
            return []


def _spec(linears: Sequence[Linear], weight_type: WeightType, types: Types) -> WeightSpec:
    for linear in linears:
        if linear.bias is not None:
            _require_f32(linear.bias, types)
    return WeightSpec(
        name="+".join(linear.weight for linear in linears),
        tensors=tuple(linear.weight for linear in linears),
        type=weight_type,
        rows=tuple(linear.width for linear in linears),
        width=linears[0].x.width,
        biases=tuple(linear.bias for linear in linears),
        scale=linears[0].scale,
    )


def _require_f32(name: str, types: Types) -> None:
    if types[name] is not F32:
        raise UnknownWeightType(f"{name} is stored as {types[name]}; norms and biases are expected in F32.")
