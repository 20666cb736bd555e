"""What timing found out about kernel variants on an adapter, kept from one start to the next."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

from ..host import Adapter, Store
from ..planner.choice import Arithmetic, candidates
from ..planner.tuned import LinearShape, Tuned
from .self_test import store_key

Key = tuple[LinearShape, Arithmetic]

ROUNDS = 7  # in each of which the default and another variant run once
FEW_ROUNDS = 2  # after which a variant that is not ahead of the default is left
GAIN = 1.1  # a variant replaces the default only where this took so many times as long, or longer


@dataclass(frozen=True)
class Time:
    """Seconds that a linear took by a variant, and what the default took of them in the same rounds."""

    median: float
    least: float
    most: float
    gain: float

    @classmethod
    def of(cls, seconds: Sequence[float], default: Sequence[float]) -> "Time":
        """Of measured ones, at least one."""
        middle = median(seconds)
        return cls(middle, min(seconds), max(seconds), median(default) / middle)


@dataclass(frozen=True)
class Find:
    """The variants of a shape that were timed so far, and the one that is the best of them.

    `arithmetic` is what they were to choose from: decoding is always exact.
    """

    shape: LinearShape
    arithmetic: Arithmetic
    default: str
    winner: str
    times: Mapping[str, Time]

    def with_times(self, name: str, seconds: Sequence[float], default: Sequence[float]) -> "Find":
        """With the times of a variant in some rounds, and those of the default."""
        times = {self.default: Time.of(default, default), **self.times, name: Time.of(seconds, default)}
        better = wins(seconds, default) and times[name].gain > times[self.winner].gain
        return replace(self, times=times, winner=name if better else self.winner)


@dataclass(frozen=True)
class Finds:
    """Of an adapter: a find for each shape, and which winners were tried on known answers (`trial_name`).

    `wrong` are variants that failed there, that did not compile, or with which the device was lost. `begun` are those
    shapes of which the largest of a model had its load's second, whether or not that settled anything (`begun_name`).
    """

    shapes: Mapping[Key, Find] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()
    begun: frozenset[str] = frozenset()

    def of(self, key: Key, names: Sequence[str]) -> Find:
        """What holds for a shape while `names`, the default first, are what there is to choose from."""
        known = self.shapes.get(key)
        if known is not None and known.default == names[0] and known.winner in names:
            return known
        return Find(*key, names[0], names[0], {})

    def with_find(self, find: Find) -> "Finds":
        return replace(self, shapes={**self.shapes, (find.shape, find.arithmetic): find})

    def with_wrong(self, kernel: str) -> "Finds":
        return replace(self, wrong=self.wrong | {kernel})

    def with_passed(self, trial: str) -> "Finds":
        return replace(self, passed=self.passed | {trial})

    def with_begun(self, name: str) -> "Finds":
        return replace(self, begun=self.begun | {name})


def is_ahead(seconds: Sequence[float], default: Sequence[float]) -> bool:
    """Whether a variant may still win, from its times and the default's in the same rounds."""
    if len(seconds) < FEW_ROUNDS:
        return min(seconds) < 1.5 * min(default)
    return median(seconds) * (1 + GAIN) / 2 < median(default)


def wins(seconds: Sequence[float], default: Sequence[float]) -> bool:
    """Whether a variant is faster by GAIN at the median, and faster at all in three rounds of four."""
    faster = sum(a < b for a, b in zip(seconds, default, strict=True))
    return len(seconds) >= ROUNDS and median(seconds) * GAIN <= median(default) and 4 * faster >= 3 * len(seconds)


def key_of(shape: LinearShape, arithmetic: Arithmetic) -> Key:
    """What a find for a model that was loaded with this arithmetic is kept under."""
    return shape, arithmetic if shape.step == "prefill" else "exact"


def begun_name(key: Key) -> str:
    """What a model's first load is known by: its largest shape."""
    shape, arithmetic = key
    return f"{shape}/{arithmetic}"


def trial_name(find: Find, kv_dtype: str) -> str:
    """What a trial of the winner on known answers stands for: linears of any size are tried by one."""
    return f"{find.shape.step}/{find.shape.type}/{kv_dtype}/{find.arithmetic}/{find.winner}"


def winners(
    finds: Finds,
    shapes: Mapping[LinearShape, bool],
    adapter: Adapter,
    dropped: Collection[str],
    kv_dtype: str,
    arithmetic: Arithmetic,
) -> tuple[Tuned, ...]:
    """What replaces the default for these shapes (and whether they make logits), as far as it was tried."""
    tuned = []
    for shape, makes_logits in shapes.items():
        names = candidates(adapter, shape, dropped, arithmetic, wrong=finds.wrong, makes_logits=makes_logits)
        find = finds.of(key_of(shape, arithmetic), names)
        if find.winner != find.default and trial_name(find, kv_dtype) in finds.passed:
            tuned.append(Tuned(shape, find.winner))
    return tuple(tuned)


async def read_finds(store: Store, adapter: Adapter) -> Finds:
    """What is kept for an adapter; what cannot be read was never found."""
    try:
        kept = json.loads(await store.get(store_key(adapter, "tuning")) or b"{}")
        shapes = [_find(one) for one in kept.get("shapes", ())]
        return Finds(
            {(find.shape, find.arithmetic): find for find in shapes},
            *(frozenset(map(str, kept.get(name, ()))) for name in _NAMES),
        )
    except (ValueError, AttributeError, TypeError, KeyError):
        return Finds()


async def write_finds(store: Store, adapter: Adapter, finds: Finds) -> None:
    """Keep them in place of what was kept: an empty `Finds` forgets all."""
    shapes = [asdict(find) for find in finds.shapes.values()]
    names = {name: sorted(getattr(finds, name)) for name in _NAMES}
    await store.put(store_key(adapter, "tuning"), json.dumps({"shapes": shapes, **names}).encode())


class KeptFinds:
    """The finds of an adapter as a model that times them knows them, each kept as soon as it is made.

    To what is kept by then it is added alone: another model's finds stay, and what was forgotten stays forgotten. Where
    two models write within the same millisecond, the first one's find is made again another time.
    """

    def __init__(self, store: Store, adapter: Adapter, finds: Finds) -> None:
        self.adapter = adapter
        self.finds = finds
        self._store = store

    @classmethod
    async def open(cls, store: Store, adapter: Adapter) -> "KeptFinds":
        return cls(store, adapter, await read_finds(store, adapter))

    async def add(self, change: Callable[[Finds], Finds]) -> None:
        """Make a change to the finds, both as they are known here and as they are kept."""
        self.finds = change(self.finds)
        await write_finds(self._store, self.adapter, change(await read_finds(self._store, self.adapter)))


def _find(one: Mapping[str, Any]) -> Find:
    shape, times = one["shape"], one["times"]
    find = Find(
        LinearShape(shape["step"], str(shape["type"]), int(shape["rows"]), int(shape["groups"])),
        one["arithmetic"],
        str(one["default"]),
        str(one["winner"]),
        {str(name): Time(*(float(time[key]) for key in _TIME)) for name, time in times.items()},
    )
    if not {find.default, find.winner} <= find.times.keys():
        raise ValueError("no times of the default or of the winner")
    return find


_NAMES = ("passed", "wrong", "begun")
_TIME = ("median", "least", "most", "gain")
