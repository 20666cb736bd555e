"""The public functions in a browser, under Pyodide."""

from typing import Any

from .core import LoadProgress, load_core
from .host import ByteSource, Gpu
from .hosts.browser import host as browser
from .hosts.browser.files import file_key, open_source
from .hosts.browser.loop import EngineLoop
from .model import AsyncModel
from .planner.choice import KvDtype


async def load_async(
    source: Any,
    *,
    context: int | None = None,
    kv_dtype: KvDtype = "f16",
    progress: LoadProgress | None = None,
    open_file: Any = browser.open_file,
) -> AsyncModel:
    """Load a model from a URL or a JavaScript File; the URL of the first of several files stands for all.

    What comes from a URL is kept in IndexedDB, and comes from there the next time. `progress` is told of bytes on the
    GPU and in all. Where the device is lost, answers go on on another. Raises what `load` raises on a desktop.
    """

    async def reopen() -> tuple[Gpu, ByteSource]:
        return await browser.open_gpu(), await open_source(source, open_file)

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
