"""Bytes on their way from the GPU, and the task that waits for them."""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any

Wake = Callable[["Readback"], object]


class Readback:
    """Awaited by one task, which goes on within the very call that brings the bytes.

    It waits as asyncio's tasks do for futures of others (`_asyncio_future_blocking`, `add_done_callback`). A future of
    asyncio's own would wake it in the loop's next round: in a browser a message of the worker to itself, which takes
    longer than all else that Python does in a step.
    """

    _asyncio_future_blocking = False

    def __init__(self) -> None:
        self._data: bytes | None = None
        self._error: BaseException | None = None
        self._wake: tuple[Wake, Context] | None = None
        self._loop = asyncio.get_running_loop()

    def arrive(self, data: bytes | None, error: BaseException | None = None) -> None:
        """Take the bytes, or what went wrong instead, and let the task go on."""
        self._data, self._error = data, error
        if self._wake is None:
            return
        wake, context = self._wake
        if asyncio.current_task(self._loop) is None:
            context.run(wake, self)
        else:  # a task stands on a stack that JavaScript put aside: two can't run at once
            self._loop.call_soon(wake, self, context=context)

    def __await__(self) -> Generator["Readback", None, bytes]:
        if self._data is None and self._error is None:
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    # What a task asks of a future

    def result(self) -> bytes:
        if self._error is not None:
            raise self._error
        assert self._data is not None
        return self._data

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, wake: Wake, *, context: Context) -> None:
        self._wake = wake, context

    def cancel(self, msg: Any = None) -> bool:
        """No: a cancelled task learns it when the bytes are here, which is soon."""
        return False
