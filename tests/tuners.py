"""For tests of tuning: a clock that says what it is told to, and a small model with two variants to choose from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines import Engine, opened
from gguf_writer import write_llama
from gpu import Device
from plans import team_of
from random_llama import random_llama
from shaderlm.engine import tuning
from shaderlm.engine.programs import LoadedPlan
from shaderlm.planner.choice import LARGE_TILE, TILE, variants
from shaderlm.planner.plan import Plan
from shaderlm.planner.tuned import MATVECS

EIGHT = "matvec, 8 lanes a pair"
SMALL: dict[str, Any] = {"n_layers": 1, "hidden_size": 96, "intermediate_size": 160, "vocab_size": 333}


class FakeClock:
    """Stands still but for what is measured: `seconds` of a plan."""

    def __init__(self, seconds: Callable[[Plan], float]) -> None:
        self.now = 100.0
        self.runs = 0
        self._seconds = seconds

    def __call__(self) -> float:
        return self.now

    async def measure(self, plan: LoadedPlan, start: int, stop: int) -> float:
        """Run it all the same."""
        await tuning.seconds_of(plan, start, stop)
        self.runs += 1
        self.now += self._seconds(plan.plan)
        return self._seconds(plan.plan)


def favour(team: int, seconds: float = 0.001) -> Callable[[Plan], float]:
    """Of decode the variants with this many lanes a pair take half of the time."""
    return lambda plan: seconds / 2 if team_of(plan.dispatches[0]) == team else seconds


def small_model(folder: Path) -> Path:
    """A file with random weights."""
    hyperparameters, weights = random_llama(3, **SMALL)
    return write_llama(folder / "small.gguf", weights, hyperparameters, "Q8_0")


@contextmanager
def two_to_choose_from(gpu: Device, path: Path) -> Iterator[Engine]:
    """An engine that knows no variants but the defaults and EIGHT."""
    defaults = {names[0] for names in variants(gpu.gpu.adapter)}
    with opened(gpu.gpu, path) as engine:
        engine.dropped_variants = frozenset({*MATVECS, TILE, LARGE_TILE} - {EIGHT, *defaults})
        yield engine
