"""Figures of a comparison: samples by engine, their spreads, and how many times one engine is as good as another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shaderlm.cli.measuring import Spread

Better = Literal["more", "less"]


@dataclass(frozen=True)
class Kind:
    """What is measured, in which unit, and whether more of it is better."""

    name: str
    unit: str
    better: Better


@dataclass
class Figure:
    """Samples of one thing by engine; the n-th of each were measured in the same round, one after the other."""

    kind: Kind
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, engine: str, sample: float) -> None:
        self.samples.setdefault(engine, []).append(sample)


def prefill(n: int) -> Kind:
    return Kind(f"prefill, {n:,} tokens", "tokens/s", "more")


def decode(n: int) -> Kind:
    return Kind(f"decode at {n:,}", "tokens/s", "more")


def first_token(n: int) -> Kind:
    return Kind(f"first token, {n:,} tokens", "s", "less")


def start(n: int) -> Kind:
    return Kind(f"start to first token, {n:,} tokens", "s", "less")


LOAD = Kind("load", "s", "less")


def gpu_bytes(n: int) -> Kind:
    return Kind(f"GPU bytes at {n:,}", "bytes", "less")


class Figures:
    """All figures of a run, in the order in which they came."""

    def __init__(self) -> None:
        self.all: dict[str, Figure] = {}

    def add(self, kind: Kind, engine: str, sample: float) -> None:
        self.all.setdefault(kind.name, Figure(kind)).add(engine, sample)

    def drop(self, engine: str) -> None:
        """Forget an engine's samples."""
        for figure in self.all.values():
            figure.samples.pop(engine, None)

    def report(self, ours: Sequence[str], peers: Sequence[str]) -> list[dict[str, Any]]:
        """As JSON has them."""
        return [
            {
                "name": figure.kind.name,
                "unit": figure.kind.unit,
                "better": figure.kind.better,
                "samples": figure.samples,
                "spread": {engine: spread(samples) for engine, samples in figure.samples.items()},
                "ratios": ratios(figure, ours, peers),
            }
            for figure in sorted(self.all.values(), key=lambda figure: order(figure.kind.name))
        ]


def order(name: str) -> tuple[int, int]:
    """Where a figure stands in a table: by what it is, then by the number in its name."""
    words = ("prefill", "decode", "first token", "start", "load", "GPU")
    digits = "".join(filter(str.isdigit, name))
    return next(i for i, word in enumerate(words) if name.startswith(word)), int(digits or 0)


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Median, least and largest."""
    found = Spread.of(samples)
    return {"median": found.median, "low": found.low, "high": found.high}


def ratios(figure: Figure, ours: Sequence[str], peers: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """How many times as good one of `ours` is as a peer: [ours][peer] -> the spread over the rounds.

    A round's ratio is of two samples taken one after the other, so that a machine which was busy for a while changes
    both. Where an engine failed on the way, the rounds count that both have.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for one in ours:
        for peer in peers:
            pairs = zip(figure.samples.get(one, ()), figure.samples.get(peer, ()), strict=False)
            samples = [a / b if figure.kind.better == "more" else b / a for a, b in pairs if a > 0 and b > 0]
            if samples:
                found.setdefault(one, {})[peer] = spread(samples)
    return found


def shown(value: float, unit: str) -> str:
    """A value with three digits or so."""
    if unit == "bytes":
        return f"{value / 1e6:,.1f} MB"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def shown_spread(found: Mapping[str, float], unit: str) -> str:
    """ "12.3 (11.9 to 12.8)", or the median alone where there is no spread."""
    median, low, high = (shown(found[name], unit) for name in ("median", "low", "high"))
    return median if low == high else f"{median} ({low} to {high})"
