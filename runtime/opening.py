"""From a source to a model on a device: what has to be known before it is fetched, and what happens then."""

import os

from . import log
from .core import Core, LoadProgress, check_core, load_core
from .hosts.native import host as native
from .hosts.native.memory import available_memory
from .hosts.native.thread import beside
from .planner.choice import Arithmetic, KvDtype
from .stages import Stages

Source = str | os.PathLike[str]


async def check_before_fetching(
    source: Source,
    adapter: str | int | None,
    *,
    context: int | None,
    kv_dtype: KvDtype,
    arithmetic: Arithmetic = "exact",
) -> int:
    """Raise what would keep a model of the Hub from running here, before it is downloaded for nothing.

    Returns the bytes of its files, 0 for a model that is here.
    """
    remote = native.open_remote(source)
    if remote is None:
        return 0
    facts = native.choose_adapter(adapter).adapter.facts
    free = available_memory(facts)
    await check_core(remote, facts, free, native.make_codec, context=context, kv_dtype=kv_dtype, arithmetic=arithmetic)
    return remote.size


async def open_core(
    source: Source,
    adapter: str | int | None,
    context: int | None,
    kv_dtype: KvDtype,
    arithmetic: Arithmetic,
    verify: bool,
    tuning: bool,
    progress: LoadProgress,
) -> Core:
    """A source's model on a device; runs where the device shall live. Raises what `load` says."""
    log.configure_once(os.environ.get("SHADERLM_LOG"))
    await check_before_fetching(source, adapter, context=context, kv_dtype=kv_dtype, arithmetic=arithmetic)
    stages = Stages()
    with stages.stage("file"):
        file = native.open_source(source, check=verify, progress=progress)
    try:
        with stages.stage("adapter"):
            chosen = native.choose_adapter(adapter)
        with stages.stage("device"):
            gpu = native.open_gpu(chosen)
        try:
            store = None if os.environ.get("SHADERLM_SELF_TEST") == "off" else native.open_store()
            return await load_core(
                file,
                gpu,
                native.make_codec,
                store,
                context=context,
                kv_dtype=kv_dtype,
                arithmetic=arithmetic,
                tuning=tuning and os.environ.get("SHADERLM_TUNING") != "off",
                progress=progress,
                aside=beside,
                stages=stages,
            )
        except BaseException:
            gpu.close()
            raise
    finally:
        file.close()


class LoadWatch:
    """Passes progress on, and ends a load that nobody waits for any more."""

    def __init__(self, progress: LoadProgress | None) -> None:
        self._progress = progress
        self.abandoned = False

    def __call__(self, done: int, total: int) -> None:
        if self.abandoned:
            raise InterruptedError("nobody waits for this model any more")
        if self._progress is not None:
            self._progress(done, total)
