"""A sequence: its tokens, and the pages that hold their keys and values."""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..planner.choice import PAGE

LARGE = 3.0e38  # stands for infinity in the kernels
MAX_END_TOKENS = 16

Pages = list[list[int | None]]  # per layer group, per 32 positions; None where a window has left a page behind


@dataclass
class Sequence:
    """One conversation on the GPU.

    `tokens` are all that stand in the GPU's token buffer; of these the first `length` have their keys and values in the
    cache. The position is authoritative: whatever lies behind it is overwritten.
    """

    slot: int
    tokens: list[int] = field(default_factory=list)
    length: int = 0
    pages: Pages = field(default_factory=list)

    def pages_for(self, length: int) -> int:
        """Pages that `length` positions need beyond those that are there."""
        return max(0, -(-length // PAGE) - len(self.pages[0]))


@dataclass(frozen=True)
class SamplingState:
    """What a sequence's next tokens are drawn by: `Sequence` of sequence.wgsl. As it stands: greedy."""

    seed: int = 0
    top_k: int = 0  # 0: off
    temperature: float = 0.0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repeat_last_n: int = 0
    logit_bias: Mapping[int, float] = field(default_factory=dict)  # token -> what is added to its logit
    last_position: int = 0xFFFFFFFF  # the answer ends when a token was put there
    end_tokens: tuple[int, ...] = ()

    @property
    def penalises(self) -> bool:
        """Whether counts of tokens are wanted at all."""
        neutral = self.repeat_penalty == 1.0 and self.frequency_penalty == 0.0 and self.presence_penalty == 0.0
        return self.repeat_last_n > 0 and not neutral

    def pack(self) -> bytes:
        """SEQUENCE_BYTES bytes."""
        numbers = struct.pack(
            "<4I6f2I",
            self.last_position,
            self.seed & 0xFFFFFFFF,
            self.top_k,
            self.repeat_last_n if self.penalises else 0,
            self.temperature,
            self.top_p,
            -math.log(self.min_p) if self.min_p > 0 else LARGE,
            self.repeat_penalty,
            self.frequency_penalty,
            self.presence_penalty,
            len(self.end_tokens),
            0,
        )
        padding = [0] * (MAX_END_TOKENS - len(self.end_tokens))
        return numbers + struct.pack(f"<{MAX_END_TOKENS}I", *self.end_tokens, *padding)


def pack_bias(bias: float) -> bytes:
    """A bias in f32; minus infinity, which WGSL may take as undefined, as the largest negative number used."""
    return struct.pack("<f", min(max(bias, -LARGE), LARGE))
