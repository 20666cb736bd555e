"""WebGPU's rules for a plan, held by the planner itself: native wgpu lets several of them pass that browsers refuse."""

from collections.abc import Mapping

from ..errors import KernelError
from .buffers import OFFSET_ALIGNMENT
from .plan import WHOLE, Dispatch, Plan

MAX_STORAGE_BINDINGS = 8  # what every WebGPU device has
MAX_GROUPS = 65_535


def check_plan(plan: Plan, sizes: Mapping[str, int], limits: Mapping[str, int], *, max_keys: int) -> None:
    """Raise KernelError if a dispatch breaks a rule. `sizes` holds the bytes of every buffer that the plan names."""
    counts = plan.counts(plan.rows, max_keys)
    for i, dispatch in enumerate(plan.dispatches):
        _check_bindings(dispatch, sizes, limits)
        _check_aliases(dispatch)
        if max(counts[3 * i : 3 * i + 3]) > MAX_GROUPS:
            raise _broken(
                dispatch, f"{max(counts[3 * i : 3 * i + 3])} workgroups in one dimension; {MAX_GROUPS} allowed"
            )
        limit = limits.get("max-compute-workgroup-storage-size", 16384)
        if dispatch.kernel.workgroup_bytes > limit:
            raise _broken(dispatch, f"{dispatch.kernel.workgroup_bytes} bytes of workgroup memory; {limit} allowed")


def _check_bindings(dispatch: Dispatch, sizes: Mapping[str, int], limits: Mapping[str, int]) -> None:
    bindings = dispatch.kernel.bindings
    if len(bindings) != len(dispatch.buffers):
        raise _broken(dispatch, f"{len(dispatch.buffers)} buffers for {len(bindings)} bindings")
    storage = sum(binding.access != "uniform" for binding in bindings)
    if storage > MAX_STORAGE_BINDINGS:
        raise _broken(dispatch, f"{storage} storage bindings; {MAX_STORAGE_BINDINGS} allowed")
    limit = limits.get("max-storage-buffer-binding-size", 128 << 20)
    for binding, place in zip(bindings, dispatch.buffers, strict=True):
        if place.offset % OFFSET_ALIGNMENT:
            raise _broken(dispatch, f"{binding.name} at offset {place.offset}, no multiple of {OFFSET_ALIGNMENT}")
        if place.buffer not in sizes:
            raise _broken(dispatch, f"{binding.name} in {place.buffer}, which does not exist")
        size, end = place.within(sizes[place.buffer]), sizes[place.buffer]
        if size <= 0 or place.offset + size > end:
            raise _broken(dispatch, f"{binding.name} ends at {place.offset + size} of {place.buffer}'s {end} bytes")
        if binding.access != "uniform" and size > limit:
            raise _broken(dispatch, f"{binding.name} binds {size} bytes; {limit} allowed")


def _check_aliases(dispatch: Dispatch) -> None:
    bound = list(zip(dispatch.kernel.bindings, dispatch.buffers, strict=True))
    for i, (binding, place) in enumerate(bound):
        for other, its_place in bound[:i]:
            if place.buffer != its_place.buffer or binding.access == other.access == "read":
                continue
            if binding.access != other.access:
                raise _broken(dispatch, f"{place.buffer} is bound as {other.access} and {binding.access} at once")
            overlap = WHOLE in (place.size, its_place.size) or (
                place.offset < its_place.offset + its_place.size and its_place.offset < place.offset + place.size
            )
            if binding.access == "read_write" and overlap:
                raise _broken(dispatch, f"{other.name} and {binding.name} overlap in {place.buffer}")


def _broken(dispatch: Dispatch, what: str) -> KernelError:
    return KernelError(f"plan: {dispatch.label}: {what}")
