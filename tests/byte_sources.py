"""A `ByteSource` over bytes, which remembers what was read, and what a GGUF file in memory is read into."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gguf_writer import Tensor, gguf_bytes
from shaderlm.formats.checkpoint import Checkpoint
from shaderlm.formats.gguf import read_gguf

ARCHITECTURE = {"general.architecture": "llama"}
T = TypeVar("T")


@dataclass
class BytesSource:
    """`claimed` bytes long, where a test wants that to be a lie."""

    data: bytes
    name: str = "model.gguf"
    claimed: int | None = None
    reads: list[tuple[int, int]] = field(default_factory=list)  # (offset, size)
    closed: bool = False

    @property
    def size(self) -> int:
        return len(self.data) if self.claimed is None else self.claimed

    async def read(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        return self.data[offset : offset + size]

    async def chunk(self, offset: int, size: int) -> memoryview:
        return memoryview(self.data)[offset : offset + size]

    def close(self) -> None:
        self.closed = True


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def checkpoint(metadata: dict[str, object], tensors: dict[str, Tensor] | None = None, **options: Any) -> Checkpoint:
    return wait(read_gguf(BytesSource(gguf_bytes({**ARCHITECTURE, **metadata}, tensors or {}, **options))))
