"""Talk with a model. Ctrl-C stops an answer, Ctrl-D ends the chat, /help lists the commands.

Where stdin is no terminal, each line of it is a message, and stdout gets the answers alone.
"""

import argparse
import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from ..errors import ContextFull, DeviceLost, ModelClosed, PromptTooLong, ShaderLMError
from ..generation import Completion
from ..model import Model
from . import loading
from .arguments import (
    UsageError,
    add_chat_arguments,
    add_model_arguments,
    add_sampling_arguments,
    model_of,
    no_words_left,
    options_of,
)
from .complete import WITHIN_REASONING, last, show, stream
from .conversation import Conversation, command
from .reading import is_interactive, messages
from .terminal import note, warn
from .trace import show_trace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shaderlm chat [options] MODEL"
    parser.add_argument("--trace", action="store_true", help="show what each layer makes of every prompt")
    add_chat_arguments(parser)
    add_model_arguments(parser)
    add_sampling_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    options = dict(options_of(arguments))
    source = model_of(arguments)
    no_words_left(arguments)
    conversation = Conversation(arguments.system, options=options)
    with loading.load(loading.choose_place(source, arguments)) as model:
        loading.check_chat(model, conversation.answer_options)
        if is_interactive():
            note("Ctrl-C stops an answer, Ctrl-D ends the chat, /help lists the commands.")
        with _ctrl_c_cancels(model) if is_interactive() else contextlib.nullcontext():
            unanswered = talk(model, conversation, trace=arguments.trace)
    return 1 if unanswered and not is_interactive() else 0


def talk(model: Model, conversation: Conversation, *, trace: bool = False) -> int:
    """Answer messages until there are no more; returns how many got no answer."""
    unanswered = 0
    for text in messages():
        if text.startswith("/") and not text.startswith("//"):
            try:
                note(command(text, conversation))
            except UsageError as error:
                warn(str(error))
            except EOFError:
                break
            continue
        conversation.say("user", text.removeprefix("/") if text.startswith("//") else text)
        unanswered += not answer(model, conversation, trace=trace)
    return unanswered


def answer(model: Model, conversation: Conversation, *, trace: bool) -> bool:
    """Stream the next turn and add it; without one, take the question back and say why."""
    try:
        completion = _streamed(model, conversation, trace)
        note(_closing(completion))
        text = completion.text  # without the reasoning, which is no part of the history
        if completion.reasoning and not text and completion.finish_reason == "length":
            warn(WITHIN_REASONING)
    except ContextFull as error:
        warn(_remedy(model))
        text = error.partial.text if isinstance(error.partial, Completion) else ""
    except PromptTooLong:
        warn(_remedy(model))
        text = ""
    except (DeviceLost, ModelClosed):
        raise
    except ShaderLMError as error:
        warn(str(error))
        text = ""
    if text:
        conversation.say("assistant", text)
    else:
        conversation.turns.pop()
    return bool(text)


def _streamed(model: Model, conversation: Conversation, trace: bool) -> Completion:
    """The whole answer, shown as it comes. With on_context_full "shift" the oldest turns make room for it."""
    while True:
        try:
            if trace:
                show_trace(model, conversation.messages, conversation.answer_options)
            return last(show(stream(model, conversation.messages, conversation.answer_options)))
        except PromptTooLong:
            if conversation.options.get("on_context_full") != "shift" or not conversation.drop_oldest_exchange():
                raise
            note("The context is full: the oldest question and its answer are forgotten.")


@contextlib.contextmanager
def _ctrl_c_cancels(model: Model) -> Iterator[None]:
    """While a person types, `reading` has Ctrl-C raise; at any other moment it stops the answer."""

    def cancel(number: int, frame: FrameType | None) -> None:
        model.cancel()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _closing(completion: Completion) -> str:
    speed = completion.timings.decode_tokens_per_second
    parts = [f"{completion.usage.completion_tokens:,} tokens"] + ([f"{speed:.1f} tokens/s"] if speed else [])
    ends = {"cancelled": ["stopped"], "length": ["cut at max_tokens"], "stop": []}
    return f"({', '.join(parts + ends[completion.finish_reason])})"


def _remedy(model: Model) -> str:
    larger = (
        f", or start with --context up to {model.trained_context:,}" if model.context < model.trained_context else ""
    )
    return (
        f"The context of {model.context:,} tokens is full. /clear forgets the messages, `/set on_context_full shift` "
        f"goes on without the oldest{larger}."
    )
