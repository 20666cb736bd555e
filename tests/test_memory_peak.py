"""GPU bytes at any moment: weights, the slabs of the cache that are in use, and little else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines import opened
from gpu import Device
from shaderlm.engine.decode import Decoder
from shaderlm.engine.engine import Engine
from shaderlm.engine.prefill import prefill_and_sample
from shaderlm.engine.sequence import Sequence
from shaderlm.host import Buffer, Gpu, Usage
from shaderlm.hosts.native.thread import run_now
from shaderlm.planner.memory import RING, STAGING_BYTES
from tiny_model import TINY

ELSE = 12_000_000  # bytes that may be live beside weights and cache


class Watch:
    """What is live beside weights and cache, sampled whenever a buffer is made: that is when there is most."""

    def __init__(self) -> None:
        self.live: dict[int, tuple[str, int]] = {}
        self.most = 0
        self.largest: dict[str, int] = {}  # what was live then

    def sample(self, weights: frozenset[str]) -> None:
        beside: dict[str, int] = {}
        cache: dict[str, int] = {}
        for label, size in self.live.values():
            if label.startswith("kv "):  # of a layer that has two, one is in use: the other goes, or comes
                spare = min(size, cache.get(label, 0))
                cache[label] = max(size, cache.get(label, 0))
                beside["growing"] = beside.get("growing", 0) + spare
            elif label not in weights:
                beside[label] = beside.get(label, 0) + size
        if sum(beside.values()) > self.most:
            self.most, self.largest = sum(beside.values()), beside


@contextmanager
def watched(gpu: Gpu, path: Path, **options: int) -> Iterator[tuple[Engine, Watch]]:
    """An engine whose device's buffers are watched from before its load; names of weights are those of its tensors."""
    watch, make, destroy = Watch(), gpu.create_buffer, gpu.destroy_buffer

    def create_buffer(label: str, size: int, usage: Usage = Usage.STORAGE) -> Buffer:
        buffer = make(label, size, usage)
        watch.live[id(buffer)] = label, -(-max(size, 16) // 16) * 16
        watch.sample(frozenset(label for label, _ in watch.live.values() if ".weight" in label))
        return buffer

    def destroy_buffer(buffer: Buffer) -> None:
        watch.live.pop(id(buffer), None)
        destroy(buffer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "create_buffer", create_buffer)
        patch.setattr(gpu, "destroy_buffer", destroy_buffer)
        with opened(gpu, path, kv_dtype="f16", **options) as engine:
            yield engine, watch


def begin(engine: Engine, length: int, first: int) -> Sequence:
    """A sequence of `length` tokens, and the drawn one behind them."""
    sequence = engine.open_sequence()
    engine.set_tokens(sequence, [(first + 7 * i) % engine.vocabulary.size for i in range(length)])
    engine.set_neutral_sampling(sequence)
    run_now(prefill_and_sample(engine, sequence))
    return sequence


def decode(engine: Engine, sequences: list[Sequence], steps: int) -> None:
    decoder = run_now(Decoder.open(engine, sequences))
    for _ in range(steps):
        run_now(decoder.read(decoder.submit()))


def everything(engine: Engine, lengths: tuple[int, ...]) -> None:
    """Prefill, decode in every number of rows, and a cache that grows with each sequence."""
    sequences: list[Sequence] = []
    for i, length in enumerate(lengths):
        sequences.append(begin(engine, length, i))
        decode(engine, sequences, 2)
    for sequence in sequences:
        engine.close_sequence(sequence)


def test_little_is_live_beside_weights_and_cache(gpu: Device) -> None:
    with watched(gpu.gpu, TINY, context=512, slots=8) as (engine, watch):
        loading = watch.most
        assert RING * STAGING_BYTES <= loading <= RING * STAGING_BYTES + (64 << 10), watch.largest
        watch.most = 0
        everything(engine, (500, 20, 300, 20, 20, 20, 20, 20))
        assert engine.cache.most_used() > 32
        assert 0 < watch.most < 3_000_000, watch.largest


def test_little_is_live_beside_smollm2s_weights_and_cache(gpu: Device, smollm2: Path) -> None:
    """A context that is long enough for several slabs, and eight sequences in a step."""
    with watched(gpu.gpu, smollm2, context=2048, slots=8) as (engine, watch):
        engine.reserve(engine.open_sequence(), 600)
        everything(engine, (16, 16, 16, 16, 16))
        assert {rows for mode, rows in engine.plans if mode == "decode"} == {1, 2, 4, 8}
        assert RING * STAGING_BYTES <= watch.most <= ELSE, watch.largest


def test_little_is_live_where_smollm2s_context_fills(gpu: Device, smollm2: Path) -> None:
    with watched(gpu.gpu, smollm2, context=8192) as (engine, watch):
        engine.reserve(engine.open_sequence(), 8192)
        run_now(engine.decode_plan(1))
        assert watch.most <= ELSE, watch.largest


def test_the_estimate_is_what_is_live_with_the_whole_context_in_use(gpu: Device) -> None:
    before = gpu.gpu.live_objects()["bytes"]
    with opened(gpu.gpu, TINY, context=512, kv_dtype="f16") as engine:
        decode(engine, [begin(engine, 509, 1)], 2)
        engine.cache.reserve(len(engine.cache.pools[0].free) + engine.deployment.cache_pages - engine.cache.most_used())
        live = gpu.gpu.live_objects()["bytes"] - before
        assert abs(live - engine.memory.in_use) < 4096, (live, engine.memory)
