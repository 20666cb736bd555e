"""A loaded model as people meet it: `Model` for programs that wait, `AsyncModel` for event loops."""

import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack

from .core import Core, Prompt
from .generation import Chunk, Completion, Request
from .host import Adapter
from .messages import Message
from .options import ChatOptions, Options
from .planner.memory import MemoryEstimate
from .streams import Stream
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Progress = Callable[[int, int], None]
AsArray = Callable[[Iterable[bytes], int], Any]  # logits in f32, some rows at a time, and their width: one array


class AsyncRunner(Protocol):
    """Where a core's coroutines run, one after the other, seen from an event loop."""

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine. Raises ModelClosed."""

    def aiterate(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Items of a stream; closing the iterator cancels it."""

    async def aclose(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `last` behind all that waits, then refuse more. Idempotent."""

    def close(self, last: Callable[[], Coroutine[Any, Any, None]], *, wait: bool = True) -> None:
        """As `aclose`, for a model that nobody holds any more, which waits for nothing."""


class Runner(AsyncRunner, Protocol):
    """Where a core's coroutines run, seen from threads that may wait for them."""

    def call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine. Raises ModelClosed."""

    def iterate(self, stream: Stream[T]) -> Iterator[T]:
        """Items of a stream; closing the iterator cancels it."""


class _Loaded:
    """What both faces share: a core, and where it runs."""

    def __init__(self, runner: AsyncRunner, core: Core, as_array: AsArray) -> None:
        self._core = core
        self._as_array = as_array
        self._streams: set[Stream[Chunk | Completion]] = set()
        forgotten = weakref.finalize(self, runner.close, core.close, wait=False)  # a model that nobody closed
        forgotten.atexit = False

    @property
    def name(self) -> str:
        """The model's file."""
        return self._core.name

    @property
    def context(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        return self._core.engine.deployment.context

    @property
    def trained_context(self) -> int:
        """Tokens that the model's file allows; `context` is less where memory asked for it, or the caller."""
        return self._core.engine.model.config.context_length

    @property
    def tokenizer(self) -> Tokenizer:
        """Raises TokenizerError where the file has none."""
        return self._core.text_tokenizer()

    @property
    def adapter(self) -> Adapter:
        """The adapter that the model runs on."""
        return self._core.gpu.adapter

    @property
    def memory(self) -> MemoryEstimate:
        """What the model takes with its whole context in use."""
        return self._core.engine.memory

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know: kernels that compute wrongly on this adapter and are not used."""
        return self._core.warnings

    def cancel(self) -> None:
        """End every answer that is being generated or waits for its turn: they finish with the reason "cancelled"."""
        for stream in list(self._streams):
            stream.cancel()

    def _stream(self, request: Request, progress: Progress | None) -> Stream[Chunk | Completion]:
        def produce(stream: Stream[Chunk | Completion]) -> AsyncIterator[Chunk | Completion]:
            return self._core.answer(request, lambda: stream.cancelled, progress)

        return Stream(produce)


class Model(_Loaded):
    """A model on a device. May be shared by threads: calls queue. Also a context manager that closes it."""

    def __init__(self, runner: Runner, core: Core, as_array: AsArray) -> None:
        super().__init__(runner, core, as_array)
        self._runner = runner

    def complete(self, prompt: Prompt, *, progress: Progress | None = None, **options: Unpack[Options]) -> Completion:
        """Go on from a prompt: a text or token ids. `progress` is told of prompt tokens done, and of how many.

        Raises InvalidOption, PromptTooLong, ContextFull, ModelClosed, OutOfMemory, DeviceLost.
        """
        return _last(self._answer(self._core.prompt_request(prompt, options), progress))

    def stream(
        self, prompt: Prompt, *, progress: Progress | None = None, **options: Unpack[Options]
    ) -> Iterator[Chunk]:
        """As `complete`, piece by piece; the last chunk brings the Completion. Closing the iterator cancels."""
        return _chunks(self._answer(self._core.prompt_request(prompt, options), progress))

    def chat(
        self, messages: Sequence[Message], *, progress: Progress | None = None, **options: Unpack[ChatOptions]
    ) -> Completion:
        """The next message of a chat: `messages` are mappings with "role" and "content".

        Raises TemplateError where there is no chat template or it refuses the messages, and what `complete` raises.
        """
        return _last(self._answer(self._core.chat_request(messages, options), progress))

    def stream_chat(
        self, messages: Sequence[Message], *, progress: Progress | None = None, **options: Unpack[ChatOptions]
    ) -> Iterator[Chunk]:
        """As `chat`, piece by piece. Closing the iterator cancels the answer."""
        return _chunks(self._answer(self._core.chat_request(messages, options), progress))

    def logits(self, prompt: Prompt) -> "np.ndarray":
        """Logits after every token of a prompt, float32 [tokens, vocab]."""

        async def parts() -> list[bytes]:
            return [rows async for rows in self._core.logits(prompt)]

        logits: np.ndarray = self._as_array(self._runner.call(parts), self._core.engine.vocabulary.size)
        return logits

    def run_on_engine(self, job: Callable[[Core], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine with the core on the engine's thread and wait for it: to measure, to trace, to test."""
        return self._runner.call(lambda: job(self._core))

    def close(self) -> None:
        """End all answers, as `cancel` does, then free everything. Idempotent."""
        self.cancel()
        self._runner.close(self._core.close)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, request: Request, progress: Progress | None) -> Iterator[Chunk | Completion]:
        stream = self._stream(request, progress)
        self._streams.add(stream)
        try:
            yield from self._runner.iterate(stream)
        finally:
            self._streams.discard(stream)


class AsyncModel(_Loaded):
    """As `Model`, for an event loop, which it never blocks. Methods of the same names are coroutines here."""

    def __init__(self, runner: AsyncRunner, core: Core, as_array: AsArray) -> None:
        super().__init__(runner, core, as_array)
        self._runner = runner

    async def complete(
        self, prompt: Prompt, *, progress: Progress | None = None, **options: Unpack[Options]
    ) -> Completion:
        """As `Model.complete`."""
        return await _alast(self._answer(self._stream(self._core.prompt_request(prompt, options), progress)))

    def stream(self, prompt: Prompt, *, progress: Progress | None = None, **options: Unpack[Options]) -> "AsyncAnswer":
        """As `Model.stream`."""
        return self._streamed(self._core.prompt_request(prompt, options), progress)

    async def chat(
        self, messages: Sequence[Message], *, progress: Progress | None = None, **options: Unpack[ChatOptions]
    ) -> Completion:
        """As `Model.chat`."""
        return await _alast(self._answer(self._stream(self._core.chat_request(messages, options), progress)))

    def stream_chat(
        self, messages: Sequence[Message], *, progress: Progress | None = None, **options: Unpack[ChatOptions]
    ) -> "AsyncAnswer":
        """As `Model.stream_chat`."""
        return self._streamed(self._core.chat_request(messages, options), progress)

    async def logits(self, prompt: Prompt) -> Any:
        """As `Model.logits`; in a browser, which has no numpy, a memoryview of this shape."""

        async def parts() -> list[bytes]:
            return [rows async for rows in self._core.logits(prompt)]

        return self._as_array(await self._runner.run(parts), self._core.engine.vocabulary.size)

    async def run_on_engine(self, job: Callable[[Core], Coroutine[Any, Any, T]]) -> T:
        """As `Model.run_on_engine`."""
        return await self._runner.run(lambda: job(self._core))

    async def close(self) -> None:
        """As `Model.close`."""
        self.cancel()
        await self._runner.aclose(self._core.close)

    async def __aenter__(self) -> "AsyncModel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _streamed(self, request: Request, progress: Progress | None) -> "AsyncAnswer":
        stream = self._stream(request, progress)
        return AsyncAnswer(_achunks(self._answer(stream)), stream)

    async def _answer(self, stream: Stream[Chunk | Completion]) -> AsyncIterator[Chunk | Completion]:
        self._streams.add(stream)
        try:
            async for item in self._runner.aiterate(stream):
                yield item
        finally:
            stream.cancel()
            self._streams.discard(stream)


class AsyncAnswer:
    """An answer's chunks as they come, the last of which brings the Completion. Closing the iterator cancels."""

    def __init__(self, chunks: AsyncGenerator[Chunk, None], stream: Stream[Chunk | Completion]) -> None:
        self._chunks = chunks
        self._stream = stream

    def __aiter__(self) -> "AsyncAnswer":
        return self

    async def __anext__(self) -> Chunk:
        return await anext(self._chunks)

    def cancel(self) -> None:
        """End this answer: its last chunk comes soon, with the reason "cancelled"."""
        self._stream.cancel()

    async def aclose(self) -> None:
        """End this answer, and take nothing more of it."""
        await self._chunks.aclose()


def _last(items: Iterator[Chunk | Completion]) -> Completion:
    completion = None
    for item in items:
        completion = item
    assert isinstance(completion, Completion)
    return completion


def _chunks(items: Iterator[Chunk | Completion]) -> Iterator[Chunk]:
    try:
        for item in items:
            yield item if isinstance(item, Chunk) else Chunk("", (), completion=item)
    finally:
        _close(items)


def _close(items: Any) -> None:
    items.close()


async def _alast(items: AsyncIterator[Chunk | Completion]) -> Completion:
    completion = None
    async for item in items:
        completion = item
    assert isinstance(completion, Completion)
    return completion


async def _achunks(items: AsyncIterator[Chunk | Completion]) -> AsyncGenerator[Chunk, None]:
    try:
        async for item in items:
            yield item if isinstance(item, Chunk) else Chunk("", (), completion=item)
    finally:
        await _aclose(items)


async def _aclose(items: Any) -> None:
    await items.aclose()
