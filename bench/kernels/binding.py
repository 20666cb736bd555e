"""Buffers of a step for subjects: weights of ordinary values, several copies of them, and activations between."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from shaderlm.engine.known_answers import KNOWN
from shaderlm.engine.known_model import blocks
from shaderlm.host import BoundBuffer, Buffer, Gpu, Usage
from shaderlm.planner.buffers import OFFSET_ALIGNMENT
from shaderlm.planner.memory import shared_sizes
from shaderlm.planner.plan import WHOLE, BufferRange, WeightSpec
from shaderlm.planner.vocabulary import VocabularyLayout
from shaderlm.tensors import WeightType, plane_offsets

from .subjects import Subject
from .timing import Repeated, Step, repeated

COLD_BYTES = 64 << 20  # of copies of a weight, so that it is not in a cache when its turn comes again
MOST_COPIES = 256
PATTERN_BYTES = 1 << 16  # of random blocks, which are repeated


@dataclass(frozen=True)
class Copies:
    """A weight several times in one buffer, from multiples of `stride` on."""

    buffer: Buffer
    size: int
    stride: int
    n: int


@dataclass
class Buffers:
    """What subjects bind. Weights, and all else by name and size, are shared between them until `close`."""

    gpu: Gpu
    cold_bytes: int = COLD_BYTES
    weights: dict[tuple[str, WeightType], Copies] = field(default_factory=dict)
    others: dict[tuple[str, object], tuple[Buffer, int]] = field(default_factory=dict)

    async def program(self, subject: Subject, seconds: float) -> Repeated:
        """A subject's dispatches, over and over, on one copy of its weights after the other."""
        kernels = [each.kernel.source for each in subject.dispatches]
        pipelines = await self.gpu.create_pipelines(kernels)
        specs = subject.blueprint.specs(subject.deployment)
        bound = [place for each in subject.dispatches for place in each.buffers if place.buffer.startswith("weight:")]
        names = [place.buffer.removeprefix("weight:") for place in bound]
        copies = {name: self.copies(specs[name]) for name in names}
        n = min([each.n for each in copies.values()], default=1)
        turns = [list(self._turn(subject, pipelines, copies, i)) for i in range(n)]
        return await repeated(self.gpu, turns, self._place(subject, _written(subject), copies, 0), seconds)

    def _turn(self, subject: Subject, pipelines: list[object], copies: dict[str, Copies], i: int) -> Iterator[Step]:
        for j, (each, pipeline) in enumerate(zip(subject.dispatches, pipelines, strict=True)):
            places = [self._place(subject, place, copies, i) for place in each.buffers]
            x, y, z = subject.counts[3 * j : 3 * j + 3]
            yield pipeline, self.gpu.create_bind_group(pipeline, places), (x, y, z)

    def _place(self, subject: Subject, place: BufferRange, copies: dict[str, Copies], i: int) -> BoundBuffer:
        weight = copies.get(place.buffer.removeprefix("weight:"))
        if weight is not None:
            return BoundBuffer(weight.buffer, i * weight.stride, weight.size)
        buffer, size = self.other(subject, place.buffer)
        return BoundBuffer(buffer, place.offset, size - place.offset if place.size == WHOLE else place.size)

    def copies(self, spec: WeightSpec) -> Copies:
        """A weight, filled. What is larger than `cold_bytes` is there once."""
        key = spec.name, spec.type
        if key not in self.weights:
            size = spec.resident_bytes
            stride = -(-size // OFFSET_ALIGNMENT) * OFFSET_ALIGNMENT
            most = min(self.cold_bytes + stride, self.gpu.adapter.limits["max-buffer-size"]) // stride
            n = 1 if spec.vector else max(1, min(MOST_COPIES, most))
            buffer = self.gpu.create_buffer(spec.name, n * stride)
            data = laid_out(spec)
            for i in range(n):
                self.gpu.write_buffer(buffer, i * stride, data)
            self.weights[key] = Copies(buffer, size, stride, n)
        return self.weights[key]

    def other(self, subject: Subject, name: str) -> tuple[Buffer, int]:
        """A buffer that is no weight; those of a plan alone are made for each plan."""
        plan, own = subject.plan, name in subject.plan.sizes
        key = (name, (id(plan) if own else id(subject.blueprint)))
        if key not in self.others:
            data = contents(subject, name)
            buffer = self.gpu.create_buffer(name, len(data), Usage.UNIFORM if name == "uniforms" else Usage.STORAGE)
            self.gpu.write_buffer(buffer, 0, data)
            self.others[key] = buffer, len(data)
        return self.others[key]

    def close(self) -> None:
        for copies in self.weights.values():
            self.gpu.destroy_buffer(copies.buffer)
        for buffer, _ in self.others.values():
            self.gpu.destroy_buffer(buffer)
        self.weights.clear()
        self.others.clear()


def _written(subject: Subject) -> BufferRange:
    """What the last dispatch writes."""
    last = subject.dispatches[-1]
    written = [i for i, binding in enumerate(last.kernel.bindings) if binding.access == "read_write"]
    return last.buffers[written[0]]


def contents(subject: Subject, name: str) -> bytes:
    """What a buffer holds: positions and pages as a sequence at that length has them, else numbers about 1."""
    plan, d = subject.plan, subject.deployment
    if name == "uniforms":
        return plan.uniforms
    if name == "rows":
        return b"".join(struct.pack("<4I", *row) for row in rows_of(subject))
    if name.startswith("kv:"):
        layer = subject.blueprint.layers[int(name.removeprefix("kv:"))]
        size = d.cache_pages * layer.page_bytes(d.kv_dtype)
        return about_one(size, "e" if d.kv_dtype == "f16" else "f")
    if name in plan.sizes:
        return about_one(plan.sizes[name], "f")
    size = shared_sizes(d, VocabularyLayout(plan.vocab_size))[name]
    if name == "pages":
        return struct.pack(f"<{size // 4}I", *range(size // 4))
    return (b"\xff" if name == "vocabulary" else b"\0") * size


def rows_of(subject: Subject) -> Iterator[tuple[int, int, int, int]]:
    """(slot, position, done, output row): of a prefill one slot's last positions, in decode the same one for all."""
    mode, n = subject.rows
    for i in range(n):
        first = subject.positions - n if mode == "prefill" else subject.positions - 1 - i
        yield 0, max(0, first + i), 0, i if mode == "decode" else 0


def about_one(size: int, letter: str) -> bytes:
    """Numbers between 1/2 and 3/2: f32 for "f", f16 for "e"."""
    rng = random.Random(size)
    pattern = struct.pack(f"<{1024}{letter}", *(rng.uniform(0.5, 1.5) for _ in range(1024)))
    return (pattern * -(-size // len(pattern)))[:size]


def laid_out(spec: WeightSpec) -> bytes:
    """A weight as it lies on the GPU: random blocks, with scales as trained weights have them."""
    if spec.vector:
        return about_one(spec.resident_bytes, "f")
    kind, n = spec.type, spec.n_rows * spec.padded_blocks
    some = max(1, min(n, PATTERN_BYTES // kind.bytes))
    data = blocks(kind, some * kind.block, str(spec.name), bytes.fromhex(KNOWN[kind.name].scale))
    starts = plane_offsets(kind, n)
    laid = kind.codebook + bytes(starts[0] - len(kind.codebook))
    for plane, end in zip(kind.planes, starts[1:], strict=True):
        each = (data[i * kind.bytes + plane.offset :][: plane.size] for i in range(some))
        pattern = b"".join(each)
        laid += (pattern * -(-n // some))[: n * plane.size]
        laid += bytes(end - len(laid))
    return laid
