"""Measure a model on an adapter: speed, what a token costs the host, the share of the memory's bandwidth.

The model is smollm2 unless another is named. Medians of several runs; the prompt is made of token ids spread over the
vocabulary, the answer has a fixed length and is drawn with the default options. With --profile it is single dispatches
that are timed: where a step's time goes.
"""

import argparse
import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core import Core
from ..generation import Provenance
from ..hosts.native import timestamps
from ..model import AsyncModel
from . import loading, measuring, profile_page, profile_table, profiling, report, starting
from .arguments import UsageError, add_model_arguments, model_of, no_words_left
from .conditions import circumstances, load_average
from .measuring import Settings, Spread, StepCost
from .terminal import note
from .writing import write_json, write_text

PROFILE = "shaderlm-profile.html"


@dataclass(frozen=True)
class Results:
    """What was measured; rates are per second."""

    load_seconds: float
    first_answer_seconds: float  # to the first token ever: kernels are compiled
    time_to_first_token: Spread
    prefill_tokens: Spread
    decode_tokens: Spread
    next_turn_first_token: Spread
    step: StepCost
    step_bytes: int  # weights, keys and values that a decode step reads
    copy_bytes: Spread  # read and written by the device's own copies
    copy_share: float  # of that, what decode reads
    ticker_late_p99: float
    ticker_late_max: float
    ticks: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shaderlm bench [options] [MODEL]"
    parser.add_argument(
        "--prompt-tokens", type=int, default=128, metavar="N", help="length of the prompt (default 128)"
    )
    parser.add_argument("--tokens", type=int, default=32, metavar="N", help="length of the answers (default 32)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="how often each is measured (default 3)")
    parser.add_argument(
        "--no-kv-cache", action="store_true", help="compute each token from the whole text before it, for comparison"
    )
    parser.add_argument(
        "--no-prefix-reuse", action="store_true", help="compute the next turn's prompt from its first token on"
    )
    parser.add_argument(
        "--profile",
        nargs="?",
        const=PROFILE,
        metavar="FILE.html",
        help=f"instead, time every dispatch of decode steps behind the prompt, and of the prompt (default {PROFILE})",
    )
    parser.add_argument(
        "--steps", type=int, default=50, metavar="N", help="with --profile: how many decode steps (default 50)"
    )
    parser.add_argument(
        "--start", action="store_true", help="instead, measure starts: what each stage takes, each in a new process"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE too; - prints them instead")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    chart = chart_of(arguments)
    source = model_of(arguments, default="smollm2")
    no_words_left(arguments)
    settings = settings_of(arguments)
    place = loading.choose_place(source, arguments)
    if chart is not None:
        timestamps.check(place.adapter)
    if arguments.start:
        found = starting.report(place, settings.runs)
    else:
        found = asyncio.run(measure(place, settings, steps=arguments.steps if chart is not None else None))
    if arguments.json == "-":
        print(json.dumps(found))
    elif chart is not None:
        profile_table.show(found)
    elif arguments.start:
        report.show(starting.conditions(found), starting.rows(found["results"]))
    else:
        report.show(report.conditions(found), report.rows(found))
    if arguments.json not in (None, "-"):
        write_json(Path(arguments.json), found)
        note(f"The figures are in {arguments.json}")
    if chart is not None:
        write_text(chart, profile_page.page(found))
        note(f"The charts are in {chart}")
    return 0


def chart_of(arguments: argparse.Namespace) -> Path | None:
    """The file that --profile's charts go to, None where no profile is wanted. Raises UsageError.

    A word behind --profile that names no page is the model's, as any other word.
    """
    if arguments.profile is None:
        return None
    if arguments.start:
        raise UsageError("--start and --profile measure different things: give one of them.")
    if arguments.no_kv_cache:
        raise UsageError("--profile times steps that use the KV cache: leave --no-kv-cache out.")
    chart = Path(arguments.profile)
    if chart.suffix.lower() in (".html", ".htm"):
        if not chart.parent.is_dir():  # told before minutes of measuring
            raise UsageError(f"--profile: there is no folder {chart.parent} for {chart.name}.")
        return chart
    arguments.words.insert(0, arguments.profile)
    return Path(PROFILE)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Raises UsageError for lengths that cannot be measured."""
    for name, least in (("prompt_tokens", 1), ("tokens", 2), ("runs", 1), ("steps", 1)):
        if getattr(arguments, name) < least:
            raise UsageError(f"--{name.replace('_', '-')}: must be at least {least}, not {getattr(arguments, name)}.")
    return Settings(
        arguments.prompt_tokens,
        arguments.tokens,
        arguments.runs,
        kv_cache=not arguments.no_kv_cache,
        prefix_reuse=not arguments.no_prefix_reuse,
    )


async def measure(place: loading.Place, settings: Settings, *, steps: int | None) -> dict[str, Any]:
    """Load, measure everything, or profile so many `steps`, and say under which conditions."""
    load_before = load_average()
    started = time.perf_counter()
    async with await loading.load_async(place) as model:
        load_seconds = time.perf_counter() - started
        positions = settings.context if steps is None else settings.prompt_tokens + 2
        if model.context < positions:
            raise UsageError(
                f"These measurements take {positions} positions, but the context has {model.context}: "
                "give less --prompt-tokens or --tokens, or more --context."
            )
        if steps is None:
            found = {"results": asdict(await _measure(model, settings, load_seconds))}
        else:
            found = {"profile": await profiling.profile(model, settings, steps)}
        conditions = await _conditions(model, place, load_before)
    return {"shaderlm": "bench", **conditions, "settings": asdict(settings), **found}


async def _measure(model: AsyncModel, settings: Settings, load_seconds: float) -> Results:
    ids = measuring.prompt(await measuring.vocab_size(model), settings.prompt_tokens)
    note("measuring answers ...")
    first = await measuring.answer(model, ids, settings.tokens, settings)
    answers = [await measuring.answer(model, ids, settings.tokens, settings) for _ in range(settings.runs)]
    turns = [await measuring.next_turn(model, settings) for _ in range(settings.runs)]
    note("counting what a token costs ...")
    step = await measuring.step_cost(model, settings)
    note("measuring the copy bandwidth ...")
    copies = await measuring.copy_bandwidth(model, settings.runs)
    note("watching a ticker while answers stream ...")
    late = await measuring.lateness(model, settings)
    decode = Spread.of([answer.decode for answer in answers])
    step_bytes = await measuring.step_bytes(model, settings.prompt_tokens + settings.tokens // 2)
    return Results(
        load_seconds=load_seconds,
        first_answer_seconds=first.time_to_first_token,
        time_to_first_token=Spread.of([answer.time_to_first_token for answer in answers]),
        prefill_tokens=Spread.of([answer.prefill for answer in answers]),
        decode_tokens=decode,
        next_turn_first_token=Spread.of(turns),
        step=step,
        step_bytes=step_bytes,
        copy_bytes=copies,
        copy_share=step_bytes * decode.median / copies.median,
        ticker_late_p99=measuring.percentile(late, 0.99),
        ticker_late_max=max(late),
        ticks=len(late),
    )


async def _conditions(model: AsyncModel, place: loading.Place, load_before: list[float] | None) -> dict[str, Any]:
    async def provenance(core: Core) -> Provenance:
        return core.provenance

    by = await model.run_on_engine(provenance)
    return {
        "model": {"file": model.name, "bytes": os.path.getsize(place.path), "context": model.context},
        "adapter": {"name": by.adapter, "kind": model.adapter.kind, "backend": by.backend, "driver": by.driver},
        **circumstances(load_before),
        "arithmetic": by.arithmetic,
        "kv_dtype": by.kv_dtype,
        "kernels": asdict(by.kernels),
    }
