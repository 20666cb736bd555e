"""The engine thread: it owns the device, and steps the core's coroutines one job after the other.

Natively nothing that the core awaits is ever pending: a wait is a call that blocks this thread. So a coroutine runs to
its end in one go, and callers elsewhere, on whatever thread or event loop, only wait for messages.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from ...errors import InvalidOption, ModelClosed
from ...log import event
from ...streams import Stream

T = TypeVar("T")

Job = Callable[[], None]
WhenIdle = Callable[[Callable[[], bool]], Coroutine[Any, Any, bool]]

IDLE_SECONDS = 1.0  # without a call, after which there is time for other things
Deliver = Callable[["Message"], None]


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose awaits are all ready."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a native coroutine waited for something that is not ready")


def beside(make: Callable[[], T]) -> Future[T]:
    """`host.Aside`: on a thread of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(make())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="shaderlm aside", daemon=True).start()
    return future


@dataclass(frozen=True)
class Message:
    """An item of a stream, or its end, or the error that ended it."""

    item: Any = None
    error: BaseException | None = None
    last: bool = False


class EngineThread:
    """A thread with a queue of jobs. It ends when it is closed, or with the program."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.RLock()  # no job is queued behind the end; collecting garbage may close in mid-call
        self._end: Future[None] | None = None
        self._when_idle: WhenIdle | None = None
        self._thread = threading.Thread(target=self._work, name="shaderlm engine", daemon=True)
        self._thread.start()

    def submit(self, make: Callable[[], Coroutine[Any, Any, T]]) -> "Future[T]":
        """Run a coroutine on the thread; the future gets its result. Raises ModelClosed."""
        future: Future[T] = Future()
        self._put(_job(make, future))
        return future

    def call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the thread and wait for its result."""
        self._refuse_own_calls()
        return self.submit(make).result()

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """As `call`, for a caller's event loop, which is never blocked."""
        return await asyncio.wrap_future(self.submit(make))

    def iterate(self, stream: Stream[T]) -> Iterator[T]:
        """Items of a stream, for a caller that may wait. Closing the iterator cancels the stream."""
        self._refuse_own_calls()
        messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._start(stream, messages.put)
        try:
            while True:
                message = messages.get()
                if message.error is not None:
                    raise message.error
                if message.last:
                    return
                yield message.item
        finally:
            stream.cancel()

    async def aiterate(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Items of a stream on the caller's event loop, which is never blocked."""
        loop = asyncio.get_running_loop()
        messages: asyncio.Queue[Message] = asyncio.Queue()

        def deliver(message: Message) -> None:
            try:
                loop.call_soon_threadsafe(messages.put_nowait, message)
            except RuntimeError:  # the loop was closed, so nobody listens
                stream.cancel()

        self._start(stream, deliver)
        try:
            while True:
                message = await messages.get()
                if message.error is not None:
                    raise message.error
                if message.last:
                    return
                yield message.item
        finally:
            stream.cancel()

    def when_idle(self, make: WhenIdle) -> None:
        """Run a coroutine whenever nothing was called for a while, as long as it returns True.

        It is told how to ask whether it is still so, and is to return soon when it is not.
        """
        self._when_idle = make
        self._put(lambda: None)  # wakes the thread, which knew of nothing to do

    def close(self, last: Callable[[], Coroutine[Any, Any, None]], *, wait: bool = True) -> None:
        """Run `last` behind all jobs that are queued, then end. A second call only waits for the first."""
        with self._lock:
            if self._end is None:
                self._end = Future()
                self._jobs.put(_job(last, self._end))
                self._jobs.put(None)
        if wait and threading.current_thread() is not self._thread:
            self._end.result()
            self._thread.join()

    async def aclose(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """As `close`, for a caller's event loop, which is never blocked."""
        await asyncio.get_running_loop().run_in_executor(None, self.close, last)

    def _put(self, job: Job) -> None:
        with self._lock:
            if self._end is not None:
                raise ModelClosed("This model is closed. Load it again.")
            self._jobs.put(job)

    def _start(self, stream: Stream[T], deliver: Deliver) -> None:
        async def drain() -> None:
            async for item in stream.produce(stream):
                deliver(Message(item))

        def job() -> None:
            try:
                run_now(drain())
                deliver(Message(last=True))
            except BaseException as error:
                deliver(Message(error=error))

        self._put(job)

    def _do_when_idle(self, make: WhenIdle) -> None:
        goes_on = False
        try:
            goes_on = run_now(make(self._jobs.empty))
        except Exception as error:  # nobody waits for it, and calls are to be answered all the same
            event("idle", error=repr(error))
        if not goes_on:
            self._when_idle = None

    def _refuse_own_calls(self) -> None:
        if threading.current_thread() is self._thread:
            raise InvalidOption(
                "progress: the callback runs on the model's own thread, where another call on the model would wait for "
                "itself. Call the model from elsewhere."
            )

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
            del job  # or the thread would hold on to the last answer while it waits

    def _next(self) -> Job | None:
        """The next job, None at the end; until it comes, what is done when idle."""
        while self._when_idle is not None:
            try:
                return self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._do_when_idle(self._when_idle)
        return self._jobs.get()


def _job(make: Callable[[], Coroutine[Any, Any, T]], future: "Future[T]") -> Job:
    def job() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(run_now(make()))
            except BaseException as error:  # whatever it is, the caller shall have it
                future.set_exception(error)

    return job
