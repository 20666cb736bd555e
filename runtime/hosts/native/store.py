"""A folder of small files: finds that are kept from one start to the next."""

import os
import tempfile
from pathlib import Path


class FileStore:
    """A `host.Store`. Whatever goes wrong with the disk, what was found is only found again next time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, key: str) -> bytes | None:
        try:
            return (self._folder / key).read_bytes()
        except OSError:
            return None

    async def put(self, key: str, data: bytes) -> None:
        """Whole or not at all, also where several processes write."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=self._folder, prefix=".")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(part, self._folder / key)
            except OSError:
                os.unlink(part)
        except OSError:
            pass
