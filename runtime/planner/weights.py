"""Which tensors lie together on the GPU: linears that read one norm, grouped by weight type and scale.

What is larger than a binding may be is divided by rows, and every part gets a buffer and a dispatch of its own.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from ..errors import UnknownWeightType
from ..graph import Linear
from ..tensors import F32, WeightType, plane_offsets
from .fuse import AddProjection, EmbedRows, FusedOp, GateUp, MakeLogits, ProjectQkv
from .plan import WeightSpec
from .tuned import LinearShape, Step

Types = Mapping[str, WeightType]
Parts = list[WeightSpec]  # of one linear, in the order of its rows

CODEBOOK_ENTRIES = 1024  # of the largest codebook, as kernels read it
WHOLE_WORKGROUPS = 64  # rows that are whole workgroups of every kernel of a linear


def qkv(op: ProjectQkv, types: Types, limit: int) -> list[Parts]:
    """Q, K and V joined by weight type and scale, or each for itself where a binding of `limit` bytes is too small.

    Raises UnknownWeightType for a bias that is not F32.
    """
    joined = _join((op.q, op.k, op.v), types)
    if all(spec.resident_bytes <= limit for spec in joined):
        return [[spec] for spec in joined]
    whole_heads = math.lcm(WHOLE_WORKGROUPS, op.attention.head_dim)
    return [_divided(_spec([linear], types[linear.weight], types), limit, whole_heads) for linear in (op.q, op.k, op.v)]


def gate_up(op: GateUp, types: Types, limit: int) -> list[Parts]:
    """Gate and up joined if they have one weight type and scale; a part has the same rows of both.

    Raises UnknownWeightType for a bias that is not F32.
    """
    return [_divided(spec, limit) for spec in _join((op.gate, op.up), types)]


def single(linear: Linear, types: Types, limit: int) -> Parts:
    """A linear of its own. Raises UnknownWeightType for a bias that is not F32."""
    return _divided(_spec([linear], types[linear.weight], types), limit)


def table(name: str, rows: int, width: int, types: Types, limit: int) -> Parts:
    """An embedding, which the output head may read too."""
    return _divided(WeightSpec(name, (name,), types[name], (rows,), width, (None,)), limit)


def vector(name: str, width: int, types: Types) -> WeightSpec:
    """A norm's gain. Raises UnknownWeightType if it is not in F32, which norms and biases are in every GGUF file."""
    _require_f32(name, types)
    return WeightSpec(name, (name,), F32, (1,), width, vector=True)


def weight_specs(ops: Iterable[FusedOp], types: Types, vocab_size: int, limit: int) -> dict[str, WeightSpec]:
    """Every weight that the plans of a model bind, by name, none larger than `limit` bytes if rows can be parted."""
    specs: dict[str, WeightSpec] = {}
    for op in ops:
        for parts in _parts_of(op, types, vocab_size, limit):
            for spec in parts:
                specs.setdefault(spec.name, spec)
    return specs


def linears_of(op: FusedOp, types: Types, limit: int) -> list[Parts]:
    """The linears that an operation computes, each in its parts."""
    match op:
        case ProjectQkv():
            return qkv(op, types, limit)
        case GateUp():
            return gate_up(op, types, limit)
        case AddProjection(linear) | MakeLogits(linear):
            return [single(linear, types, limit)]
        case _:
            return []


def linear_shape(step: Step, parts: Parts) -> LinearShape:
    """What timing knows a linear by."""
    return LinearShape(step, parts[0].type.name, sum(part.n_rows for part in parts), parts[0].groups)


def plane_starts(weight: WeightSpec) -> tuple[int, ...]:
    """Where the planes start, in vec4, as four numbers."""
    starts = [offset // 16 for offset in plane_offsets(weight.type, weight.n_rows * weight.padded_blocks)[:-1]]
    return tuple(starts + [0] * (4 - len(starts)))


@cache
def codebook_uniform(weight_type: WeightType) -> bytes:
    """The uniform `Codebook` of codebook_in_uniform.wgsl, as it lies in memory: it is large, so it is made once."""
    codebook, size = weight_type.codebook, weight_type.codebook_entry
    entries = (codebook[i : i + size].ljust(16, b"\0") for i in range(0, len(codebook), size))
    return b"".join(entries).ljust(16 * CODEBOOK_ENTRIES, b"\0")


def linear_uniform(weight: WeightSpec, first_pair: int, all_pairs: int, first_group: int) -> dict[str, object]:
    """The uniform `Linear` of linear.wgsl, for a dispatch that begins with the workgroup `first_group`.

    `weight` has the pairs from `first_pair` on of a linear that has `all_pairs`.
    """
    has_bias = any(bias is not None for bias in weight.biases)
    end = plane_offsets(weight.type, weight.n_rows * weight.padded_blocks)[-1] // 16
    return {
        "planes": plane_starts(weight),
        "bias": end if has_bias else 0,
        "groups": weight.groups,
        "first_pair": first_pair,
        "end_pair": first_pair + -(-weight.n_rows // 2),
        "all_pairs": all_pairs,
        "n_rows": weight.n_rows,
        "x_stride": weight.groups * 8,
        "first_group": first_group,
        "scale": weight.scale,
    }


def _parts_of(op: FusedOp, types: Types, vocab_size: int, limit: int) -> list[Parts]:
    match op:
        case EmbedRows(weight, norm):
            width = norm.x.width
            return [table(weight, vocab_size, width, types, limit), [vector(norm.weight, width, types)]]
        case AddProjection(_, _, norm):
            return [*linears_of(op, types, limit), [vector(norm.weight, norm.x.width, types)]]
        case _:
            return linears_of(op, types, limit)


def _join(linears: Sequence[Linear], types: Types) -> list[WeightSpec]:
    """One spec per weight type and scale, in the order of the linears."""
    alike: dict[tuple[WeightType, float], list[Linear]] = {}
    for linear in linears:
        alike.setdefault((types[linear.weight], linear.scale), []).append(linear)
    return [_spec(members, weight_type, types) for (weight_type, _), members in alike.items()]


def _divided(spec: WeightSpec, limit: int, unit: int = WHOLE_WORKGROUPS) -> Parts:
    """Parts of at most `limit` bytes, all but the last of whole units of rows. A row that is too long stays whole."""
    rows, size = spec.rows[0], spec.resident_bytes
    if size <= limit:
        return [spec]
    fitting = rows * limit // size // unit * unit
    while fitting and spec.part(0, fitting).resident_bytes > limit:  # for what does not shrink with the rows
        fitting -= unit
    if not fitting:
        return [spec]
    return [spec.part(first, min(fitting, rows - first)) for first in range(0, rows, fitting)]


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
