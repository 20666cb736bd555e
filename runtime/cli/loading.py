"""Loading a model for a command: which adapter, how far, and what came of it, all told on stderr."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import api
from ..core import Core
from ..host import Adapter
from ..hosts.native import adapters, checksums, sources
from ..hosts.native import host as native
from ..hosts.native.thread import run_now
from ..messages import Message
from ..model import AsyncModel, Model
from ..opening import check_before_fetching
from ..options import FOR_TEMPLATES, ChatOptions
from ..planner.choice import Arithmetic, KvDtype
from .arguments import UsageError
from .terminal import Bar, note, warn


@dataclass(frozen=True)
class Place:
    """Where a model comes from and where it goes."""

    path: str
    adapter: Adapter
    adapter_index: int
    context: int | None
    kv_dtype: KvDtype
    arithmetic: Arithmetic
    tuning: bool


def choose_place(source: str, arguments: argparse.Namespace) -> Place:
    """Find the model's file and an adapter, which is named. Raises ModelNotFound, NoAdapter, a download's errors."""
    if arguments.context is not None and arguments.context < 2:
        raise UsageError(f"context: must be at least 2, not {arguments.context}.")
    file = _first_file(source, arguments)
    chosen = native.choose_adapter(arguments.adapter)
    facts = chosen.adapter.facts
    note(f"adapter: {adapters.describe(facts)}")
    warning = adapters.warning(facts, chosen.found)
    if warning:
        warn(warning)
    index = chosen.found.index(chosen.adapter)
    return Place(file, facts, index, arguments.context, arguments.kv_dtype, arguments.arithmetic, arguments.tuning)


def _first_file(source: str, arguments: argparse.Namespace) -> str:
    """A model's file, fetched and checked as need be. What could not run here is not fetched."""
    context, kv_dtype, arithmetic = arguments.context, arguments.kv_dtype, arguments.arithmetic
    size = run_now(
        check_before_fetching(source, arguments.adapter, context=context, kv_dtype=kv_dtype, arithmetic=arithmetic)
    )
    if size:
        note(f"fetching {source}: {size / 1e6:,.1f} MB")
    with Bar("downloading", "bytes") as bar:
        files = sources.locate(source, bar)
    if arguments.verify:
        verify(files)
    return str(files[0])


def verify(files: Sequence[Path]) -> None:
    """Hold a model's files against their checksums. Raises ChecksumMismatch, InvalidOption."""
    with Bar("verifying", "bytes") as bar:
        checksums.verify(files, bar)


def load(place: Place) -> Model:
    """Load with a progress bar. Raises what `shaderlm.load` raises."""
    started = time.perf_counter()
    with Bar("loading", "bytes") as bar:
        model = api.load(
            place.path,
            context=place.context,
            adapter=place.adapter_index,
            kv_dtype=place.kv_dtype,
            arithmetic=place.arithmetic,
            tuning=place.tuning,
            progress=bar,
        )
    _tell(model, started)
    return model


async def load_async(place: Place) -> AsyncModel:
    """As `load`, for an event loop."""
    started = time.perf_counter()
    with Bar("loading", "bytes") as bar:
        model = await api.load_async(
            place.path,
            context=place.context,
            adapter=place.adapter_index,
            kv_dtype=place.kv_dtype,
            arithmetic=place.arithmetic,
            tuning=place.tuning,
            progress=bar,
        )
    _tell(model, started)
    return model


def _tell(model: Model | AsyncModel, started: float) -> None:
    for text in model.warnings:
        warn(text)
    note(f"{model.name}: loaded in {time.perf_counter() - started:.1f} s, {context_taken(model)}")


def context_taken(model: Model | AsyncModel) -> str:
    """ "context 2,048 of the model's 8,192 tokens, 150 MB": what was taken, and why."""
    taken, own = model.context, model.trained_context
    tokens = f"{taken:,} tokens" if taken >= own else f"{taken:,} of the model's {own:,} tokens"
    beyond = f" (the model is made for {own:,})" if taken > own else ""
    return f"context {tokens}{beyond}, {model.memory.total / 1e6:,.0f} MB with all of it in use"


def prompt_ids(model: Model, prompt: str | Sequence[Message], options: ChatOptions | None = None) -> list[int]:
    """Token ids of a text or of messages, as the model gets them. Raises TemplateError, TokenizerError."""
    told = {name: value for name, value in (options or {}).items() if name in FOR_TEMPLATES}

    async def request(core: Core) -> list[int]:
        made = core.prompt_request(prompt, {}) if isinstance(prompt, str) else core.chat_request(prompt, told)
        return list(made.prompt)

    return model.run_on_engine(request)


def check_chat(model: Model, options: ChatOptions) -> None:
    """Raise TemplateError or TokenizerError for a model that cannot chat, before anybody has typed a message."""
    prompt_ids(model, [{"role": "user", "content": "Hello!"}], options)
