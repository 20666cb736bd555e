"""`bench --start`: what a start takes, stage by stage, each in a process of its own.

Between the starts other processes do less: one loads the weights alone, one reads the model's file and uploads as many
bytes. What loading the weights takes is held against the two together.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

from ..errors import ShaderLMError
from .conditions import circumstances, load_average
from .loading import Place
from .measuring import Spread
from .report import Row, spread_row, surroundings
from .terminal import note

CHILD = "import time; begun = time.perf_counter(); from shaderlm.cli.start_child import main; main(begun)"
LONGEST = 600  # seconds that one process may take


@dataclass(frozen=True)
class Starts:
    """Seconds. `stages` may lie beside each other, and within "load"; `begins` says when each begins, on the median."""

    first_total: float  # of the first start here, which may have filled caches: of the driver, and of our finds
    total: Spread
    cpu: Spread  # of all threads, the adapter's too if it is software
    stages: Mapping[str, Spread]
    begins: Mapping[str, float]
    weights: Spread  # read, uploaded and laid out, nothing else going on
    read: Spread  # the file's bytes alone
    upload: Spread  # as many bytes into as many buffers, alone
    weights_ratio: Spread  # the weights by the two
    weights_cpu_ratio: Spread  # the same of CPU time
    everything_else: Spread  # the total but for the weights


def measure(place: Place, runs: int) -> Starts:
    """Start the model `runs` times, and once before that. Raises ShaderLMError where a process ends badly."""
    note("starting ...")
    first = _child(place, "start")
    return summary(first, [_run(place) for _ in range(runs)])


def summary(first: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Starts:
    """The figures of a first start, and of runs of bytes alone, weights alone and a start."""

    def spread(of: Callable[[Mapping[str, Any]], float]) -> Spread:
        return Spread.of([of(one) for one in found])

    return Starts(
        first_total=first["total"],
        total=spread(itemgetter("total")),
        cpu=spread(itemgetter("cpu")),
        stages={name: _of_stage(found, name, "seconds") for name in first["stages"]},
        begins={name: _of_stage(found, name, "begin").median for name in first["stages"]},
        weights=spread(itemgetter("weights")),
        read=spread(itemgetter("read")),
        upload=spread(itemgetter("upload")),
        weights_ratio=spread(lambda one: one["weights"] / (one["read"] + one["upload"])),
        weights_cpu_ratio=spread(lambda one: one["weights_cpu"] / one["bytes_cpu"]),
        everything_else=spread(lambda one: one["total"] - one["weights"]),
    )


def _of_stage(found: Sequence[Mapping[str, Any]], name: str, what: str) -> Spread:
    return Spread.of([one["stages"][name][what] for one in found])


def rows(starts: Mapping[str, Any]) -> Iterator[Row]:
    """What, figure, spread, unit: a line for each stage, by its beginning."""
    for name, spread in sorted(starts["stages"].items(), key=lambda item: starts["begins"][item[0]]):
        yield spread_row(name, spread, f"s, from {starts['begins'][name]:.3f} s on", 3)
    yield spread_row("total, to the first token", starts["total"], "s", 3)
    yield "total of the first start", f"{starts['first_total']:.3f}", "", "s"
    yield spread_row("CPU time of a start", starts["cpu"], "s", 3)
    yield spread_row("weights alone", starts["weights"], "s", 3)
    yield spread_row("everything but these", starts["everything_else"], "s", 3)
    yield spread_row("bytes read alone", starts["read"], "s", 3)
    yield spread_row("bytes uploaded alone", starts["upload"], "s", 3)
    yield spread_row("weights by the two alone", starts["weights_ratio"], "times", 2)
    yield spread_row("the same of CPU time", starts["weights_cpu_ratio"], "times", 2)


def report(place: Place, runs: int) -> dict[str, Any]:
    """Measure, and say under which conditions."""
    load_before = load_average()
    results = measure(place, runs)
    adapter = place.adapter
    return {
        "shaderlm": "bench --start",
        "model": {"file": os.path.basename(place.path), "bytes": os.path.getsize(place.path)},
        "adapter": {"name": adapter.name, "kind": adapter.kind, "backend": adapter.backend, "driver": adapter.driver},
        **circumstances(load_before),
        "settings": {
            "runs": runs,
            "context": place.context,
            "kv_dtype": place.kv_dtype,
            "arithmetic": place.arithmetic,
            "tuning": place.tuning,
        },
        "results": asdict(results),
    }


def conditions(found: Mapping[str, Any]) -> list[str]:
    """Lines that say what was measured, where, and how busy the machine was."""
    return [*surroundings(found), f"{found['settings']['runs']} starts, each in a process of its own"]


def _run(place: Place) -> dict[str, Any]:
    """Bytes alone, weights alone and a start."""
    return {**_child(place, "bytes"), **_child(place, "weights"), **_child(place, "start")}


def _child(place: Place, what: str) -> dict[str, Any]:
    asked = {
        "what": what,
        "path": place.path,
        "adapter": place.adapter_index,
        "context": place.context,
        "kv_dtype": place.kv_dtype,
        "arithmetic": place.arithmetic,
        "tuning": place.tuning,
        "spawned": time.perf_counter(),
    }
    command = [sys.executable, "-c", CHILD]
    try:
        child = subprocess.run(command, input=json.dumps(asked).encode(), capture_output=True, timeout=LONGEST)
    except subprocess.TimeoutExpired as late:
        raise ShaderLMError(f"Loading {place.path} took over {LONGEST:.0f} s and was ended.") from late
    if child.returncode:
        last = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ShaderLMError(f"A process that should have loaded {place.path} ended: {last}")
    result: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return result
