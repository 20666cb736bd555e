"""A model's bytes in a browser: files.js downloads and caches them; those for the GPU never pass through Python."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from ...errors import InvalidOption, ModelNotFound
from ...parts import JoinedSource, files_of, models_among
from .failures import explained

Progress = Callable[[int, int], None]


class BrowserSource:
    """A `ByteSource` over files.js's object. Reading raises what downloading does: NetworkError and others."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.name = str(file.name)
        self.size = int(file.size)
        self.key = str(file.key)  # of what it is stored under, another for each version of the file

    async def read(self, offset: int, size: int) -> bytes:
        """Fewer than `size` bytes only at the end of the file."""
        with explained():
            found = await self._file.read(offset, size)
        data: bytes = found.to_bytes()
        return data

    async def chunk(self, offset: int, size: int) -> Any:
        """A JavaScript Uint8Array, once the download has got there."""
        with explained():
            return await self._file.chunk(offset, size)

    def close(self) -> None:
        """Stop what still runs for this file. Idempotent."""
        self._file.close()


def file_key(source: BrowserSource | JoinedSource) -> str:
    """What tells a model's (first) file from every other."""
    first = source.parts[0] if isinstance(source, JoinedSource) else source
    assert isinstance(first, BrowserSource)
    return first.key


async def open_source(source: Any, open_file: Callable[[Any], Any]) -> BrowserSource | JoinedSource:
    """The bytes of a model: a URL, the URL of the first of its files, a JavaScript File, or all Files or all URLs.

    `open_file` makes files.js's object for one of them. Raises InvalidOption for Files of several models, ModelNotFound
    where one is missing, and what opening does.
    """
    names = files_of(source) if isinstance(source, str) else parts_among(source)
    opened: list[BrowserSource] = []
    try:
        for name in names:
            with explained():
                opened.append(BrowserSource(await open_file(name)))
    except BaseException:
        for file in opened:
            file.close()
        raise
    return opened[0] if len(opened) == 1 else JoinedSource(opened)


def parts_among(source: Any) -> list[Any]:
    """The Files or URLs of one model, the first one first, out of a File or several."""
    files = {name_of(file): file for file in ([source] if hasattr(source, "name") else source)}
    models = models_among(files)
    if len(models) != 1:
        raise InvalidOption(
            f"source: {len(files)} files of {len(models)} models were given ({', '.join(models)}); give those of one."
        )
    [names] = models.values()
    missing = [name for name in names if name not in files]
    if missing:
        raise ModelNotFound(
            f"{names[0]} is one of {len(names)} files of its model, but {', '.join(missing)} was not given. "
            "Choose all of them together."
        )
    return [files[name] for name in names]


def name_of(file: Any) -> str:
    """The name of a JavaScript File, or of the file at a URL."""
    return unquote(urlsplit(file).path.rsplit("/", 1)[-1]) if isinstance(file, str) else str(file.name)
