"""When the stages of a start began and ended: noted by whoever does them, for the log and for `bench`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage; `begin` and `end` are seconds of time.perf_counter. Stages may lie beside each other."""

    name: str
    begin: float
    end: float


class Stages(list[Stage]):
    """In the order of their ends; threads may add to it."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note what is done inside a `with`, also where that fails."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.append(Stage(name, begin, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """How long each took, in the order of their beginnings."""
        return {stage.name: stage.end - stage.begin for stage in sorted(self, key=lambda stage: stage.begin)}
