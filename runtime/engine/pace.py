"""Where a prefill is cut into submits, so that they are neither long nor many: by a guess, and by what was measured."""

from bisect import bisect_right
from collections.abc import Sequence

TARGET_SECONDS = 0.1  # what a submit is cut to be predicted to take


class Pace:
    """How much slower a device is than the plan assumes. A slow measurement counts at once, a fast one by half.

    So what is submitted at once at most doubles from one submit to the next.
    """

    def __init__(self) -> None:
        self.slowness = 1.0  # measured seconds per assumed second

    def stop(self, borders: Sequence[float], start: int) -> int:
        """The border that a submit from border `start` on ends at: the last within the target, or behind one dispatch.

        `borders[i]` are the assumed seconds of all dispatches before the `i`th; the last is behind all of them. Those
        that have nothing to do go with the one before them, so that every submit has something to measure.
        """
        behind_one = borders[bisect_right(borders, borders[start])]
        return bisect_right(borders, max(behind_one, borders[start] + TARGET_SECONDS / self.slowness)) - 1

    def learn(self, measured: float, assumed: float) -> None:
        """Remember that a submit assumed to take `assumed` seconds took `measured`."""
        slowness = max(measured, 1e-6) / assumed
        self.slowness = max(slowness, (self.slowness + slowness) / 2)
