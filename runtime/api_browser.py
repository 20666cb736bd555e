"""The public functions in a browser, under Pyodide."""

from typing import Any

from .core import LoadProgress, load_core, make_tokenizer
from .errors import TokenizerError
from .formats import read_checkpoint
from .host import ByteSource, Gpu
from .hosts.browser import host as browser
from .hosts.browser.files import file_key, open_source
from .hosts.browser.loop import EngineLoop
from .inspection import Inspection, inspect_source
from .model import AsyncModel
from .planner.choice import Arithmetic, KvDtype
from .tokenizer import Tokenizer


async def load_async(
    source: Any,
    *,
    context: int | None = None,
    kv_dtype: KvDtype = "f16",
    arithmetic: Arithmetic = "exact",
    tuning: bool = False,
    progress: LoadProgress | None = None,
    open_file: Any = browser.open_file,
) -> AsyncModel:
    """Load a model from a URL or a JavaScript File; from the URL of the first of its files, or from all its Files.

    What comes from a URL is kept in IndexedDB, and comes from there the next time. `progress` is told of bytes on the
    GPU and in all. `tuning` times kernels for a second of the first load; it is not the default, because compiling them
    makes a first visit longer. Where the device is lost, answers go on on another. Raises what `load` raises on a
    desktop.
    """

    async def reopen() -> tuple[Gpu, ByteSource]:
        gpu = await browser.open_gpu()
        try:
            return gpu, await open_source(source, open_file)
        except BaseException:
            gpu.close()
            raise

    gpu = await browser.open_gpu()  # first: without one nothing is downloaded
    try:
        file = await open_source(source, open_file)
        try:
            store = browser.open_store()
            codecs = await browser.KeptCodecs.open(store, file_key(file))
            core = await load_core(
                file,
                gpu,
                codecs.make,
                store,
                context=context,
                kv_dtype=kv_dtype,
                arithmetic=arithmetic,
                tuning=tuning,
                progress=progress,
                reopen=reopen,
            )
            await codecs.keep()
            await core.prepare()
        finally:
            file.close()
    except BaseException:
        gpu.close()
        raise
    return AsyncModel(EngineLoop(), core, browser.logits_array)


async def load_tokenizer_async(source: Any, *, open_file: Any = browser.open_header) -> Tokenizer:
    """The tokenizer of a model's file alone: needs no GPU, and reads and stores no weights.

    Raises TokenizerError, InvalidFile, and what `load_async` raises where a file cannot be read.
    """
    file = await open_source(source, open_file)
    try:
        checkpoint = await read_checkpoint(file)
        tokenizer = make_tokenizer(checkpoint, browser.make_codec)
    finally:
        file.close()
    if tokenizer is None:
        raise TokenizerError(f"{checkpoint.name} has no tokenizer.")
    return tokenizer


async def inspect_async(
    source: Any,
    *,
    context: int | None = None,
    kv_dtype: KvDtype = "f16",
    open_file: Any = browser.open_header,
) -> Inspection:
    """What a model's file says of itself, what it would take to run it, and whether it would run here.

    Reads the headers alone, stores nothing, and opens no device. Raises what `inspect` raises on a desktop.
    """
    adapter = await browser.find_adapter()
    file = await open_source(source, open_file)
    try:
        return await inspect_source(
            file, browser.make_codec, adapter=adapter, free_memory=None, context=context, kv_dtype=kv_dtype
        )
    finally:
        file.close()
