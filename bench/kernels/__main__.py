"""`python3 build.py bench kernels`: each kernel by weight type and shape, against what bounds the adapter (a roofline).

Operations are timed as the planner makes them of a step, alone and over and over, on weights that are in no cache. All
of one shape are measured in each round, with the bounds: bytes that the adapter copies a second, multiply-adds a second
in registers, and the time of an empty dispatch. A JSON file is written, with a table and a plot beside it.

Without options: every weight type for one linear of a 1B model, some of them with every kernel that this adapter may
choose; these types for the linears of SmolLM2 and of that model, and attention, by the kernels of choice.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.conditions import conditions, file_name
from bench.peers.report import load_average, write
from shaderlm.errors import ShaderLMError
from shaderlm.host import Adapter, Gpu
from shaderlm.hosts.native.adapters import choose, find_adapters
from shaderlm.hosts.native.gpu import NativeGpu
from shaderlm.planner.choice import DECODE_ROWS
from shaderlm.tensors import WEIGHT_TYPES
from tools.steps import ROOT, Stop, say

from . import plot, table
from .binding import Buffers
from .ceilings import Ceiling, ceilings
from .figures import Samples, report_of
from .subjects import CONTEXT, LINEARS, MODELS, Place, Subject, subjects, takes
from .timing import Repeated, in_rounds

RESULTS = ROOT / "bench/results/kernels"
EVERY_TYPE_AT = Place("1B", "output")  # 2048 x 2048
USUAL_TYPES = ("F16", "Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K")
USUAL_PLACES = (*(Place("135M", each) for each in LINEARS), Place("1B", "gate+up"))
ATTENTIONS = (16, 512, 2048)  # keys


@dataclass(frozen=True)
class Settings:
    """What is measured; None is what the tool takes by itself."""

    rounds: int = 5
    milliseconds: float = 15.0  # of a sample
    rows: tuple[int, ...] = (1, 4, 64)
    types: tuple[str, ...] | None = None
    places: tuple[str, ...] | None = None
    variants: str | None = None  # "all" or "default"

    @property
    def seconds(self) -> float:
        return self.milliseconds / 1000


def main() -> int:
    try:
        return asyncio.run(measure(arguments()))
    except (Stop, ShaderLMError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped; the shapes that were whole are in the file of figures")
        return 130


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    usual = Settings()
    parser = argparse.ArgumentParser(
        prog="build.py bench kernels",
        allow_abbrev=False,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--types", type=names(WEIGHT_TYPES), metavar="T,...", help="weight types, or all")
    parser.add_argument("--places", type=listed, metavar="P,...", help="as in 135M:qkv,1B:down,135M:attention:512")
    parser.add_argument("--rows", type=numbers, default=usual.rows, metavar="N,...", help="over 8: a prefill's")
    parser.add_argument("--variants", choices=("all", "default"), help="kernels that could be chosen, or that are")
    parser.add_argument("--rounds", type=positive, default=usual.rounds, metavar="N", help=f"default {usual.rounds}")
    parser.add_argument("--milliseconds", type=float, default=usual.milliseconds, help="that a sample takes")
    parser.add_argument("--adapter", metavar="A", help="index or part of its name")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="the table and the plots lie beside it")
    return parser.parse_args(words)


def listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(",")))


def numbers(text: str) -> tuple[int, ...]:
    found = sorted({int(each) for each in text.split(",")})
    wrong = [n for n in found if n not in DECODE_ROWS and (n < 32 or n % 32)]
    if wrong:
        raise argparse.ArgumentTypeError(f"steps have {listing(DECODE_ROWS)} rows or, of a prefill, multiples of 32")
    return tuple(found)


def listing(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def names(known: Any) -> Any:
    def of(text: str) -> tuple[str, ...]:
        found = tuple(known) if text == "all" else listed(text)
        unknown = [name for name in found if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return found

    return of


def place_of(text: str) -> Place:
    """ "135M:attention:512" """
    model, _, operation = text.partition(":")
    operation, _, keys = operation.partition(":")
    if model in MODELS and operation == "attention" and keys.isdecimal() and 0 < int(keys) <= CONTEXT:
        return Place(model, "attention", int(keys))
    if model in MODELS and operation in LINEARS and not keys:
        return Place(model, operation)
    raise Stop(
        f"--places: {text!r} is no place. Write MODEL:OPERATION or MODEL:attention:KEYS with a model of "
        f"{', '.join(MODELS)}, an operation of {', '.join(LINEARS)}, and keys up to {CONTEXT:,}."
    )


def groups(settings: Settings, adapter: Adapter) -> list[list[Subject]]:
    """What is measured together: all that reads weights of one shape."""
    if settings.places is not None:
        places: tuple[Place, ...] = tuple(place_of(each) for each in settings.places)
    else:
        attentions = tuple(Place("135M", "attention", keys) for keys in ATTENTIONS)
        places = (EVERY_TYPE_AT, *USUAL_PLACES, *attentions)
    found = []
    for place in places:
        whole = place == EVERY_TYPE_AT
        types = settings.types or (tuple(WEIGHT_TYPES) if whole else USUAL_TYPES)
        every = {kind.name for kind in WEIGHT_TYPES.values() if settings.variants == "all"}
        if settings.variants is None and whole:
            every |= {*USUAL_TYPES}
        fitting = [WEIGHT_TYPES[name] for name in types if takes(place, WEIGHT_TYPES[name])]
        found.append(list(subjects([place], fitting, settings.rows, adapter, every_variant=every)))
    return [group for group in found if group]


async def measure(options: argparse.Namespace) -> int:
    """Measure, write, and print the table. Raises Stop, ShaderLMError."""
    settings = Settings(**{each.name: getattr(options, each.name) for each in fields(Settings)})
    adapter = choose(find_adapters(), options.adapter)
    gpu = NativeGpu(adapter.handle, adapter.facts)
    found = Samples()
    told = conditions("kernels", gpu.adapter, asdict(settings))
    target = options.output or RESULTS / f"{file_name(gpu.adapter.name)}.json"
    try:
        bounds = await ceilings(gpu, settings.seconds)
        asked = groups(settings, gpu.adapter)
        if not asked:
            raise Stop("nothing is left to time: no such weight has rows that are whole blocks of such a type")
        for i, group in enumerate(asked):
            say(f"{i + 1} of {len(asked)}: {group[0].place} {group[0].shape}, {len(group)} to time")
            await measure_group(gpu, group, bounds, settings, found)
            told["load_average"]["after"] = load_average()
            made = report_of(told, found)
            write(target, json.dumps(made, indent=1) + "\n")
    finally:
        gpu.close()
    write(target.with_suffix(".md"), table.markdown(made))
    plot.draw(made, target.with_suffix(".svg"), target.with_suffix(".png"))
    print(table.markdown(made), end="")
    say(f"the figures are in {target}, a table and plots beside it")
    return 0


async def measure_group(
    gpu: Gpu, group: Sequence[Subject], bounds: Sequence[Ceiling], settings: Settings, found: Samples
) -> None:
    buffers = Buffers(gpu)
    programs: list[Repeated] = []
    try:
        told = time.perf_counter()
        for i, subject in enumerate(group):
            programs.append(await buffers.program(subject, settings.seconds))
            if time.perf_counter() - told > 10:
                told = time.perf_counter()
                say(f"  {i + 1} of {len(group)} compiled")
        tasks = [*bounds, *programs]
        samples: list[list[Any]] = [[] for _ in tasks]
        async for number, task, sample in in_rounds(tasks, settings.rounds):
            samples[task].append(sample)
            if time.perf_counter() - told > 10:
                told = time.perf_counter()
                say(f"  round {number + 1} of {settings.rounds}")
        rounds = {bound.name: found for bound, found in zip(bounds, samples, strict=False)}
        found.add(group, samples[len(bounds) :], rounds, software=gpu.adapter.kind == "software")
    finally:
        for program in programs:
            program.close()
        buffers.close()


if __name__ == "__main__":
    sys.exit(main())
