"""Go on from a prompt, or with --chat answer it. Streams to stdout.

shaderlm complete --chat smollm2 "What is the capital of France?"
shaderlm complete smollm2 --max-tokens 40 --temperature 0 "Once upon a time"
shaderlm complete --chat smollm2 < question.txt
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import cast

from ..generation import Chunk, Completion
from ..messages import Message
from ..model import Model
from ..options import ChatOptions, Options
from . import loading
from .arguments import (
    UsageError,
    add_chat_arguments,
    add_model_arguments,
    add_sampling_arguments,
    model_of,
    options_of,
)
from .terminal import Bar, aside, note, write
from .trace import show_trace

Prompt = str | list[Message]
WITHIN_REASONING = "The answer ended within the reasoning: allow more --max-tokens, or a larger --context."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shaderlm complete [options] MODEL PROMPT..."
    parser.add_argument("--chat", action="store_true", help="the prompt is a message to be answered, not a text")
    parser.add_argument("--json", action="store_true", help="the whole answer as JSON: text, reasoning, tokens, ...")
    parser.add_argument("--trace", action="store_true", help="first show what each layer makes of the prompt")
    add_chat_arguments(parser)
    add_model_arguments(parser)
    add_sampling_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    options = options_of(arguments)
    for_chats = {"--system": arguments.system, "--chat-template-kwargs": options.get("chat_template_kwargs")}
    for flag, given in for_chats.items():
        if given is not None and not arguments.chat:
            raise UsageError(f"{flag} goes with --chat: a prompt to go on from has no template.")
    source = model_of(arguments)
    prompt = _prompt(" ".join(arguments.words) or _piped(), arguments)
    with loading.load(loading.choose_place(source, arguments)) as model:
        if arguments.trace:
            show_trace(model, prompt, options)
        if arguments.json:
            completion = last(stream(model, prompt, options))
            print(json.dumps(dataclasses.asdict(completion)), flush=True)
        else:
            completion = last(show(stream(model, prompt, options)))
    note(closing_note(completion))
    if not completion.text:
        note(WITHIN_REASONING if completion.reasoning else "The model ended its answer before the first word.")
        return 1
    return 0


def stream(model: Model, prompt: Prompt, options: ChatOptions) -> Iterator[Chunk]:
    """Chunks of an answer to a text or to messages, with a progress bar until the first one."""
    with Bar("reading the prompt", "tokens") as bar:
        if isinstance(prompt, str):
            chunks = model.stream(prompt, progress=bar, **cast(Options, options))
        else:
            chunks = model.stream_chat(prompt, progress=bar, **options)
        for chunk in chunks:
            bar.close()
            yield chunk


def show(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Write the chunks' text to stdout as they pass, and end the last line, whatever happens.

    Reasoning before it is dim, and only for people: on stderr where that is a terminal.
    """
    text = reasoning = ""
    try:
        for chunk in chunks:
            aside(chunk.reasoning)
            if chunk.text and reasoning and not text:
                aside("\n\n")
            text, reasoning = text + chunk.text, reasoning + chunk.reasoning
            write(chunk.text)
            yield chunk
    finally:
        if text and not text.endswith("\n"):
            write("\n")
        elif reasoning and not text:
            aside("\n")


def last(chunks: Iterator[Chunk]) -> Completion:
    """The Completion that the last chunk brings."""
    completion = None
    for chunk in chunks:
        completion = chunk.completion
    assert completion is not None
    return completion


def closing_note(completion: Completion) -> str:
    """What an answer took: its tokens and their rate, the prompt, the time to the first token, its end, its seed."""
    usage, timings = completion.usage, completion.timings
    tokens = f"{usage.completion_tokens:,} tokens"
    speed = f" at {timings.decode_tokens_per_second:.1f} tokens/s" if timings.decode_tokens_per_second else ""
    reused = f" ({usage.reused_tokens:,} known)" if usage.reused_tokens else ""
    prompt = f"prompt: {usage.prompt_tokens:,} tokens{reused}, first token after {timings.time_to_first_token:.2f} s"
    return f"{tokens}{speed}; {prompt}; end: {completion.finish_reason}; seed {completion.seed}"


def _prompt(text: str, arguments: argparse.Namespace) -> Prompt:
    if not arguments.chat:
        return text
    system: list[Message] = [] if arguments.system is None else [{"role": "system", "content": arguments.system}]
    return [*system, {"role": "user", "content": text}]


def _piped() -> str:
    """The prompt from stdin, less the newline that ends a file."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("What is the prompt? Give it behind the model's name, or on stdin.")
    try:
        text = sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"What came on stdin is no {error.encoding} text: {error.reason} at byte {error.start}."
        ) from None
    if not text:
        raise UsageError("The prompt on stdin is empty.")
    return text
