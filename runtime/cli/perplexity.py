"""How well a model predicts a text: exp of the mean negative log likelihood of its tokens (Jelinek et al. 1977).

Windows of the context slide over the text by a stride. Each scores the tokens that no window before it has scored, so
that all tokens but the first are scored once, from the second window on with at least context - stride known tokens.
A model that wants a text to begin with BOS gets one at the beginning of every window.
"""

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from ..core import Core
from ..hosts.native import host as native
from ..model import Model
from . import loading
from .arguments import UsageError, add_model_arguments, model_of
from .terminal import Bar, line, note

WINDOW = 512


@dataclass(frozen=True)
class Window:
    """Tokens [first, end) of a text, of which those from `scored` on are scored."""

    first: int
    scored: int
    end: int


@dataclass(frozen=True)
class Perplexity:
    """`standard_error` is that of the mean, carried through exp to first order."""

    perplexity: float
    standard_error: float
    tokens: int  # that were scored
    windows: int
    context: int
    stride: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shaderlm perplexity [options] MODEL FILE"
    parser.add_argument("--stride", type=int, metavar="N", help="by which windows move on (default: half the context)")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    source = model_of(arguments)
    if len(arguments.words) != 1:
        raise UsageError("Which text? Name one file behind the model.")
    text = read_text(Path(arguments.words[0]))
    with loading.load(loading.choose_place(source, arguments)) as model:
        context = arguments.context or min(WINDOW, model.context)
        result = perplexity(model, text, context, context // 2 if arguments.stride is None else arguments.stride)
    if arguments.json:
        print(json.dumps(asdict(result)))
        return 0
    line(f"perplexity {result.perplexity:.4f} +- {result.standard_error:.4f}", style="bold")
    windows = f"{result.windows:,} windows of {result.context:,}, moved on by {result.stride:,}"
    note(f"{result.tokens:,} tokens in {windows}; +- is the standard error of the mean")
    return 0


def read_text(path: Path) -> str:
    """Raises UsageError for what cannot be read, or is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start:,}.") from error


def perplexity(model: Model, text: str, context: int, stride: int) -> Perplexity:
    """Of a text, in windows of `context` tokens. Raises UsageError where nothing can be scored, TokenizerError."""
    before = model.tokenizer.encode("")  # BOS, where the model wants one
    ids = model.tokenizer.encode(text, add_special=False)
    room = context - len(before)
    if not 1 <= stride < room:
        raise UsageError(f"--stride: must be from 1 to {room - 1} in a context of {context}, not {stride}.")
    if len(before) + len(ids) < 3:
        raise UsageError("The text is too short: it needs at least two tokens to be scored.")
    cut = list(windows(len(ids), room, stride, first_scored=1 - len(before)))
    scores: list[float] = []
    with Bar("scoring", "tokens") as bar:
        for window in cut:
            scores += model.run_on_engine(partial(_scores, before=before, ids=ids, window=window, bar=bar))
    mean, error = mean_and_error(scores)
    value = math.exp(-mean)
    return Perplexity(value, value * error, len(scores), len(cut), context, stride)


def windows(tokens: int, room: int, stride: int, *, first_scored: int) -> Iterator[Window]:
    """Windows of at most `room` tokens, together scoring every token from `first_scored` on once."""
    end = min(tokens, room)
    yield Window(0, first_scored, end)
    while end < tokens:
        scored, end = end, min(tokens, end + stride)
        yield Window(end - room, scored, end)


def mean_and_error(scores: Sequence[float]) -> tuple[float, float]:
    """The mean, and its standard error with the sample's own variance."""
    return statistics.fmean(scores), statistics.stdev(scores) / math.sqrt(len(scores))


async def _scores(core: Core, *, before: Sequence[int], ids: Sequence[int], window: Window, bar: Bar) -> list[float]:
    """Log probabilities of the window's scored tokens, each given what stands before it in the window."""
    known = len(before) + window.scored - window.first - 1  # tokens after which no logits are wanted
    text = [*before, *ids[window.first : window.end]]
    scores: list[float] = []
    async for rows in core.logits(text, first=known):
        scores += native.log_probabilities(rows, core.engine.vocabulary.size, text[known + len(scores) + 1 :])
        bar(window.scored + len(scores), len(ids))
    return scores
