"""The public functions on a desktop: `load`, `load_tokenizer`, `inspect`, and a form of each for event loops."""

import asyncio
from typing import TYPE_CHECKING

from .core import Core, LoadProgress, make_tokenizer
from .errors import NoAdapter
from .formats import read_checkpoint
from .hosts.native import host as native
from .hosts.native.memory import available_memory
from .hosts.native.thread import EngineThread, run_now
from .inspection import Inspection, inspect_source
from .model import AsyncModel, Model
from .opening import LoadWatch, Source, open_core
from .planner.choice import Arithmetic, KvDtype
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from concurrent.futures import Future


def load(
    source: Source,
    *,
    context: int | None = None,
    adapter: str | int | None = None,
    kv_dtype: KvDtype = "f16",
    arithmetic: Arithmetic = "exact",
    verify: bool = False,
    tuning: bool = True,
    progress: LoadProgress | None = None,
) -> Model:
    """Load a model: from a file, the first of its files, a folder with one model, or by its name.

    A name is one of the catalogue, such as "smollm2", or of the Hugging Face Hub, "hf:owner/repo[/file][@revision]".

    context: tokens that a prompt and its answer may have together; None takes the model's own, or what memory allows.
    adapter: a part of the adapter's name, or its index in `shaderlm devices`; None takes the best.
    kv_dtype: precision of the KV cache.
    arithmetic: "fast" may round what a prompt's linears read to bytes, where that is faster; answers say which ran.
    verify: hold the file against the SHA-256 in FILE.sha256 beside it, which must be there.
    tuning: compute by the kernels that timing found to be the fastest on this adapter; False takes the defaults.
    progress: called with bytes done and in all, on another thread: of a download, of verifying, of loading in turn.

    Kernels are timed for a second of a model's first load, and while nothing is asked of it, for its next load; finds
    are kept. They differ in the last bits of what they compute, so only `tuning=False` computes alike at every start.

    Raises ModelNotFound, InvalidFile, UnknownArchitecture, UnknownWeightType, InvalidConfig, TensorMismatch,
    TokenizerError, NoAdapter, UnsuitableAdapter, ModelTooLarge, OutOfMemory, DeviceLost, InvalidOption,
    ChecksumMismatch; and NetworkError, AccessDenied, NoSpace or CacheNotWritable where it has to be fetched.
    """
    thread, told = EngineThread(), LoadWatch(progress)
    opening = thread.submit(lambda: open_core(source, adapter, context, kv_dtype, arithmetic, verify, tuning, told))
    try:
        core = opening.result()
        thread.when_idle(core.tune_while)
        return Model(thread, core, native.logits_array)
    except BaseException:
        told.abandoned = True
        thread.close(lambda: _undo(opening))
        raise


async def load_async(
    source: Source,
    *,
    context: int | None = None,
    adapter: str | int | None = None,
    kv_dtype: KvDtype = "f16",
    arithmetic: Arithmetic = "exact",
    verify: bool = False,
    tuning: bool = True,
    progress: LoadProgress | None = None,
) -> AsyncModel:
    """As `load`, for an event loop; in a browser from a URL, a JavaScript File, or all Files of a model."""
    thread, told = EngineThread(), LoadWatch(progress)
    opening = thread.submit(lambda: open_core(source, adapter, context, kv_dtype, arithmetic, verify, tuning, told))
    try:
        core = await asyncio.wrap_future(opening)
        thread.when_idle(core.tune_while)
        return AsyncModel(thread, core, native.logits_array)
    except BaseException:
        told.abandoned = True
        await asyncio.get_running_loop().run_in_executor(None, thread.close, lambda: _undo(opening))
        raise


def load_tokenizer(source: Source) -> Tokenizer:
    """The tokenizer of a model's file alone: needs no GPU and reads (on the Hub: fetches) no weights.

    Raises TokenizerError, InvalidFile, and what `load` raises where a name is not found.
    """
    file = native.open_headers(source)
    try:
        checkpoint = run_now(read_checkpoint(file))
        tokenizer = make_tokenizer(checkpoint, native.make_codec)
    finally:
        file.close()
    if tokenizer is None:
        from .errors import TokenizerError

        raise TokenizerError(f"{checkpoint.name} has no tokenizer.")
    return tokenizer


async def load_tokenizer_async(source: Source) -> Tokenizer:
    """As `load_tokenizer`, for an event loop."""
    return await asyncio.to_thread(load_tokenizer, source)


def inspect(
    source: Source,
    *,
    context: int | None = None,
    adapter: str | int | None = None,
    kv_dtype: KvDtype = "f16",
) -> Inspection:
    """What a model's file says of itself, what it would take to run it, and whether it would run here.

    Reads the headers alone and opens no GPU. `context`, `adapter` and `kv_dtype` as for `load`; without any adapter on
    the machine the report has none. Raises ModelNotFound, InvalidFile, UnknownWeightType, InvalidConfig,
    TokenizerError; and NoAdapter where the one asked for is not there.
    """
    try:
        facts = native.choose_adapter(adapter).adapter.facts
    except NoAdapter:
        if adapter is not None:
            raise
        facts = None
    file = native.open_headers(source)
    try:
        free = available_memory(facts) if facts else None
        report = inspect_source(
            file, native.make_codec, adapter=facts, free_memory=free, context=context, kv_dtype=kv_dtype
        )
        return run_now(report)
    finally:
        file.close()


async def inspect_async(
    source: Source,
    *,
    context: int | None = None,
    adapter: str | int | None = None,
    kv_dtype: KvDtype = "f16",
) -> Inspection:
    """As `inspect`, for an event loop."""
    return await asyncio.to_thread(inspect, source, context=context, adapter=adapter, kv_dtype=kv_dtype)


async def _undo(opening: "Future[Core]") -> None:
    """Free what came of a load that was abandoned just as it ended."""
    if not opening.cancelled() and opening.exception() is None:
        await opening.result().close()
