"""How engines are measured: each is started and warmed up, then every round asks each for every figure."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from . import figures
from .engines import Answer, Engine, EngineFailed
from .figures import Figures

STEPS = (8, 64)  # decoded at once: at least, at most
SECONDS = 2.0  # that decoding takes, within these bounds
PAUSE = 0.3  # seconds before the next engine's turn, in which threads that wait by spinning fall asleep

Prompt = Callable[[int], list[int]]  # as many token ids as asked for: the same for all engines


class Speaker(Protocol):
    """A process that answers commands: engines.Process."""

    started: float

    def ask(self, do: str, **what: Any) -> Answer: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Settings:
    """What is measured. Contexts of `decode` that are no lengths of `prefill` too are computed once and kept."""

    rounds: int = 3
    prefill: tuple[int, ...] = (16, 128, 512)
    decode: tuple[int, ...] = (16, 512, 2048)

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(n for n in self.decode if n not in self.prefill)

    @property
    def short(self) -> int:
        """Positions that the longest prompt and its answer take."""
        return room(max(self.prefill))

    @property
    def first(self) -> int:
        """The prompt whose first token is waited for: as long as a short question with its template."""
        return 128 if 128 in self.prefill else max(self.prefill)

    @property
    def longest(self) -> int:
        """The context at which GPU bytes are told."""
        return max(self.kept or self.prefill)


@dataclass
class Seat:
    """An engine with its process, what it said of itself, and why it is out of the run, if it is."""

    engine: Engine
    process: Speaker
    facts: dict[str, Any] = field(default_factory=dict)
    steps: int = STEPS[0]
    out: str = ""

    @property
    def name(self) -> str:
        return self.engine.name


def room(tokens: int) -> int:
    """Positions for a prompt and what is decoded behind it."""
    return tokens + STEPS[1] + 2


def start(seat: Seat, settings: Settings, ids: Prompt, load: Mapping[str, Any], states: Path, found: Figures) -> None:
    """Load, answer a first time, warm up, compute what is kept. Raises EngineFailed."""
    ask = seat.process.ask
    loaded = ask("load", short=settings.short, kept=[room(n) for n in settings.kept], **load)
    found.add(figures.LOAD, seat.name, loaded.pop("seconds"))
    first = ask("answer", tokens=ids(settings.first), steps=0, kept=False)
    found.add(figures.start(settings.first), seat.name, time.perf_counter() - seat.process.started)
    warming = time.perf_counter()
    for n in settings.prefill:
        ask("answer", tokens=ids(n), steps=STEPS[0] if n in settings.decode else 0, kept=False)
    tried = ask("answer", tokens=ids(min(settings.prefill)), steps=STEPS[0], kept=False)
    warmed = time.perf_counter()
    kept_seconds = {}
    for n in settings.kept:
        kept_seconds[n] = ask("keep", tokens=ids(n), positions=room(n), state=str(states / f"{n}"))["seconds"]
        ask("answer", tokens=ids(n), steps=2, kept=True)
    memory = ask("memory")["gpu_bytes"]
    if memory is not None:
        found.add(figures.gpu_bytes(settings.longest), seat.name, memory)
    seat.steps = steps_within(SECONDS, STEPS[0] / tried["decode_seconds"])
    seat.facts |= loaded | first.get("computed_by", {})
    seat.facts |= {
        "decode_steps": seat.steps,
        "first_answer_seconds": first["first_token_seconds"],
        "warm_up_seconds": warmed - warming,
        "kept_seconds": kept_seconds,
        "drawn": {},
    }


def measure(seat: Seat, settings: Settings, ids: Prompt, found: Figures) -> None:
    """One round of one engine. Raises EngineFailed."""
    for n in sorted({*settings.prefill, *settings.decode}):
        kept = n in settings.kept
        steps = seat.steps if n in settings.decode else 0
        answer = seat.process.ask("answer", tokens=ids(n), steps=steps, kept=kept)
        seat.facts["drawn"][n] = answer["drawn"]
        seconds = answer["first_token_seconds"]
        if not kept:
            found.add(figures.prefill(n), seat.name, n / seconds)
        if n == settings.first:
            found.add(figures.first_token(n), seat.name, seconds)
        if steps:
            found.add(figures.decode(n), seat.name, steps / answer["decode_seconds"])


def in_turn(seats: Sequence[Seat], number: int) -> list[Seat]:
    """The order of a round: each is begun by another engine."""
    first = number % len(seats)
    return [*seats[first:], *seats[:first]]


def steps_within(seconds: float, per_second: float) -> int:
    """Steps to decode at once, for a figure that is no more of chance than it has to be."""
    least, most = STEPS
    return max(least, min(most, round(seconds * per_second)))


def run(
    seats: Sequence[Seat], settings: Settings, ids: Prompt, found: Figures, told: Callable[[int, Seat, float], None]
) -> Iterator[int]:
    """All rounds; yields how many are done. An engine that fails is out from there on; `told` hears of every turn."""
    for number in range(settings.rounds):
        for seat in in_turn(seats, number):
            if seat.out:
                continue
            time.sleep(PAUSE)
            started = time.perf_counter()
            try:
                measure(seat, settings, ids, found)
            except EngineFailed as failed:
                seat.out = f"{failed} (in round {number + 1})"
            told(number, seat, time.perf_counter() - started)
        yield number + 1
