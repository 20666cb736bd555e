"""Where a core runs in a browser: on the worker's own event loop, one call after the other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from ...errors import ModelClosed
from ...streams import Stream

T = TypeVar("T")


class EngineLoop:
    """Coroutines really wait here, so a lock keeps a second call from running in between."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._closed = False

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine. Raises ModelClosed."""
        async with self._turn:
            self._refuse_if_closed()
            return await make()

    async def aiterate(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Items of a stream. Closing the iterator cancels it."""
        try:
            async with self._turn:
                self._refuse_if_closed()
                async with aclosing(stream.produce(stream)) as items:  # type: ignore[type-var]
                    async for item in items:
                        yield item
        finally:
            stream.cancel()

    async def aclose(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `last` behind the call that is under way, and refuse those that wait. A second call only waits."""
        first, self._closed = not self._closed, True
        async with self._turn:
            if first:
                await last()

    def close(self, last: Callable[[], Coroutine[Any, Any, None]], *, wait: bool = False) -> None:
        """As `aclose`, for a model that nobody holds any more."""
        self._closing = asyncio.ensure_future(self.aclose(last))

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ModelClosed("This model is closed. Load it again.")
