"""Small finds in IndexedDB, kept from one visit to the next."""

from typing import Any

from pyodide.ffi import to_js


class BrowserStore:
    """A `host.Store` over files.js's functions, which give nothing where storage is refused."""

    def __init__(self, files: Any) -> None:
        self._files = files

    async def get(self, key: str) -> bytes | None:
        """What `put` was given last under this key."""
        found = await self._files.getFind(key)
        return found.to_bytes() if found else None

    async def put(self, key: str, data: bytes) -> None:
        """Whole or not at all."""
        await self._files.putFind(key, to_js(data))
