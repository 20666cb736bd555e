"""A comparison as JSON has it, and where it is written."""

import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .figures import Figures
from .rounds import Seat, Settings

KV_DTYPE = "f16"  # every engine's own default


@dataclass(frozen=True)
class Absent:
    """An engine that is not in the comparison, and why."""

    engine: str
    why: str


@dataclass(frozen=True)
class Conditions:
    """What holds for a whole run."""

    model: Path
    settings: Settings
    time: str
    load_before: list[float]

    @classmethod
    def now(cls, model: Path, settings: Settings) -> "Conditions":
        return cls(model, settings, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), load_average())


def report(
    conditions: Conditions, seats: Sequence[Seat], found: Figures, absent: Sequence[Absent], *, rounds_done: int
) -> dict[str, Any]:
    """All figures so far and what they were measured with. `seats` begin with ours."""
    ours = [seat.name for seat in seats if seat.engine.ours]
    peers = [seat.name for seat in seats if not seat.engine.ours]
    out = [Absent(seat.name, seat.out) for seat in seats if seat.out]
    return {
        "shaderlm": "peers",
        "time": conditions.time,
        "model": {"file": conditions.model.name, "bytes": conditions.model.stat().st_size},
        "adapter": seats[0].facts["adapter"],
        "driver": seats[0].facts["driver"],
        "cpus": os.cpu_count(),
        "load_average": {"before": conditions.load_before, "after": load_average()},
        "settings": {**asdict(conditions.settings), "kv_dtype": KV_DTYPE},
        "rounds_done": rounds_done,
        "ours": ours,
        "peers": peers,
        "engines": [{"name": seat.name, **seat.facts} for seat in seats],
        "figures": found.report(ours, peers),
        "absent": [asdict(each) for each in (*absent, *out)],
    }


def load_average() -> list[float]:
    """Of 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()]


def file_name(adapter: str, model: Path) -> str:
    """ "llvmpipe-smollm2-135m-instruct-q4_1" """
    words = f"{adapter.split('(')[0]} {model.stem}"
    return re.sub(r"[^\w]+", "-", words.lower()).strip("-")


def write(target: Path, text: str) -> None:
    """Whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, target)
