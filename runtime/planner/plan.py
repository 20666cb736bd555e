"""A plan: the dispatches of one step, frozen. Buffers have names here; the engine knows which GPU buffers they mean."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ..tensors import WeightType, plane_offsets
from .compose import Kernel
from .work import DISPATCH_SECONDS, NO_WORK, Work


@dataclass(frozen=True)
class WeightSpec:
    """A weight as it lies on the GPU: tensors of one type joined by rows, padded to groups of 32, biases behind.

    A `vector` (a norm's gain) is kept as the file has it. Of tensors that no binding takes whole it is a part: `rows`
    of each from `first_row` on.
    """

    name: str
    tensors: tuple[str, ...]
    type: WeightType
    rows: tuple[int, ...]  # from each tensor
    width: int  # K, values a row
    biases: tuple[str | None, ...] = ()
    vector: bool = False
    scale: float = 1.0  # what the products with a linear's weight are multiplied by
    first_row: int = 0  # of each tensor

    def part(self, first_row: int, rows: int) -> "WeightSpec":
        """So many rows of each tensor, from `first_row` on."""
        name = f"{self.name}[{first_row}:{first_row + rows}]"
        return replace(self, name=name, rows=(rows,) * len(self.tensors), first_row=first_row)

    @property
    def n_rows(self) -> int:
        return sum(self.rows)

    @property
    def groups(self) -> int:
        """Groups of 32 values a row, the last one padded."""
        return -(-self.width // 32)

    @property
    def padded_blocks(self) -> int:
        """Blocks a row on the GPU."""
        return self.groups * 32 // self.type.block if self.type.block < 32 else self.width // self.type.block

    @property
    def resident_bytes(self) -> int:
        """Bytes on the GPU."""
        if self.vector:
            return self.type.size(self.width)
        planes = plane_offsets(self.type, self.n_rows * self.padded_blocks)[-1]
        has_bias = any(bias is not None for bias in self.biases)
        return planes + (-(-4 * self.n_rows // 16) * 16 if has_bias else 0)


@dataclass(frozen=True)
class Extent:
    """One dimension of a dispatch: a fixed count, or as many as the step's rows or keys need."""

    fixed: int = 1
    rows_per_group: int = 0
    keys_per_group: int = 0
    above_keys: int = 0  # with these keys or fewer nothing is dispatched
    up_to_keys: int = 1 << 32  # nor with more than these

    def count(self, rows: int, keys: int) -> int:
        if not self.above_keys < keys <= self.up_to_keys:
            return 0
        if self.rows_per_group:
            return math.ceil(rows / self.rows_per_group)
        if self.keys_per_group:
            return math.ceil(keys / self.keys_per_group)
        return self.fixed


FEWEST_KEYS = 64  # that workgroups are counted for
KEYS_STEP = 256  # the least that more keys are rounded up by
ONE = Extent()
EVERY_ROW = Extent(rows_per_group=1)


WHOLE = -1  # the size of a range that reaches to the end of its buffer, however large that is


@dataclass(frozen=True)
class BufferRange:
    """Bytes of a named buffer: "weight:blk.0.qkv", "kv:3", "activation:0", "rows", ..."""

    buffer: str
    offset: int
    size: int

    def within(self, buffer_size: int) -> int:
        """Bytes of the range in a buffer of `buffer_size`."""
        return buffer_size - self.offset if self.size == WHOLE else self.size


@dataclass(frozen=True)
class Dispatch:
    """One kernel over buffers, in the order of the kernel's bindings."""

    label: str
    kernel: Kernel
    buffers: tuple[BufferRange, ...]
    groups: tuple[Extent, Extent, Extent]
    layer: int | None = None
    work: Work = NO_WORK  # of a workgroup, where a prefill is cut by it

    def seconds(self, rows: int, keys: int) -> float:
        """What it is assumed to take, for `rows` rows of which none sees more than `keys` positions."""
        return math.prod(extent.count(rows, keys) for extent in self.groups) * self.work.seconds(keys)


@dataclass(frozen=True)
class Plan:
    """A step of up to `rows` rows that makes `outputs` rows of logits.

    `sizes` holds the bytes of its own buffers, of which plans share those of activations; `uniforms` the content of its
    uniform buffer.
    """

    rows: int
    outputs: int
    dispatches: tuple[Dispatch, ...]
    sizes: Mapping[str, int]
    uniforms: bytes
    logits: BufferRange
    residual: BufferRange
    vocab_size: int

    def bucket(self, rows: int, keys: int) -> tuple[int, int]:
        """Rows and keys rounded up to what workgroups are counted for: so that a long answer needs few tables.

        Keys go up to a power of two, behind 512 to a multiple of an eighth of it (of KEYS_STEP at least): workgroups
        that return at once take their time, too, on a CPU.
        """
        power = 1 << (keys - 1).bit_length()
        step = max(KEYS_STEP, power // 8)
        return min(-(-rows // 8) * 8, self.rows), max(FEWEST_KEYS, min(power, -(-keys // step) * step))

    def counts(self, rows: int, keys: int) -> list[int]:
        """x, y, z of every dispatch, for at least `rows` rows of which none sees more than `keys` positions."""
        rows, keys = self.bucket(rows, keys)
        return [extent.count(rows, keys) for dispatch in self.dispatches for extent in dispatch.groups]

    def seconds(self, rows: int, keys: int) -> list[float]:
        """What each dispatch is assumed to take."""
        return [dispatch.seconds(rows, keys) for dispatch in self.dispatches]

    def rows_at(self, position: int, tile_rows: int) -> int:
        """Rows of a prefill's step from `position` on: the plan's, or a half, a quarter ... of them, in whole tiles.

        As many as no dispatch is assumed to take over DISPATCH_SECONDS with, but a tile at least. It depends on nothing
        that is measured, so the same prompt is always computed in the same steps.
        """
        rows = self.rows
        while rows > tile_rows and self._longest(rows, position + rows) > DISPATCH_SECONDS:
            rows = max(tile_rows, rows // 2 // tile_rows * tile_rows)
        return rows

    def _longest(self, rows: int, keys: int) -> float:
        return max(dispatch.seconds(rows, keys) for dispatch in self._kinds)

    @cached_property
    def _kinds(self) -> tuple[Dispatch, ...]:
        """A dispatch of each kind: layers are alike."""
        return tuple({(dispatch.groups, dispatch.work): dispatch for dispatch in self.dispatches}.values())

    @property
    def head(self) -> int:
        """Index of the dispatch that makes the logits."""
        return next(i for i, dispatch in enumerate(self.dispatches) if dispatch.label == "logits")

    def sample_end(self, n_top: int) -> int:
        """Index behind the last dispatch of a step that reports the `n_top` likeliest tokens, or none."""
        return len(self.dispatches) - (0 if n_top else 1)

    @property
    def layer_ends(self) -> tuple[int, ...]:
        """Indices behind the last dispatch of each layer, and behind the last of all: where a step may be cut."""
        ends = [
            i
            for i in range(1, len(self.dispatches))
            if self.dispatches[i - 1].layer is not None and self.dispatches[i].layer != self.dispatches[i - 1].layer
        ]
        return (*ends, len(self.dispatches))
