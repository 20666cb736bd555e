"""The public face: `load` and `load_async`, and the models that they give."""

import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from .core import Core, LoadProgress, Prompt, make_tokenizer
from .errors import NoAdapter
from .formats import read_checkpoint
from .generation import Chunk, Completion, Request
from .host import Adapter
from .hosts.native import host as native
from .hosts.native.memory import available_memory
from .hosts.native.thread import EngineThread, Stream, run_now
from .inspection import Inspection, inspect_source
from .messages import Message
from .opening import LoadWatch, Source, open_core
from .options import ChatOptions, Options
from .planner.choice import KvDtype
from .planner.memory import MemoryEstimate
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from concurrent.futures import Future

    import numpy as np

T = TypeVar("T")
Progress = Callable[[int, int], None]


class _Loaded:
    """What both faces share: a core on an engine thread."""

    def __init__(self, thread: EngineThread, core: Core) -> None:
        self._thread = thread
        self._core = core
        self._streams: set[Stream[Chunk | Completion]] = set()
        forgotten = weakref.finalize(self, thread.close, core.close, wait=False)  # a model that nobody closed
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

        stream = Stream(produce)
        self._streams.add(stream)
        return stream


class Model(_Loaded):
    """A model on a device. May be shared by threads: calls queue. Also a context manager that closes it."""

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

        return native.logits_array(self._thread.call(parts), self._core.engine.vocabulary.size)

    def run_on_engine(self, job: Callable[[Core], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine with the core on the engine's thread and wait for it: to measure, to trace, to test."""
        return self._thread.call(lambda: job(self._core))

    def close(self) -> None:
        """End all answers, as `cancel` does, then free everything. Idempotent."""
        self.cancel()
        self._thread.close(self._core.close)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, request: Request, progress: Progress | None) -> Iterator[Chunk | Completion]:
        stream = self._stream(request, progress)
        try:
            yield from self._thread.iterate(stream)
        finally:
            self._streams.discard(stream)


class AsyncModel(_Loaded):
    """As `Model`, for an event loop, which it never blocks. Methods of the same names are coroutines here."""

    async def complete(
        self, prompt: Prompt, *, progress: Progress | None = None, **options: Unpack[Options]
    ) -> Completion:
        """As `Model.complete`."""
        return await _alast(self._answer(self._core.prompt_request(prompt, options), progress))

    def stream(
        self, prompt: Prompt, *, progress: Progress | None = None, **options: Unpack[Options]
    ) -> AsyncIterator[Chunk]:
        """As `Model.stream`."""
        return _achunks(self._answer(self._core.prompt_request(prompt, options), progress))

    async def chat(
        self, messages: Sequence[Message], *, progress: Progress | None = None, **options: Unpack[ChatOptions]
    ) -> Completion:
        """As `Model.chat`."""
        return await _alast(self._answer(self._core.chat_request(messages, options), progress))

    def stream_chat(
        self, messages: Sequence[Message], *, progress: Progress | None = None, **options: Unpack[ChatOptions]
    ) -> AsyncIterator[Chunk]:
        """As `Model.stream_chat`."""
        return _achunks(self._answer(self._core.chat_request(messages, options), progress))

    async def logits(self, prompt: Prompt) -> "np.ndarray":
        """As `Model.logits`."""
        import asyncio

        async def parts() -> list[bytes]:
            return [rows async for rows in self._core.logits(prompt)]

        rows = await asyncio.wrap_future(self._thread.submit(parts))
        return native.logits_array(rows, self._core.engine.vocabulary.size)

    async def run_on_engine(self, job: Callable[[Core], Coroutine[Any, Any, T]]) -> T:
        """As `Model.run_on_engine`."""
        import asyncio

        return await asyncio.wrap_future(self._thread.submit(lambda: job(self._core)))

    async def close(self) -> None:
        """As `Model.close`."""
        import asyncio

        self.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.close, self._core.close)

    async def __aenter__(self) -> "AsyncModel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _answer(self, request: Request, progress: Progress | None) -> AsyncIterator[Chunk | Completion]:
        stream = self._stream(request, progress)
        try:
            async for item in self._thread.aiterate(stream):
                yield item
        finally:
            stream.cancel()
            self._streams.discard(stream)


def load(
    source: Source,
    *,
    context: int | None = None,
    adapter: str | int | None = None,
    kv_dtype: KvDtype = "f16",
    verify: bool = False,
    progress: LoadProgress | None = None,
) -> Model:
    """Load a model: from a file, the first of its files, a folder with one model, or by its name.

    A name is one of the catalogue, such as "smollm2", or of the Hugging Face Hub, "hf:owner/repo[/file][@revision]".

    context: tokens that a prompt and its answer may have together; None takes the model's own, or what memory allows.
    adapter: a part of the adapter's name, or its index in `shaderlm devices`; None takes the best.
    kv_dtype: precision of the KV cache.
    verify: hold the file against the SHA-256 in FILE.sha256 beside it, which must be there.
    progress: called with bytes done and in all, on another thread: of a download, of verifying, of loading in turn.

    Raises ModelNotFound, InvalidFile, UnknownArchitecture, UnknownWeightType, InvalidConfig, TensorMismatch,
    TokenizerError, NoAdapter, UnsuitableAdapter, ModelTooLarge, OutOfMemory, DeviceLost, InvalidOption,
    ChecksumMismatch; and NetworkError, AccessDenied, NoSpace or CacheNotWritable where it has to be fetched.
    """
    thread, told = EngineThread(), LoadWatch(progress)
    opening = thread.submit(lambda: open_core(source, adapter, context, kv_dtype, verify, told))
    try:
        return Model(thread, opening.result())
    except BaseException:
        told.abandoned = True
        thread.close(lambda: _undo(opening))
        raise


async def load_async(
    source: Source,
    *,
    context: int | None = None,
    adapter: str | int | None = None,
    kv_dtype: KvDtype = "f16",
    verify: bool = False,
    progress: LoadProgress | None = None,
) -> AsyncModel:
    """As `load`, for an event loop."""
    import asyncio

    thread, told = EngineThread(), LoadWatch(progress)
    opening = thread.submit(lambda: open_core(source, adapter, context, kv_dtype, verify, told))
    try:
        return AsyncModel(thread, await asyncio.wrap_future(opening))
    except BaseException:
        told.abandoned = True
        await asyncio.get_running_loop().run_in_executor(None, thread.close, lambda: _undo(opening))
        raise


def load_tokenizer(source: Source) -> Tokenizer:
    """The tokenizer of a model's file alone: needs no GPU and reads (on the Hub: fetches) no weights.

    Raises TokenizerError, InvalidFile, and what `load` raises where a name is not found.
    """
    file = native.open_headers(source)
    try:
        checkpoint = run_now(read_checkpoint(file))
        tokenizer = make_tokenizer(checkpoint, native.make_codec)
    finally:
        file.close()
    if tokenizer is None:
        from .errors import TokenizerError

        raise TokenizerError(f"{checkpoint.name} has no tokenizer.")
    return tokenizer


def inspect(
    source: Source,
    *,
    context: int | None = None,
    adapter: str | int | None = None,
    kv_dtype: KvDtype = "f16",
) -> Inspection:
    """What a model's file says of itself, what it would take to run it, and whether it would run here.

    Reads the headers alone and opens no GPU. `context`, `adapter` and `kv_dtype` as for `load`; without any adapter on
    the machine the report has none. Raises ModelNotFound, InvalidFile, UnknownWeightType, InvalidConfig,
    TokenizerError; and NoAdapter where the one asked for is not there.
    """
    try:
        facts = native.choose_adapter(adapter).adapter.facts
    except NoAdapter:
        if adapter is not None:
            raise
        facts = None
    file = native.open_headers(source)
    try:
        free = available_memory(facts) if facts else None
        report = inspect_source(
            file, native.make_codec, adapter=facts, free_memory=free, context=context, kv_dtype=kv_dtype
        )
        return run_now(report)
    finally:
        file.close()


async def _undo(opening: "Future[Core]") -> None:
    """Free what came of a load that was abandoned just as it ended."""
    if not opening.cancelled() and opening.exception() is None:
        await opening.result().close()


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


async def _achunks(items: AsyncIterator[Chunk | Completion]) -> AsyncIterator[Chunk]:
    try:
        async for item in items:
            yield item if isinstance(item, Chunk) else Chunk("", (), completion=item)
    finally:
        await _aclose(items)


async def _aclose(items: Any) -> None:
    await items.aclose()
