"""What the dispatches of a prefill are assumed to take, before anything is measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..host import AdapterKind

DISPATCH_SECONDS = 0.2  # what no dispatch is to take


@dataclass(frozen=True)
class Rates:
    """Multiply-adds a second that are assumed of a device in linears and in attention of many rows.

    Low on purpose: they keep every dispatch, and the first submits, short where a device is slow. Where it is fast they
    cost a few more of both.
    """

    linear: int
    attention: int


# On software adapters what two cores gave to SmolLM2, rounded down (lavapipe, Mesa 22.3, the best of 3 for each shape):
# 5.6e9 to 11.6e9 in matmul_broadcast.wgsl, 1.0e9 to 3.0e9 in matmul_tile.wgsl; in attention 6e9 to 12e9 by
# attention_prefill_broadcast.wgsl, 0.59e9 to 0.66e9 by attention_prefill.wgsl.
BROADCAST_RATES = Rates(5_000_000_000, 4_000_000_000)
SOFTWARE = Rates(1_000_000_000, 500_000_000)
# On GPUs a tenth of what the weakest of a kind could do at most: 384 lanes at 1.47 GHz are 560e9 (NVIDIA GT 1030), 192
# at 1.1 GHz 210e9 (Intel UHD 620). A quarter of that in attention, where rows share nothing. Not measured.
DISCRETE = Rates(50_000_000_000, 12_500_000_000)
INTEGRATED = Rates(20_000_000_000, 5_000_000_000)
RATES: Mapping[AdapterKind, Rates] = {
    "discrete": DISCRETE,
    "integrated": INTEGRATED,
    "software": SOFTWARE,
    "unknown": INTEGRATED,  # browsers do not tell
}


@dataclass(frozen=True)
class Work:
    """Seconds that the whole device is assumed to be busy with one workgroup; `per_key` for each key that it sees."""

    fixed: float = 0.0
    per_key: float = 0.0
    window: int | None = None  # keys that it sees at most

    def seconds(self, keys: int) -> float:
        """With `keys` positions in the cache."""
        return self.fixed + self.per_key * (keys if self.window is None else min(keys, self.window))


NO_WORK = Work()
