"""Collecting the dispatches of a step, and laying out what they bind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ..host import Access
from .buffers import OFFSET_ALIGNMENT, buffer_sizes, place_values
from .compose import Kernel, UniformLayout
from .plan import WHOLE, BufferRange, Dispatch, Extent
from .work import Work

Groups = tuple[Extent, Extent, Extent]
UniformValues: TypeAlias = Mapping[str, object] | bytes


@dataclass(frozen=True)
class _Pending:
    """A dispatch whose activations have no place yet: `bound` names a buffer or a value for each binding."""

    label: str
    kernel: Kernel
    bound: Mapping[str, str]
    uniforms: Mapping[str, BufferRange]
    groups: Groups
    layer: int | None
    work: Work

    def accesses(self, values: Mapping[str, int]) -> dict[str, Access]:
        """How it uses each of `values`."""
        named = [b for b in self.kernel.bindings if b.name in self.bound]
        return {self.bound[b.name]: b.access for b in named if self.bound[b.name] in values}


@dataclass
class Assembly:
    """Dispatches in order, the sizes of the activations between them, and one uniform buffer for all."""

    values: dict[str, int] = field(default_factory=dict)  # activation -> bytes
    unshared: set[str] = field(default_factory=set)  # activations whose bytes no other is ever written to
    pending: list[_Pending] = field(default_factory=list)
    uniforms: bytearray = field(default_factory=bytearray)
    known: dict[bytes, BufferRange] = field(default_factory=dict)  # uniforms by what they hold: layers have some alike

    def value(self, name: str, size: int) -> str:
        """Name an activation that needs at least `size` bytes."""
        self.values[name] = max(self.values.get(name, 0), size)
        return name

    def dispatch(
        self,
        label: str,
        kernel: Kernel,
        bound: Mapping[str, str],
        uniforms: Mapping[str, UniformValues],
        groups: Groups,
        layer: int | None,
        work: Work,
    ) -> None:
        """Add a dispatch. `bound` maps the kernel's names to values or buffers, `uniforms` to the members of each, or
        to the bytes that it is.
        """
        ranges = {name: self._uniform(_packed(layout, uniforms[name])) for name, layout in kernel.uniforms.items()}
        full_label = label if layer is None else f"{layer}.{label}"
        self.pending.append(_Pending(full_label, kernel, bound, ranges, groups, layer, work))

    def place(self, kept: frozenset[str]) -> tuple[tuple[Dispatch, ...], dict[str, BufferRange], dict[str, int]]:
        """The dispatches, where each value lies, and the bytes of the buffers that hold them."""
        uses = [pending.accesses(self.values) for pending in self.pending]
        places = place_values(self.values, uses, kept, frozenset(self.unshared))
        dispatches = tuple(
            Dispatch(
                pending.label,
                pending.kernel,
                tuple(_range(pending, binding.name, places) for binding in pending.kernel.bindings),
                pending.groups,
                pending.layer,
                pending.work,
            )
            for pending in self.pending
        )
        return dispatches, places, buffer_sizes(places) | {"uniforms": len(self.uniforms)}

    def _uniform(self, data: bytes) -> BufferRange:
        if data not in self.known:
            self.known[data] = BufferRange("uniforms", len(self.uniforms), len(data))
            self.uniforms += data + bytes(-len(data) % OFFSET_ALIGNMENT)
        return self.known[data]


def _packed(layout: UniformLayout, values: UniformValues) -> bytes:
    return values if isinstance(values, bytes) else layout.pack(values)


def _range(pending: _Pending, name: str, places: Mapping[str, BufferRange]) -> BufferRange:
    if name in pending.uniforms:
        return pending.uniforms[name]
    bound = pending.bound[name]
    return places.get(bound) or BufferRange(bound, 0, WHOLE)
