"""What samples say: bytes and multiply-adds a second, the share of the roofline, each weight type beside Q4_0."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.peers.figures import spread

from .subjects import Subject
from .timing import Took

STANDARD = "Q4_0"  # what other types are held against
LEAST = 0.5  # of its bytes a second


@dataclass
class Samples:
    """Figures of all groups so far, as JSON has them, and what bounded the adapter in every round."""

    figures: list[dict[str, Any]] = field(default_factory=list)
    bounds: dict[str, list[float]] = field(default_factory=dict)

    def add(
        self,
        group: Sequence[Subject],
        samples: Sequence[Sequence[Took]],
        bounds: Mapping[str, Sequence[float]],
        *,
        software: bool,
    ) -> None:
        """Samples of each subject of a group, and those of what bounds the adapter in the same rounds."""
        for name, found in bounds.items():
            self.bounds.setdefault(name, []).extend(found)
        for subject, took in zip(group, samples, strict=True):
            figure = figure_of(facts_of(subject), [each.seconds for each in took], bounds)
            self.figures.append(figure | ({"busy": [each.busy for each in took]} if software else {}))


def facts_of(subject: Subject) -> dict[str, Any]:
    """What is timed, and what it has to do."""
    mode, rows = subject.rows
    return {
        "name": subject.name,
        "place": str(subject.place),
        "shape": subject.shape,
        "type": subject.weight_type.name if subject.weight_type else "",
        "mode": mode,
        "rows": rows,
        "variant": subject.variant,
        "kernels": subject.kernels,
        "dispatches": subject.dispatched,
        "bytes": subject.bytes_read,
        "multiply_adds": subject.multiply_adds,
    }


def figure_of(
    facts: Mapping[str, Any], seconds: Sequence[float], bounds: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """A subject's figures; its share of the roofline is that of each round by the round's own bounds."""
    bytes_read, work = facts["bytes"], facts["multiply_adds"]
    each = [dict(zip(bounds, found, strict=True)) for found in zip(*bounds.values(), strict=True)]
    shares = [least_seconds(facts, found) / taken for found, taken in zip(each, seconds, strict=True)]
    middle = {name: spread(found)["median"] for name, found in bounds.items()}
    return {
        **facts,
        "samples": list(seconds),
        "seconds": spread(seconds),
        "bytes_per_second": spread([bytes_read / taken for taken in seconds]),
        "multiply_adds_per_second": spread([work / taken for taken in seconds]),
        "bound_by": bound_by(facts, middle),
        "share": spread(shares),
    }


def least_seconds(facts: Mapping[str, Any], bounds: Mapping[str, float]) -> float:
    """What the roofline leaves: the dispatches, and the slower of reading and multiplying."""
    dispatches = facts["dispatches"] * bounds["empty_dispatch_seconds"]
    reading = facts["bytes"] / bounds["bytes_per_second"]
    return dispatches + max(reading, facts["multiply_adds"] / bounds["multiply_adds_per_second"])


def bound_by(facts: Mapping[str, Any], bounds: Mapping[str, float]) -> str:
    """Which of the three is the largest part of that."""
    parts = {
        "dispatch": facts["dispatches"] * bounds["empty_dispatch_seconds"],
        "bytes": facts["bytes"] / bounds["bytes_per_second"],
        "arithmetic": facts["multiply_adds"] / bounds["multiply_adds_per_second"],
    }
    return max(parts, key=lambda name: parts[name])


def report_of(conditions: Mapping[str, Any], found: Samples) -> dict[str, Any]:
    """All figures so far, and what they were measured with."""
    return {
        **conditions,
        "ceilings": {name: spread(samples) for name, samples in found.bounds.items()},
        "figures": found.figures,
        "types": list(types_of(found.figures)),
    }


def types_of(figures: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each weight type beside Q4_0 in the same place, mode, rows and kernel, in the order of the figures.

    Ratios are of the same round: "bytes" of bytes a second, "values" of weights a second. On a software adapter they
    are of the processors' time. `slow` says that a type reads its bytes less than half as fast.
    """
    standards = {_conditions(each): each for each in figures if each["type"] == STANDARD}
    for each in figures:
        standard = standards.get(_conditions(each))
        if standard is None or not each["type"]:
            continue
        times = "busy" if "busy" in each else "samples"
        values = [a / b for a, b in zip(standard[times], each[times], strict=True)]
        denser = each["bytes"] / standard["bytes"]
        ratio = spread([denser * value for value in values])
        yield {
            "name": each["name"],
            "place": each["place"],
            "type": each["type"],
            "mode": each["mode"],
            "rows": each["rows"],
            "variant": each["variant"],
            "bits": 8 * each["bytes"] / (each["multiply_adds"] / each["rows"]),
            "bytes_per_second": each["bytes_per_second"]["median"],
            "bytes": ratio,
            "values": spread(values),
            "slow": ratio["median"] < LEAST,
        }


def _conditions(figure: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(figure[name] for name in ("place", "mode", "rows", "variant"))
