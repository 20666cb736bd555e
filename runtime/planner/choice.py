"""Which kernel variants and tile sizes run on a device: the default, from what the adapter says of itself."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import PromptTooLong
from ..host import Adapter
from ..tensors import WEIGHT_TYPES, WeightType
from .compose import provides
from .tuned import MATVECS, LinearShape, Tuned
from .work import BROADCAST_RATES, RATES

KvDtype = Literal["f16", "f32"]
Arithmetic = Literal["exact", "fast"]  # fast: prefills may round a linear's input to bytes

PAGE = 32  # positions a page of the KV cache
DECODE_ROWS = (1, 2, 4, 8)  # rows that decode plans are made for
SHORT_CONTEXT = 8192  # positions up to which attention splits its keys finely


# Variants by name, those for CPUs first. Of linears in decode: lanes that share a pair of weight rows, and lanes of a
# workgroup. BROADCAST multiplies in prefill, too, BROADCAST_ROWS rows at a time: registers of a CPU hold no more.
BROADCAST = "matmul_broadcast.wgsl"
BROADCAST_ROWS = 4
TILE_ROWS = 32  # of the others
TEAMS = {BROADCAST: (1, 32)} | {name: MATVECS[name] for name in ("matvec, one lane a pair", "matvec, 16 lanes a pair")}
TILE = "matmul_tile.wgsl"
LARGE_TILE = "matmul_tile, 4 pairs a lane"  # which only timing chooses
INT8 = "matmul_int8.wgsl"
PACKED_DOT = "packed_4x8_integer_dot_product"  # the language feature that it needs
ATTENTION_BROADCAST = "attention, broadcast"
ATTENTION_WORKGROUPS = {ATTENTION_BROADCAST: 8, "attention, 8 lanes": 8, "attention, 32 lanes": 32}


@dataclass(frozen=True)
class LinearKernel:
    """A kernel that multiplies by a weight, and what a workgroup of it makes."""

    file: str
    parameters: Mapping[str, int]
    pairs: int  # of weight rows
    rows: int  # of x; 0: all
    codebook: str = "quant/codebook_in_weight.wgsl"  # where it reads the codebooks of weight types


@dataclass(frozen=True)
class KernelChoice:
    """The variants of one device. A seed belongs to them, so every Completion records them in its `provenance`."""

    decode_kernel: str  # of the linears
    team: int  # lanes that share a pair of weight rows there
    decode_workgroup: int
    prefill_kernel: str
    linear_subgroup: int  # lanes of subgroups that share a linear's loads; 0: none do
    tile_rows: int  # rows that the prefill kernel makes at a time
    prefill_rows: int  # rows of a prefill step
    logits_rows: int  # rows of a step that keeps all its logits
    attention_workgroup: int
    attention_subgroup: int  # lanes of subgroups that share an attention's loads; 0: none do
    split: int  # keys an attention workgroup sees in decode
    linear_rate: int  # multiply-adds a second that are assumed, to keep the dispatches of a prefill short
    attention_rate: int  # likewise, and for long contexts its chunks
    sampling_workgroup: int  # lanes, at least, of the kernels that choose the next token
    tuned: tuple[Tuned, ...] = ()  # linears for which timing found a better variant than these

    def few_rows(self, rows: int, shape: LinearShape | None = None) -> LinearKernel:
        """For the `rows` rows of a decode step. A shape has one variant whatever the rows, so that these agree."""
        name, team, workgroup = self._tuned(shape), self.team, self.decode_workgroup
        if (name or self.decode_kernel) == BROADCAST:
            return self._broadcast(rows)
        if name is not None:
            team, workgroup = MATVECS[name]
        parameters = {"M": rows, "TEAM": team, "WORKGROUP": workgroup}
        return LinearKernel("matvec.wgsl", parameters, workgroup // team, 0)

    def many_rows(self, weight_type: WeightType, shape: LinearShape | None = None) -> LinearKernel:
        """For the rows of a prefill, in whole tiles."""
        name = self._tuned(shape) or self.prefill_kernel
        if name == BROADCAST:
            return self._broadcast(self.prefill_rows)
        if name == INT8 and has_bytes(weight_type):
            return LinearKernel(INT8, {}, 32, TILE_ROWS)
        lane_pairs = 4 if name == LARGE_TILE else 2
        return LinearKernel(TILE, {"LANE_PAIRS": lane_pairs}, 8 * lane_pairs, TILE_ROWS)

    def broadcasts_attention(self, head_dim: int) -> bool:
        """Whether attention_pages.wgsl makes heads of this size: a lane has room for 32 values of four queries."""
        return head_dim % 8 == 0 and head_dim <= 32 * self.attention_subgroup

    def _tuned(self, shape: LinearShape | None) -> str | None:
        return next((found.kernel for found in self.tuned if found.shape == shape), None)

    def _broadcast(self, rows: int) -> LinearKernel:
        tile = min(rows, BROADCAST_ROWS)
        _, workgroup = TEAMS[BROADCAST]
        parameters = {"M": tile, "SUBGROUP": self.linear_subgroup, "WORKGROUP": workgroup}
        rows = tile if rows > tile else 0
        return LinearKernel(BROADCAST, parameters, workgroup, rows, "quant/codebook_in_uniform.wgsl")


def has_bytes(weight_type: WeightType) -> bool:
    """Whether a type's values are affine in bytes, so that INT8 can multiply them."""
    return provides(weight_type.shader, "packed32")


def variants(adapter: Adapter, arithmetic: Arithmetic = "exact") -> tuple[tuple[str, ...], ...]:
    """For prompts, decoding and attention the names of what can run on an adapter, the default first.

    On a CPU a barrier costs more than a lane's idleness; on a GPU the other way round. A CPU without instructions for
    products of bytes takes longer for them than for floats.
    """
    on_cpu = adapter.kind == "software"
    broadcast = on_cpu and adapter.subgroup_size in (4, 8) and "subgroups" in adapter.features
    fast = arithmetic == "fast" and PACKED_DOT in adapter.features
    prefill = [name for name, can_run in ((BROADCAST, broadcast), (INT8, fast), (TILE, True)) if can_run]
    decode = [name for name in TEAMS if broadcast or name != BROADCAST]
    attention = [name for name in ATTENTION_WORKGROUPS if broadcast or name != ATTENTION_BROADCAST]
    order = 1 if on_cpu else -1
    return tuple(prefill), tuple(decode)[::order], tuple(attention)[::order]


def candidates(
    adapter: Adapter,
    shape: LinearShape,
    dropped: Collection[str] = (),
    arithmetic: Arithmetic = "exact",
    *,
    wrong: Collection[str] = (),
    makes_logits: bool = False,
) -> tuple[str, ...]:
    """The variants of a linear that timing chooses from, the default first, without those that were `dropped`.

    What timing found to be `wrong` is no other choice, but may be the default, which has passed a test of its own.
    Sampling looks at each workgroup of the linear that makes the logits: that one gets no smaller ones than by default.
    """
    prefill, decode, _ = variants(adapter, arithmetic)
    if shape.step == "prefill":
        names = [name for name in (*prefill, LARGE_TILE) if name != INT8 or has_bytes(WEIGHT_TYPES[shape.type])]
    else:
        names = list(dict.fromkeys((*decode, *MATVECS)))
    default, *others = (name for name in names if name not in dropped)
    others = [name for name in others if name not in wrong]
    return (default, *(name for name in others if not makes_logits or _pairs(name) >= _pairs(default)))


def _pairs(name: str) -> int:
    """Pairs of weight rows that a workgroup of a decode variant makes."""
    team, workgroup = TEAMS.get(name) or MATVECS[name]
    return workgroup // team


def choose_kernels(
    adapter: Adapter,
    context: int,
    dropped: Collection[str] = (),
    arithmetic: Arithmetic = "exact",
    tuned: Sequence[Tuned] = (),
) -> KernelChoice:
    """The default choice, without the variants that were `dropped` because they compute wrongly on this adapter.

    `tuned` names what replaces the default for some linears.
    """
    kinds = variants(adapter, arithmetic)
    prefill, decode, attention = (next(name for name in names if name not in dropped) for names in kinds)
    team, workgroup = TEAMS[decode]
    linear = BROADCAST_RATES if prefill == BROADCAST else RATES[adapter.kind]
    attending = BROADCAST_RATES if attention == ATTENTION_BROADCAST else RATES[adapter.kind]
    lanes = adapter.subgroup_size or 0
    used = {prefill, *(found.kernel for found in tuned if found.shape.step == "prefill")}
    return KernelChoice(
        decode_kernel=BROADCAST if decode == BROADCAST else "matvec.wgsl",
        team=team,
        decode_workgroup=workgroup,
        prefill_kernel=prefill,
        linear_subgroup=lanes if BROADCAST in (prefill, decode) else 0,
        tile_rows=BROADCAST_ROWS if used <= {BROADCAST} else TILE_ROWS,
        prefill_rows=64 if adapter.kind == "software" else 256,
        logits_rows=32,
        attention_workgroup=ATTENTION_WORKGROUPS[attention],
        attention_subgroup=lanes if attention == ATTENTION_BROADCAST else 0,
        split=64 if attention != ATTENTION_BROADCAST and context <= SHORT_CONTEXT else 256,
        linear_rate=linear.linear,
        attention_rate=attending.attention,
        sampling_workgroup=16 if adapter.kind == "software" else 256,
        tuned=tuple(tuned),
    )


def longest_context(adapter: Adapter, head_dim: int) -> int:
    """Positions that attention of many rows is right for.

    lavapipe ends the loops of an invocation after 65,535 rounds together. Measured against float64 (Mesa 22.3): right
    to these positions for heads of 2 to 512 values, wrong at twice as many for 16, 64 and 512.
    """
    if adapter.kind != "software":
        return 1 << 31
    return min(1 << 16, (1 << 21 if head_dim <= 256 else 1 << 19) // head_dim)


@dataclass(frozen=True)
class Deployment:
    """What a plan depends on besides the graph: the device's variants and the engine's sizes."""

    choice: KernelChoice
    context: int  # positions a sequence may have
    slots: int  # sequences that run at once
    kv_dtype: KvDtype
    windows: tuple[int | None, ...]  # the layer groups: layers of one attention window share page tables
    prologue: str = ""  # WGSL lines before a kernel that uses subgroups
    binding_limit: int = 128 << 20  # bytes of a weight that a kernel may bind: at least what WebGPU guarantees

    @property
    def max_pages(self) -> int:
        """Entries of a page table."""
        return -(-self.context // PAGE)

    def check_length(self, n_tokens: int) -> None:
        """Raise PromptTooLong for a prompt that the context does not hold."""
        if n_tokens > self.context:
            raise PromptTooLong(
                f"The prompt has {n_tokens:,} tokens, but the context holds {self.context:,}. "
                "Shorten it, or load the model with a larger context."
            )

    @property
    def cache_pages(self) -> int:
        """Pages of a layer at most: those of all sequences, and one that a prefix is being copied into."""
        return self.slots * self.max_pages + 1

    def page_table(self, window: int | None) -> int:
        """Where a layer group's page tables start, in entries."""
        return self.windows.index(window) * self.slots * self.max_pages
