"""Files on the Hub read where they are: for headers, before a model is fetched or without fetching it."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from huggingface_hub import constants, get_session
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from ...errors import NetworkError

Explained = Callable[[], AbstractContextManager[None]]


class RemoteSource:
    """A `ByteSource` over HTTP. `explained` makes a ShaderLMError of what goes wrong."""

    def __init__(self, name: str, url: str, size: int, explained: Explained) -> None:
        self.name = name
        self.size = size
        self._url = url
        self._explained = explained

    async def read(self, offset: int, size: int) -> bytes:
        """Fewer than `size` bytes only at the end of the file. Raises NetworkError, AccessDenied, ModelNotFound."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        with self._explained():
            return self._bytes(offset, size)

    async def chunk(self, offset: int, size: int) -> bytes:
        """As `read`."""
        return await self.read(offset, size)

    def close(self) -> None:
        """Nothing is held."""

    def _bytes(self, offset: int, size: int) -> bytes:
        headers = build_hf_headers(library_name="shaderlm")
        headers |= {"Accept-Encoding": "identity", "Range": f"bytes={offset}-{offset + size - 1}"}
        data = bytearray()
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", self._url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            skipped = offset if response.status_code != 206 else 0  # a server that knows no ranges starts at 0
            for piece in response.iter_bytes():
                data += piece
                if len(data) >= skipped + size:
                    break
        if len(data) < skipped + size:
            raise NetworkError(
                f"{self._url} gave {len(data) - skipped:,} bytes at byte {offset:,} where {size:,} were asked for. "
                "Start again in a while."
            )
        return bytes(data[skipped : skipped + size])
