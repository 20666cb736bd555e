"""`python3 build.py bench shapes`: models of the sizes that people run, with random weights, against their roofline.

The roofline of a decode step is the time to copy the bytes that it reads, and an empty dispatch for each of its
dispatches; both are measured here, in the same run. Nothing is downloaded: the weights are made on the spot.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from bench.conditions import conditions, file_name
from bench.kernels.ceilings import Ceiling, ceilings
from bench.peers.report import load_average, write
from shaderlm.engine.engine import Engine
from shaderlm.errors import ModelTooLarge, OutOfMemory, ShaderLMError
from shaderlm.host import Gpu
from shaderlm.hosts.native.adapters import choose, find_adapters
from shaderlm.hosts.native.gpu import NativeGpu
from shaderlm.tensors import WEIGHT_TYPES
from tools.steps import ROOT, Stop, say

from . import table
from .models import CONTEXT, SHAPES, random_llama
from .speeds import Speeds, measured

RESULTS = ROOT / "bench/results/shapes"
USUAL_TYPES = ("Q4_0", "Q4_K", "Q8_0")
CEILING_SECONDS = 0.02  # that a sample of the adapter's bounds takes


def main() -> int:
    try:
        return asyncio.run(measure(arguments()))
    except (Stop, ShaderLMError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped; the models that were whole are in the file of figures")
        return 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="build.py bench shapes",
        allow_abbrev=False,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--shapes", type=names_of(SHAPES), default=tuple(SHAPES), metavar="S,...", help=", ".join(SHAPES)
    )
    parser.add_argument("--types", type=names_of(WEIGHT_TYPES), default=USUAL_TYPES, metavar="T,...")
    parser.add_argument("--rows", type=rows_of, default=(1, 4), metavar="N,...", help="sequences in a step, up to 8")
    parser.add_argument("--prompt", type=int, default=512, metavar="N", help="tokens of the prompt (default 512)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="X", help="of a round's steps (default 1)")
    parser.add_argument("--arithmetic", choices=("exact", "fast"), default="exact")
    parser.add_argument("--adapter", metavar="A", help="index or part of its name")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="the table lies beside it")
    given = parser.parse_args()
    if not 1 <= given.prompt <= CONTEXT - 256 or given.rounds < 1:
        parser.error(f"--prompt goes from 1 to {CONTEXT - 256:,}, --rounds from 1 on")
    return given


def names_of(known: Any) -> Any:
    def names(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(text.split(",")))
        unknown = [name for name in found if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return found

    return names


def rows_of(text: str) -> tuple[int, ...]:
    rows = tuple(sorted({int(each) for each in text.split(",")} | {1}))
    if rows[-1] > 8 or rows[0] < 1:
        raise argparse.ArgumentTypeError("a step has 1 to 8 rows")
    return rows


async def measure(options: argparse.Namespace) -> int:
    """Measure, write after every model, print the table. Raises ShaderLMError."""
    adapter = choose(find_adapters(), options.adapter)
    gpu = NativeGpu(adapter.handle, adapter.facts)
    target = options.output or RESULTS / f"{file_name(gpu.adapter.name)}.json"
    names = ("rows", "prompt", "rounds", "seconds", "arithmetic")
    settings = {name: getattr(options, name) for name in names}
    report = {**conditions("shapes", gpu.adapter, settings), "models": []}
    try:
        bounds = await ceilings(gpu, CEILING_SECONDS)
        for name in options.shapes:
            for type_name in options.types:
                say(f"{name} in {type_name}")
                report["models"].append(await one_model(gpu, name, type_name, bounds, options))
                report["load_average"]["after"] = load_average()
                write(target, json.dumps(report, indent=1) + "\n")
                write(target.with_suffix(".md"), table.markdown(report))
    finally:
        gpu.close()
    print(table.markdown(report), end="")
    say(f"the figures are in {target}, a table beside it")
    return 0


async def one_model(
    gpu: Gpu, name: str, type_name: str, bounds: Sequence[Ceiling], options: argparse.Namespace
) -> dict[str, Any]:
    """A row of the report; "left_out" says why where a model cannot be measured here."""
    weight_type = WEIGHT_TYPES[type_name]
    row: dict[str, Any] = {"shape": name, "type": type_name}
    if not SHAPES[name].takes(weight_type):
        return row | {"left_out": f"its rows are no whole blocks of {weight_type.block}"}
    others = gpu.live_objects()["bytes"]
    started = time.perf_counter()
    try:
        engine = await Engine.load(
            gpu,
            random_llama(name, weight_type),
            context=CONTEXT,
            slots=max(options.rows),
            arithmetic=options.arithmetic,
        )
    except (ModelTooLarge, OutOfMemory) as error:
        return row | {"left_out": str(error)}
    loaded = time.perf_counter() - started
    try:
        speeds = await measured(
            engine, rows=options.rows, prompt_tokens=options.prompt, rounds=options.rounds, seconds=options.seconds
        )
        choice, its_bytes = engine.deployment.choice, gpu.live_objects()["bytes"] - others
    finally:
        engine.close()
    samples = {each.name: [await each.sample() for _ in range(max(3, options.rounds))] for each in bounds}
    return row | {
        "load_seconds": loaded,
        "gpu_bytes": its_bytes,
        "bounds": samples,
        **asdict(speeds),
        "roofline_seconds": roofline(speeds, samples),
        "kernels": asdict(choice),
    }


def roofline(speeds: Speeds, bounds: Mapping[str, Sequence[float]]) -> float:
    """Seconds that a step of one row takes at least."""
    copying, empty = median(bounds["bytes_per_second"]), median(bounds["empty_dispatch_seconds"])
    return speeds.step_bytes / copying + speeds.dispatches * empty


if __name__ == "__main__":
    sys.exit(main())
