"""What `bench --start` does in processes of their own: a start, or only its weights, or only as many bytes."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from .. import api
from ..core import Core
from ..engine.blueprint import Blueprint, blueprint
from ..engine.weights import load_weights
from ..formats import read_checkpoint
from ..host import ByteSource
from ..hosts.native import host as native
from ..hosts.native.gpu import NativeGpu
from ..hosts.native.thread import run_now
from ..planner.memory import STAGING_BYTES
from ..planner.plan import WeightSpec
from ..stages import Stages

PROMPT_TOKENS = 16


def main(begun: float) -> None:
    """Do what the JSON on stdin asks for; `begun` is when this process's first statement ran."""
    imported = time.perf_counter()
    asked = json.load(sys.stdin)
    print(json.dumps(start(asked, begun, imported) if asked["what"] == "start" else on_device(asked)))


def start(asked: dict[str, Any], begun: float, imported: float) -> dict[str, Any]:
    """One start, from `asked["spawned"]` (the parent's clock, which is ours) to a first token: its stages in seconds.

    Each has when it began, counted from the start, and how long it took.
    """
    options = {name: asked[name] for name in ("adapter", "context", "kv_dtype", "arithmetic", "tuning")}
    model = api.load(asked["path"], **options)
    loaded = time.perf_counter()

    async def read(core: Core) -> tuple[Stages, int]:
        return core.stages, core.engine.vocabulary.size

    stages, vocabulary = model.run_on_engine(read)
    prompt = [(7919 * i + 12345) % vocabulary for i in range(PROMPT_TOKENS)]
    model.complete(prompt, max_tokens=1)
    answered = time.perf_counter()
    cpu = time.process_time()
    model.close()
    spans = [
        ("Python", asked["spawned"], begun),
        ("import", begun, imported),
        *((stage.name, stage.begin, stage.end) for stage in sorted(stages, key=lambda stage: stage.begin)),
        ("load", imported, loaded),
        ("first token", loaded, answered),
    ]
    return {
        "total": answered - asked["spawned"],
        "cpu": cpu,
        "stages": {name: {"begin": begin - asked["spawned"], "seconds": end - begin} for name, begin, end in spans},
    }


def on_device(asked: dict[str, Any]) -> dict[str, float]:
    """Seconds to load the model's weights, or to read its file and to write as many bytes into buffers of their sizes.

    In either case nothing else goes on.
    """
    source = native.open_source(asked["path"])
    gpu = native.open_gpu(native.choose_adapter(asked["adapter"]))
    try:
        model = blueprint(run_now(read_checkpoint(source)))
        deployment = model.fitting(gpu.adapter, None, context=asked["context"], kv_dtype=asked["kv_dtype"])
        specs = model.specs(deployment)
        return weights(gpu, model, specs) if asked["what"] == "weights" else bytes_alone(gpu, source, specs)
    finally:
        source.close()
        gpu.close()


def weights(gpu: NativeGpu, model: Blueprint, specs: Mapping[str, WeightSpec]) -> dict[str, float]:
    """As a start loads them: read, uploaded and laid out."""
    begun, cpu = time.perf_counter(), time.process_time()
    run_now(load_weights(gpu, model.checkpoint, specs, lambda _: None))
    return {"weights": time.perf_counter() - begun, "weights_cpu": time.process_time() - cpu}


def bytes_alone(gpu: NativeGpu, source: ByteSource, specs: Mapping[str, WeightSpec]) -> dict[str, float]:
    """The file's bytes once through Python's hands, and bytes at hand once through the device's."""
    begun, cpu = time.perf_counter(), time.process_time()
    for offset in range(0, source.size, STAGING_BYTES):
        piece = run_now(source.read(offset, min(STAGING_BYTES, source.size - offset)))
    read = time.perf_counter()
    _upload(gpu, {name: spec.resident_bytes for name, spec in specs.items()}, piece + bytes(STAGING_BYTES - len(piece)))
    end = time.perf_counter()
    return {"read": read - begun, "upload": end - read, "bytes_cpu": time.process_time() - cpu}


def _upload(gpu: NativeGpu, sizes: dict[str, int], piece: bytes) -> None:
    for name, size in sizes.items():
        buffer = gpu.create_buffer(name, size)
        for offset, length in _pieces(size):
            gpu.write_buffer(buffer, offset, memoryview(piece)[:length])
    run_now(gpu.wait())


def _pieces(size: int) -> Iterator[tuple[int, int]]:
    for offset in range(0, size, STAGING_BYTES):
        yield offset, min(STAGING_BYTES, size - offset)
