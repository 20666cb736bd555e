"""What the kernels of a model need of an adapter, held against what it has, before a weight is read."""

from collections.abc import Iterable, Mapping

from ..errors import UnsuitableAdapter
from ..host import Adapter
from .buffers import OFFSET_ALIGNMENT
from .plan import Dispatch, Plan, WeightSpec

INVOCATIONS = 256  # lanes of a workgroup that kernels may ask for, and every WebGPU device has
ADVICE = "Take another adapter (`shaderlm devices` lists them), or another of its drivers."


def check_capability(plans: Iterable[Plan], weights: Mapping[str, WeightSpec], adapter: Adapter) -> None:
    """Raise UnsuitableAdapter for the first kernel of `plans` that asks for more than `adapter` has.

    Every device with WebGPU's guaranteed limits passes; those that wgpu reaches through old drivers may have less.
    A limit that the adapter does not tell is taken to be the guaranteed one.
    """
    for plan in plans:
        for dispatch in plan.dispatches:
            for limit, needed, what in _needs(dispatch):
                has = adapter.limits.get(limit, needed)
                if has < needed:
                    raise UnsuitableAdapter(
                        f"{_subject(dispatch, weights)} needs {needed:,} {what}, and {adapter.name} has {has:,}. "
                        f"{ADVICE}"
                    )
    alignment = adapter.limits.get("min-storage-buffer-offset-alignment", OFFSET_ALIGNMENT)
    if alignment > OFFSET_ALIGNMENT:
        raise UnsuitableAdapter(
            f"Buffers are bound at multiples of {OFFSET_ALIGNMENT} bytes, and {adapter.name} wants multiples of "
            f"{alignment:,}. {ADVICE}"
        )


def _needs(dispatch: Dispatch) -> list[tuple[str, int, str]]:
    """(limit, least value, in words) of a dispatch."""
    kernel = dispatch.kernel
    storage = sum(binding.access != "uniform" for binding in kernel.bindings)
    return [
        ("max-storage-buffers-per-shader-stage", storage, "storage buffers in a kernel"),
        ("max-compute-workgroup-storage-size", kernel.workgroup_bytes, "bytes of workgroup memory"),
        ("max-compute-invocations-per-workgroup", INVOCATIONS, "invocations in a workgroup"),
    ]


def _subject(dispatch: Dispatch, weights: Mapping[str, WeightSpec]) -> str:
    """ "blk.0.attn_q.weight (Q4_1)", or a kernel that reads no weight by its name in the plan."""
    for place in dispatch.buffers:
        spec = weights.get(place.buffer.removeprefix("weight:"))
        if spec is not None:
            return f"{spec.name} ({spec.type})"
    return f"The kernel of {dispatch.label}"
