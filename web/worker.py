"""The Python end of the web worker: messages of shaderlm.js become calls of the public API, and answers messages."""

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from shaderlm.api_browser import inspect_async, load_async
from shaderlm.errors import ContextFull, InvalidOption, ModelClosed, ShaderLMError
from shaderlm.generation import Chunk, Completion
from shaderlm.model import AsyncAnswer, AsyncModel

OPENING = {  # calls that open a model's file, and the options that they take
    "load": ("context", "kv_dtype", "arithmetic", "tuning"),
    "inspect": ("context", "kv_dtype"),
}
REPORTING = ("load", "stream", "stream_chat")  # calls that tell of what goes on
Post = Callable[..., None]  # (kind, JSON): what the page is told about a call


class Desk:
    """The models that are loaded, and the answers under way, by the numbers that the page knows them by."""

    def __init__(self) -> None:
        self.models: dict[int, AsyncModel] = {}
        self.answers: dict[int, AsyncAnswer] = {}
        self.opening: dict[int, asyncio.Task[Any]] = {}
        self.cancelled: set[int] = set()  # before they began
        self.calls: dict[str, Callable[..., Awaitable[Any]]] = {
            "load": self.load,
            "inspect": self.inspect,
            "stream": self.stream,
            "stream_chat": self.stream,
            "tokenize": self.tokenize,
            "detokenize": self.detokenize,
            "token_bytes": self.token_bytes,
            "live_objects": self.live_objects,
            "unload": self.unload,
        }

    async def receive(
        self, number: int, call: str, arguments: str, source: Any, open_file: Callable[[Any], Any], post: Post
    ) -> None:
        """Do what a message asks for and post the result, or the error. Never raises.

        source: for what opens a model's file, its URL, or JavaScript's array of Files; `open_file` opens one of them.
        """
        try:
            given = json.loads(arguments)
            if call in OPENING:
                check_names(call, given["options"])
                given |= {"source": source, "open_file": open_file}
                self.open_for(number)
            if call in REPORTING:
                given |= {"post": post, "number": number}
            post("result", json.dumps(await self.calls[call](**given)))
        except (Exception, asyncio.CancelledError) as error:
            if not isinstance(error, ShaderLMError | asyncio.CancelledError):
                traceback.print_exception(error)  # a defect: to the console
            post("error", json.dumps(told(error)))
        finally:
            self.answers.pop(number, None)
            self.opening.pop(number, None)
            self.cancelled.discard(number)

    def open_for(self, number: int) -> None:
        """Let the task that runs be cancelled. Raises CancelledError where it was before it began."""
        task = asyncio.current_task()
        assert task is not None
        self.opening[number] = task
        if number in self.cancelled:
            raise asyncio.CancelledError

    def cancel(self, number: int) -> None:
        """End the call that a message asked for: an answer with what it has, all else with an error."""
        if number in self.answers:
            self.answers[number].cancel()
        elif number in self.opening:
            self.opening[number].cancel()
        else:
            self.cancelled.add(number)

    async def load(
        self, number: int, post: Post, open_file: Any, source: Any, options: dict[str, Any]
    ) -> dict[str, Any]:
        def progress(done: int, total: int) -> None:
            post("progress", json.dumps({"stage": "load", "done": done, "total": total}))

        model = await load_async(source, open_file=open_file, progress=progress, **options)
        self.models[number] = model
        adapter = model.adapter
        return {
            "model": number,
            "name": model.name,
            "context": model.context,
            "trained_context": model.trained_context,
            "adapter": {"name": adapter.name, "kind": adapter.kind, "features": sorted(adapter.features)},
            "memory": asdict(model.memory),
            "warnings": model.warnings,
        }

    async def inspect(self, open_file: Any, source: Any, options: dict[str, Any]) -> dict[str, Any]:
        return asdict(await inspect_async(source, open_file=open_file, **options))

    async def stream(
        self,
        number: int,
        post: Post,
        model: int,
        options: dict[str, Any],
        prompt: Any = None,
        messages: Any = None,
        whole: bool = False,
    ) -> dict[str, Any]:
        """An answer; told piece by piece before it is given, unless it is wanted as a whole alone."""
        loaded, options = self.model(model), with_ids(options)

        def progress(done: int, total: int) -> None:
            post("progress", json.dumps({"stage": "prefill", "done": done, "total": total}))

        if messages is None:
            answer = loaded.stream(prompt, progress=progress, **options)
        else:
            answer = loaded.stream_chat(messages, progress=progress, **options)
        self.answers[number] = answer
        if number in self.cancelled:
            answer.cancel()
        async for chunk in answer:
            if chunk.completion is not None:
                return asdict(chunk.completion)
            if not whole:
                post("chunk", json.dumps(shown(chunk)))
        raise AssertionError("an answer ended without its completion")

    async def tokenize(self, model: int, text: str, options: dict[str, Any]) -> list[int]:
        return self.model(model).tokenizer.encode(text, **options)

    async def detokenize(self, model: int, tokens: list[int]) -> str:
        return self.model(model).tokenizer.decode(tokens)

    async def token_bytes(self, model: int, tokens: list[int]) -> list[list[int]]:
        tokenizer = self.model(model).tokenizer
        return [list(tokenizer.token_bytes(token)) for token in tokens]

    async def live_objects(self, model: int) -> dict[str, int]:
        return dict(self.model(model)._core.gpu.live_objects())

    async def unload(self, model: int) -> None:
        loaded = self.models.pop(model, None)
        if loaded is not None:
            await loaded.close()

    def model(self, number: int) -> AsyncModel:
        """Raises ModelClosed."""
        if number not in self.models:
            raise ModelClosed("This model is closed. Load it again.")
        return self.models[number]


def check_names(call: str, options: dict[str, Any]) -> None:
    """Raise InvalidOption for what a call that opens a model's file does not know."""
    for name in options:
        if name not in OPENING[call]:
            *others, last = OPENING[call]
            raise InvalidOption(f"{call} knows no option {name}. It takes {', '.join(others)} and {last}.")


def with_ids(options: dict[str, Any]) -> dict[str, Any]:
    """Options as Python has them: the keys of JavaScript's objects are always text."""
    bias = options.get("logit_bias")
    if not isinstance(bias, dict):
        return options
    return options | {"logit_bias": {int(key) if key.isdecimal() else key: value for key, value in bias.items()}}


def shown(chunk: Chunk) -> dict[str, Any]:
    """A chunk as JavaScript gets it."""
    piece: dict[str, Any] = {"text": chunk.text, "tokens": chunk.tokens}
    if chunk.reasoning:
        piece["reasoning"] = chunk.reasoning
    if chunk.logprobs:
        piece["logprobs"] = [asdict(entry) for entry in chunk.logprobs]
    return piece


def told(error: BaseException) -> dict[str, Any]:
    """An error as JavaScript gets it: `code` is the class of errors.py, "InternalError" for what is none of it."""
    if isinstance(error, asyncio.CancelledError):
        return {"code": "Cancelled", "message": "The call was cancelled by its signal."}
    code = type(error).__name__ if isinstance(error, ShaderLMError) else "InternalError"
    answer = {"code": code, "message": str(error) or repr(error)}
    if isinstance(error, ContextFull) and isinstance(error.partial, Completion):
        return answer | {"partial": asdict(error.partial)}
    return answer


desk = Desk()
