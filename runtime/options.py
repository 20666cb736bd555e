"""The options of a request, as people pass them, and the request that they make."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, cast

from .errors import InvalidOption
from .generation import Request
from .sampling import Sampling
from .stops import StopStrings


class Options(TypedDict, total=False):
    """Keyword options of `complete`, `stream`, `chat` and `stream_chat`."""

    max_tokens: int | None  # of the answer; None goes on to its end or the context's
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    repeat_last_n: int
    seed: int | None
    stop: str | Sequence[str] | None  # strings that end the answer; they are not part of it
    logit_bias: Mapping[int, float] | None
    logprobs: int | None
    on_context_full: Literal["error", "shift"]  # raise ContextFull, or go on from the younger half of the context
    reuse_prefix: bool  # keep keys and values for prompts that begin alike, and take up what others left


class ChatOptions(Options, total=False):
    """Keyword options that `chat` and `stream_chat` take besides; both go to the model's chat template."""

    tools: Sequence[Mapping[str, Any]] | None  # definitions of functions that the model may call
    chat_template_kwargs: Mapping[str, Any] | None  # what else a template reads: {"enable_thinking": False}


FOR_TEMPLATES = ("tools", "chat_template_kwargs")
SAMPLING = frozenset(field.name for field in dataclasses.fields(Sampling))


def make_request(
    prompt: Sequence[int], options: Mapping[str, Any], *, end_tokens: tuple[int, ...], continues: bool
) -> Request:
    """A checked request. Raises InvalidOption for an unknown option or a value outside its range."""
    for name in options:
        if name in FOR_TEMPLATES:
            raise InvalidOption(f"{name}: goes to a chat template, so only chat and stream_chat take it.")
        if name not in Options.__annotations__:
            close = difflib.get_close_matches(name, Options.__annotations__, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise InvalidOption(f"There is no option {name}{hint or '.'}")
    stop = options.get("stop") or ()
    if not isinstance(stop, str | Sequence):
        raise InvalidOption(f"stop: must be a string or a list of strings, not {stop!r}.")
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    StopStrings(stops)
    return Request(
        prompt=prompt,
        sampling=Sampling(**{name: value for name, value in options.items() if name in SAMPLING}),
        max_tokens=options.get("max_tokens"),
        stop=stops,
        end_tokens=end_tokens,
        on_context_full=cast(Literal["error", "shift"], options.get("on_context_full", "error")),
        reuse_prefix=options.get("reuse_prefix", True),
        continues=continues,
    )
