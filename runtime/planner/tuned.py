"""What timing chooses from, and what it chose, for linears of one shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Step = Literal["decode", "prefill"]

# Of matvec.wgsl: lanes that share a pair of weight rows, and lanes of a workgroup. A workgroup makes at most 32 pairs:
# weights larger than a binding are divided at whole workgroups of each (weights.py).
MATVECS: Mapping[str, tuple[int, int]] = {
    "matvec, one lane a pair": (1, 32),
    "matvec, 4 lanes a pair": (4, 64),
    "matvec, 8 lanes a pair": (8, 64),
    "matvec, 16 lanes a pair": (16, 64),
    "matvec, 32 lanes a pair": (32, 64),
    "matvec, 16 lanes a pair of 128": (16, 128),
    "matvec, 32 lanes a pair of 128": (32, 128),
}


@dataclass(frozen=True)
class LinearShape:
    """What a linear's time hangs on. One variant computes all linears of a shape, in every plan."""

    step: Step  # of few rows, or of many
    type: str  # of the weight
    rows: int  # of the weight, all its parts together
    groups: int  # of 32 values in a row

    def __str__(self) -> str:
        return f"{self.step} {self.type} {self.rows} x {32 * self.groups}"


@dataclass(frozen=True)
class Tuned:
    """The variant that is best for a shape, where it is not the default."""

    shape: LinearShape
    kernel: str
