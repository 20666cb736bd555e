"""Keys and values on the GPU: one buffer a layer, cut into pages, grown by slabs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..host import Buffer, Gpu
from ..planner.choice import PAGE, KvDtype

SLAB_POSITIONS = 256  # and an eighth of what there is, once that is more

ELEMENT_BYTES = {"f16": 2, "f32": 4}


@dataclass(frozen=True)
class LayerShape:
    """What the cache must know of a layer."""

    layer: int
    window: int | None
    n_kv_heads: int
    head_dim: int

    def page_bytes(self, dtype: KvDtype) -> int:
        """Keys and values of a page."""
        return 2 * self.n_kv_heads * self.head_dim * PAGE * ELEMENT_BYTES[dtype]


class PagePool:
    """Pages of one layer group: who holds which. Sequences with a common prefix share its pages."""

    def __init__(self) -> None:
        self.capacity = 0
        self.holders: list[int] = []  # per page
        self.free: list[int] = []

    def grow(self, pages: int) -> None:
        """Add free pages."""
        self.free.extend(range(self.capacity + pages - 1, self.capacity - 1, -1))
        self.holders.extend([0] * pages)
        self.capacity += pages

    def take(self) -> int:
        """A free page, now held once; the pool has been grown where none was free."""
        page = self.free.pop()
        self.holders[page] = 1
        return page

    def share(self, page: int) -> int:
        """Hold a page once more."""
        self.holders[page] += 1
        return page

    def give_back(self, page: int) -> None:
        """Let go of a page; its last holder frees it."""
        self.holders[page] -= 1
        if self.holders[page] == 0:
            self.free.append(page)


class KvCache:
    """Buffers of all layers and the pools of their groups. `moved` is told of a layer that has another buffer now."""

    def __init__(
        self,
        gpu: Gpu,
        layers: Sequence[LayerShape],
        windows: Sequence[int | None],
        dtype: KvDtype,
        moved: Callable[[int], None],
        *,
        most_pages: int,
    ) -> None:
        self.gpu = gpu
        self.dtype = dtype
        self.moved = moved
        self.most_pages = most_pages  # of a group: what all sequences can hold; slabs end there
        self.groups = [[shape for shape in layers if shape.window == window] for window in windows]
        self.pools = [PagePool() for _ in windows]
        self.buffers: dict[int, tuple[Buffer, int]] = {}
        self.spare: Buffer = None  # a page on its way: WebGPU copies only between two buffers

    def reserve(self, pages: int) -> None:
        """Make sure that every group has `pages` free ones. Raises OutOfMemory, leaving the cache as it was."""
        if self.spare is None:
            largest = max(s.page_bytes(self.dtype) for layers in self.groups for s in layers)
            self.spare = self.gpu.create_buffer("spare page", largest)
        for group in range(len(self.groups)):
            lacking = pages - len(self.pools[group].free)
            if lacking > 0:
                capacity = self.pools[group].capacity
                slab = max(SLAB_POSITIONS // PAGE, capacity // 8)
                rounded = min(capacity + -(-lacking // slab) * slab, self.most_pages)
                self._grow(group, max(capacity + lacking, rounded))

    def most_used(self) -> int:
        """Pages in use of the group that uses most."""
        return max(pool.capacity - len(pool.free) for pool in self.pools)

    def copy_page(self, group: int, source: int, target: int) -> None:
        """Copy a page's keys and values, in every layer of the group."""
        for shape in self.groups[group]:
            size = shape.page_bytes(self.dtype)
            buffer, _ = self.buffers[shape.layer]
            self.gpu.copy_buffer(buffer, source * size, self.spare, 0, size)
            self.gpu.copy_buffer(self.spare, 0, buffer, target * size, size)

    def close(self) -> None:
        for buffer, _ in self.buffers.values():
            self.gpu.destroy_buffer(buffer)
        self.buffers.clear()
        if self.spare is not None:
            self.gpu.destroy_buffer(self.spare)
            self.spare = None

    def _grow(self, group: int, capacity: int) -> None:
        for shape in self.groups[group]:
            size = capacity * shape.page_bytes(self.dtype)
            old = self.buffers.get(shape.layer)
            if old is not None and old[1] >= size:
                continue  # an earlier attempt ran out of memory behind this layer
            buffer = self.gpu.create_buffer(f"kv {shape.layer}", size)
            self.buffers[shape.layer] = buffer, size
            if old is not None:
                try:
                    self.gpu.copy_buffer(old[0], 0, buffer, 0, old[1])
                    self.moved(shape.layer)
                except BaseException:
                    self.buffers[shape.layer] = old
                    self.gpu.destroy_buffer(buffer)
                    raise
                self.gpu.destroy_buffer(old[0])
        self.pools[group].grow(capacity - self.pools[group].capacity)
