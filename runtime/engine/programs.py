"""A plan with GPU buffers, pipelines and bind groups: ready to be submitted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..host import BindGroup, BoundBuffer, Buffer, Gpu, Pipeline, Program, Readback, Usage
from ..planner.checks import check_plan
from ..planner.plan import BufferRange, Plan

Resolve = Callable[[str], tuple[Buffer, int]]  # a buffer's name -> the buffer and its bytes


@dataclass
class LoadedPlan:
    """A plan on the GPU. Buffers that belong to it alone are in `own`."""

    gpu: Gpu
    plan: Plan
    own: dict[str, tuple[Buffer, int]]
    pipelines: list[Pipeline]
    program: Program
    resolve: Resolve

    def submit(
        self, rows: int, keys: int, *, start: int = 0, stop: int | None = None, read: BufferRange | None = None
    ) -> Readback | None:
        """Run dispatches [start, stop) for `rows` rows of which none sees more than `keys` positions."""
        counts = self.counts(rows, keys)
        return self.gpu.submit(self.program, counts, start, stop, self.bound(read) if read else None)

    def counts(self, rows: int, keys: int) -> list[int]:
        """Workgroups of every dispatch: one table per bucket of rows and keys, made at its first use."""
        bucket = self.plan.bucket(rows, keys)
        table = self.tables.get(bucket)
        if table is None:
            table = self.tables[bucket] = self.plan.counts(*bucket)
        return table

    def __post_init__(self) -> None:
        self.tables: dict[tuple[int, int], list[int]] = {}

    def bound(self, place: BufferRange) -> BoundBuffer:
        buffer, size = self.own.get(place.buffer) or self.resolve(place.buffer)
        return BoundBuffer(buffer, place.offset, place.within(size))

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write to one of the plan's own buffers."""
        self.gpu.write_buffer(self.own[name][0], offset, data)

    def bound_anew(self, buffer: str) -> dict[int, BindGroup]:
        """New bind groups for every dispatch that binds `buffer`, which means another GPU buffer now."""
        groups = {}
        for i, dispatch in enumerate(self.plan.dispatches):
            if any(place.buffer == buffer for place in dispatch.buffers):
                places = [self.bound(place) for place in dispatch.buffers]
                groups[i] = self.gpu.create_bind_group(self.pipelines[i], places)
        return groups

    def rebind(self, groups: Mapping[int, BindGroup]) -> None:
        """Take these bind groups from now on."""
        for i, group in groups.items():
            self.gpu.rebind(self.program, i, group)

    def close(self) -> None:
        self.gpu.release(self.program)
        for buffer, _ in self.own.values():
            self.gpu.destroy_buffer(buffer)


async def load_plan(
    gpu: Gpu, plan: Plan, shared: Mapping[str, tuple[Buffer, int]], resolve: Resolve, *, max_keys: int
) -> LoadedPlan:
    """Check a plan, make its buffers, compile its kernels and bind everything. Raises KernelError, OutOfMemory.

    Activations lie in `shared` buffers, in which `resolve` finds them, unless the plan needs larger ones.
    """
    own: dict[str, tuple[Buffer, int]] = {}
    try:
        for name, size in plan.sizes.items():
            if name in shared and shared[name][1] >= size:
                continue
            own[name] = gpu.create_buffer(name, size, Usage.UNIFORM if name == "uniforms" else Usage.STORAGE), size
        check_plan(plan, _all_sizes(plan, own, resolve), gpu.adapter.limits, max_keys=max_keys)
        gpu.write_buffer(own["uniforms"][0], 0, plan.uniforms)
        pipelines = await gpu.create_pipelines([dispatch.kernel.source for dispatch in plan.dispatches])
        loaded = LoadedPlan(gpu, plan, own, pipelines, None, resolve)
        bind_groups = [
            gpu.create_bind_group(pipeline, [loaded.bound(place) for place in dispatch.buffers])
            for pipeline, dispatch in zip(pipelines, plan.dispatches, strict=True)
        ]
        loaded.program = gpu.freeze(pipelines, bind_groups)
        return loaded
    except BaseException:
        for buffer, _ in own.values():
            gpu.destroy_buffer(buffer)
        raise


def _all_sizes(plan: Plan, own: Mapping[str, tuple[Buffer, int]], resolve: Resolve) -> dict[str, int]:
    names = {place.buffer for dispatch in plan.dispatches for place in dispatch.buffers}
    return {name: (own.get(name) or resolve(name))[1] for name in names}
