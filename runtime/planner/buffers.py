"""Where activations lie: a few buffers, coloured so that no dispatch reads and writes the same one.

WebGPU tracks a buffer as a whole: bound `read` and `read_write` in one dispatch is an error even for disjoint ranges.
Two `read_write` ranges of one buffer are allowed as long as they do not overlap.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..host import Access
from .plan import BufferRange

OFFSET_ALIGNMENT = 256  # bytes, what WebGPU guarantees for the offset of a binding
SHARED = "activation:"  # buffers that other plans may use in turn
OWN = "unshared activation:"  # those of plans with values that nothing else is ever written to

Uses = Sequence[Mapping[str, Access]]  # per dispatch: how it uses each value


@dataclass
class _Placed:
    offset: int
    size: int
    first: int
    last: int


def place_values(
    sizes: Mapping[str, int], uses: Uses, kept: frozenset[str], unshared: frozenset[str] = frozenset()
) -> dict[str, BufferRange]:
    """A range for every value. `sizes` are bytes; `kept` values stay readable after the step.

    Nothing else is ever written to the bytes of an `unshared` value, so where there are such, no plan shares buffers.
    """
    whole_step = dict.fromkeys(unshared, (0, len(uses)))
    lifetimes = {name: _lifetime(name, uses, name in kept) for name in sizes} | whole_step
    colours: list[dict[str, _Placed]] = []
    for name in sorted(sizes, key=lambda value: (lifetimes[value], value)):
        colour = next((c for c in colours if not any(_conflict(name, other, uses) for other in c)), None)
        if colour is None:
            colour = {}
            colours.append(colour)
        first, last = lifetimes[name]
        size = -(-sizes[name] // OFFSET_ALIGNMENT) * OFFSET_ALIGNMENT
        colour[name] = _Placed(_free_offset(colour, size, first, last), size, first, last)
    prefix = OWN if unshared else SHARED
    return {
        name: BufferRange(f"{prefix}{i}", placed.offset, sizes[name])
        for i, colour in enumerate(colours)
        for name, placed in colour.items()
    }


def buffer_sizes(ranges: Mapping[str, BufferRange]) -> dict[str, int]:
    """Bytes of each buffer that holds `ranges`."""
    sizes: dict[str, int] = {}
    for place in ranges.values():
        end = -(-(place.offset + place.size) // OFFSET_ALIGNMENT) * OFFSET_ALIGNMENT
        sizes[place.buffer] = max(sizes.get(place.buffer, 0), end)
    return sizes


def shared_activations(plans: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Bytes of buffers for the activations of several plans that never run at once, given the buffers of each."""
    largest: dict[str, int] = {}
    for sizes in plans:
        for name, size in sizes.items():
            if name.startswith(SHARED):
                largest[name] = max(size, largest.get(name, 0))
    return largest


def _lifetime(name: str, uses: Uses, kept: bool) -> tuple[int, int]:
    used = [i for i, dispatch in enumerate(uses) if name in dispatch]
    return used[0], len(uses) if kept else used[-1]


def _conflict(a: str, b: str, uses: Uses) -> bool:
    return any(a in dispatch and b in dispatch and dispatch[a] != dispatch[b] for dispatch in uses)


def _free_offset(colour: Mapping[str, _Placed], size: int, first: int, last: int) -> int:
    """The lowest offset where `size` bytes are free from dispatch `first` to `last`."""
    offset = 0
    for other in sorted(colour.values(), key=lambda placed: placed.offset):
        alive_together = other.first <= last and first <= other.last
        if alive_together and offset < other.offset + other.size and other.offset < offset + size:
            offset = other.offset + other.size
    return offset
