"""What bounds an adapter: bytes copied a second, multiply-adds a second in registers, the time of an empty dispatch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shaderlm.cli.measuring import COPY_BYTES, copy_seconds
from shaderlm.host import BoundBuffer, Gpu, Usage
from shaderlm.planner.compose import parse

from .timing import Repeated, repeated

HERE = Path(__file__).resolve().parent
LANES, GROUPS = 64, 2048
SUMS, ROUNDS = 8, 512  # of multiply_adds.wgsl, per lane
UNROLLED = 8


class Ceiling(Protocol):
    """A bound, as one figure."""

    name: str

    async def sample(self) -> float:
        """Measure it once."""


@dataclass
class CopyBandwidth:
    """Bytes read and bytes written a second by copies between two buffers."""

    gpu: Gpu
    source: object
    target: object
    size: int
    copies: int = 1
    name: str = "bytes_per_second"

    async def sample(self) -> float:
        seconds = await copy_seconds(self.gpu, self.source, self.target, self.size, self.copies)
        return 2 * self.size * self.copies / seconds


@dataclass
class MultiplyAdds:
    """Multiply-adds a second of independent sums in registers, of f32."""

    program: Repeated
    name: str = "multiply_adds_per_second"

    async def sample(self) -> float:
        return LANES * GROUPS * SUMS * UNROLLED * ROUNDS / (await self.program.sample()).seconds


@dataclass
class EmptyDispatch:
    """Seconds of a dispatch of one lane that waits for the one before it."""

    program: Repeated
    name: str = "empty_dispatch_seconds"

    async def sample(self) -> float:
        return (await self.program.sample()).seconds


async def ceilings(gpu: Gpu, seconds: float, *, copy_bytes: int = COPY_BYTES) -> list[Ceiling]:
    """All three, warmed up, with samples that take about `seconds` each."""
    return [
        await _copy_bandwidth(gpu, seconds, copy_bytes),
        MultiplyAdds(await _repeated(gpu, "multiply_adds.wgsl", LANES * GROUPS, GROUPS, seconds)),
        EmptyDispatch(await _repeated(gpu, "empty.wgsl", LANES, 1, seconds)),
    ]


async def _copy_bandwidth(gpu: Gpu, seconds: float, size: int) -> CopyBandwidth:
    free = gpu.available_memory()
    size = min(size, gpu.adapter.limits["max-buffer-size"], (free or size * 8) // 8) // 16 * 16
    found = CopyBandwidth(gpu, gpu.create_buffer("copy source", size), gpu.create_buffer("copy target", size), size)
    while 2 * size * found.copies / await found.sample() < seconds:
        found.copies *= 2
    return found


async def _repeated(gpu: Gpu, file: str, words: int, groups: int, seconds: float) -> Repeated:
    kernel = parse((HERE / file).read_text(encoding="utf-8"), file.removesuffix(".wgsl"))
    values = gpu.create_buffer("values", 4 * words, Usage.STORAGE)
    gpu.write_buffer(values, 0, words * b"\0\0\x80\x3f")
    place = BoundBuffer(values, 0, 4 * words)
    [pipeline] = await gpu.create_pipelines([kernel.source])
    bound = gpu.create_bind_group(pipeline, [place])
    return await repeated(gpu, [[(pipeline, bound, (groups, 1, 1))]], place, seconds)
