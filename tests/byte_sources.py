"""A `ByteSource` over bytes, which remembers what was read; and a way to await without a loop."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class BytesSource:
    """`claimed` bytes long, where a test wants that to be a lie."""

    data: bytes
    name: str = "model.gguf"
    claimed: int | None = None
    reads: list[tuple[int, int]] = field(default_factory=list)  # (offset, size)

    @property
    def size(self) -> int:
        return len(self.data) if self.claimed is None else self.claimed

    async def read(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        return self.data[offset : offset + size]

    async def chunk(self, offset: int, size: int) -> memoryview:
        return memoryview(self.data)[offset : offset + size]


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)
