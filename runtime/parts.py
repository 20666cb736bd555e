"""Models that lie in several files: what the files are called, and a source that joins them end to end.

The first of N parts is called NAME-00001-of-0000N.gguf, as llama.cpp's splitter has it. Names are all that is looked
at here, so that it serves a folder, a repository and the last piece of a URL alike.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from .host import ByteSource, Chunk

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)", re.DOTALL)


@dataclass(frozen=True)
class PartName:
    """The name of a part: the `number`th, from 1 on, of `count`. `stem` may begin with folders."""

    stem: str
    number: int
    count: int
    suffix: str  # ".gguf"

    def __str__(self) -> str:
        return f"{self.stem}-{self.number:05}-of-{self.count:05}{self.suffix}"

    def all(self) -> tuple[str, ...]:
        """The names of all parts, the first one first."""
        return tuple(str(PartName(self.stem, n, self.count, self.suffix)) for n in range(1, self.count + 1))


def part_name(name: str) -> PartName | None:
    """What a file's name says of its being a part; None for the name of a whole file."""
    found = _PART.fullmatch(name)
    if not found:
        return None
    number, count = int(found["number"]), int(found["count"])
    return PartName(found["stem"], number, count, found["suffix"]) if 1 <= number <= count else None


def files_of(name: str) -> tuple[str, ...]:
    """The names of all files of the model that the file called `name` belongs to, the first one first."""
    part = part_name(name)
    return part.all() if part else (name,)


def models_among(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The models that files of these names make: by the name of its first file, those of all its files.

    A set of parts is one model, even where some of them are not among `names`.
    """
    sets = (files_of(name) for name in sorted(names))
    return {files[0]: files for files in sets}


class JoinedSource:
    """Sources end to end as one: offsets count from the start of the first. No chunk reaches over an end."""

    def __init__(self, parts: Sequence[ByteSource]) -> None:
        self.parts = tuple(parts)
        self.name = parts[0].name
        self.starts = (0, *accumulate(part.size for part in parts))[:-1]
        self.size = sum(part.size for part in parts)

    async def read(self, offset: int, size: int) -> bytes:
        """Fewer than `size` bytes only at the end of the last part."""
        pieces = []
        for start, part in zip(self.starts, self.parts, strict=True):
            first, end = max(offset, start), min(offset + size, start + part.size)
            if first < end:
                pieces.append(await part.read(first - start, end - first))
        return b"".join(pieces)

    async def chunk(self, offset: int, size: int) -> Chunk:
        """Bytes of the part that `offset` lies in. Raises what that part raises where they are not all its own."""
        i = bisect_right(self.starts, offset) - 1
        return await self.parts[i].chunk(offset - self.starts[i], size)

    def close(self) -> None:
        """Close every part."""
        for part in self.parts:
            part.close()
