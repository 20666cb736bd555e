"""What a test sees of a model besides its answers: what its engine holds and did, and what is alive around it."""

import gc
import threading
from pathlib import Path
from typing import Any

import wgpu

from engines import forget_prefixes
from shaderlm import Model


def rows_computed(model: Model) -> int:
    """Rows that the engine computed so far, without padding."""

    async def read(core: Any) -> int:
        return int(core.engine.rows_computed)

    return model.run_on_engine(read)


def held(model: Model) -> dict[str, Any]:
    """Slots and pages in use between answers, once known prefixes are forgotten."""

    async def read(core: Any) -> dict[str, Any]:
        engine = core.engine
        forget_prefixes(engine)
        used = [pool.capacity - len(pool.free) for pool in engine.cache.pools]
        return {"slots": engine.deployment.slots - len(engine.free_slots), "pages": used}

    return model.run_on_engine(read)


NOTHING = {"slots": 0, "pages": [0]}


def live_objects(model: Model) -> dict[str, int]:
    """GPU objects and bytes by the host's own count."""

    async def read(core: Any) -> dict[str, int]:
        return dict(core.gpu.live_objects())

    return model.run_on_engine(read)


def wgpu_objects() -> dict[str, int]:
    """What wgpu-py has alive, in all of this process."""
    gc.collect()
    return {name: entry["count"] for name, entry in wgpu.diagnostics.object_counts.get_dict().items()}


def more_than(before: dict[str, int]) -> dict[str, int]:
    """What wgpu-py has alive now beyond `before`."""
    return {name: count - before[name] for name, count in wgpu_objects().items() if count > before[name]}


def anonymous_memory() -> int:
    """Bytes of this process that no file holds."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def engine_threads() -> int:
    return sum(thread.name == "shaderlm engine" for thread in threading.enumerate())
