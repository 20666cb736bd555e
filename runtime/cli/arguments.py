"""Options that several commands share, and how a command line is taken apart."""

import argparse
import dataclasses
import difflib
import json
from typing import Any, NoReturn, cast

from ..errors import InvalidOption
from ..messages import checked_arguments
from ..options import FOR_TEMPLATES, ChatOptions, make_request
from ..sampling import RANGES, Sampling

HELP = {
    "temperature": "divides the logits",
    "top_k": "keep the k likeliest tokens",
    "top_p": "keep the likeliest tokens that sum to this probability",
    "min_p": "keep tokens with this share of the likeliest one's probability",
    "repeat_penalty": "divides the logit of a repeated token",
    "frequency_penalty": "taken off the logit for each time that the token came",
    "presence_penalty": "taken off the logit of each token that came",
    "repeat_last_n": "how many last tokens the penalties know",
    "seed": "the same answer again, on the same adapter and version by the same kernels (--no-tuning)",
    "logprobs": "with --json: report this many likeliest tokens with each",
}


class UsageError(Exception):
    """The command line itself is wrong."""


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of leaving the program, and guesses no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}. `{self.prog} --help` lists what there is.")

    def flags(self) -> list[str]:
        """Every option by its long name."""
        return [name for action in self._actions for name in action.option_strings if name.startswith("--")]


def parse(parser: Parser, arguments: list[str]) -> argparse.Namespace | None:
    """Take a command's arguments apart; None if all that was asked for is help. Words behind `--` are no options.

    Options may stand between words. Raises UsageError.
    """
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options, literal = arguments[:cut], arguments[cut + 1 :]
    try:
        namespace, unknown = parser.parse_known_intermixed_args(options)
    except SystemExit:  # by --help, which has printed
        return None
    if unknown:
        name = unknown[0].split("=")[0]
        longer = [flag for flag in parser.flags() if flag.startswith(name)]
        close = longer or difflib.get_close_matches(name, parser.flags(), 1)
        parser.error(f"there is no option {name}" + (f", did you mean {close[0]}" if close else ""))
    namespace.words += literal
    return namespace


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and how it is put on which adapter."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="M",
        help="a file, a folder with one model, smollm2, or hf:OWNER/REPOSITORY[/FILE][@REVISION]",
    )
    group.add_argument(
        "--context", type=int, metavar="N", help="tokens of prompt and answer together (default: what fits)"
    )
    group.add_argument("--kv-dtype", choices=("f16", "f32"), default="f16", help="precision of the KV cache")
    group.add_argument(
        "--arithmetic",
        choices=("exact", "fast"),
        default="exact",
        help="fast may round what a prompt's linears read to bytes, where that is faster",
    )
    group.add_argument("--verify", action="store_true", help="first hold the file against the SHA-256 in FILE.sha256")
    group.add_argument(
        "--no-tuning",
        dest="tuning",
        action="store_false",
        help="the default kernels, whatever timing found to be faster",
    )
    group.add_argument("--adapter", metavar="A", help="index or part of the name of an adapter, see `shaderlm devices`")


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """How an answer is drawn, and where it ends."""
    group = parser.add_argument_group("answer")
    group.add_argument("--max-tokens", type=int, metavar="N", default=argparse.SUPPRESS, help="end after N tokens")
    for name, allowed in RANGES.items():
        default = _default(name)
        text = HELP[name] + (f" (default {default}" + (f"; {allowed.note})" if allowed.note else ")"))
        text = text if default is not None else HELP[name]
        kind = int if allowed.whole else float
        metavar = "N" if allowed.whole else "X"
        group.add_argument(_flag(name), type=kind, metavar=metavar, default=argparse.SUPPRESS, help=text)
    group.add_argument(
        "--stop", action="append", metavar="TEXT", default=argparse.SUPPRESS, help="end before this text; repeatable"
    )
    group.add_argument(
        "--logit-bias",
        action="append",
        type=_bias,
        metavar="ID=X",
        default=argparse.SUPPRESS,
        help="add X to a token's logit; -inf bans it; repeatable",
    )
    group.add_argument(
        "--shift",
        dest="on_context_full",
        action="store_const",
        const="shift",
        default=argparse.SUPPRESS,
        help="when the context is full, drop its older half and go on",
    )
    group.add_argument(
        "--no-prefix-reuse",
        dest="reuse_prefix",
        action="store_false",
        default=argparse.SUPPRESS,
        help="compute every prompt from its first token on",
    )


def add_chat_arguments(parser: argparse.ArgumentParser) -> None:
    """What a chat's template is told."""
    group = parser.add_argument_group("chat")
    group.add_argument("--system", metavar="TEXT", help="the system message")
    group.add_argument(
        "--chat-template-kwargs",
        type=_json,
        metavar="JSON",
        default=argparse.SUPPRESS,
        help="""what else the template reads: '{"enable_thinking": false}'""",
    )


def options_of(arguments: argparse.Namespace) -> ChatOptions:
    """The options that were given, checked. Raises UsageError."""
    given = {name: value for name, value in vars(arguments).items() if name in ChatOptions.__annotations__}
    if "logit_bias" in given:
        given["logit_bias"] = dict(given["logit_bias"])
    check_options(given)
    return cast(ChatOptions, given)


def check_options(options: dict[str, Any]) -> None:
    """Raise UsageError for a value outside its range: before a model is loaded for nothing."""
    drawing = {name: value for name, value in options.items() if name not in FOR_TEMPLATES}
    try:
        make_request((0,), drawing, end_tokens=(), continues=True)
        checked_arguments(options.get("chat_template_kwargs"))
    except InvalidOption as error:
        raise UsageError(str(error)) from error
    max_tokens, when_full = options.get("max_tokens"), options.get("on_context_full", "error")
    if max_tokens is not None and (type(max_tokens) is not int or max_tokens < 1):
        raise UsageError(f"max_tokens: must be a whole number from 1 on, not {max_tokens!r}.")
    if when_full not in ("error", "shift"):
        raise UsageError(f'on_context_full: must be "error" or "shift", not {when_full!r}.')


def model_of(arguments: argparse.Namespace, default: str | None = None) -> str:
    """The model's name, from --model or the first word, which is taken away. Raises UsageError where there is none."""
    if arguments.model is not None:
        return str(arguments.model)
    if arguments.words:
        return str(arguments.words.pop(0))
    if default is not None:
        return default
    raise UsageError("Which model? Name a file, a folder with one model, smollm2, or hf:OWNER/REPOSITORY.")


def no_words_left(arguments: argparse.Namespace) -> None:
    """Raise UsageError for words that nobody asked for."""
    if arguments.words:
        raise UsageError(f"There is a word too many: {arguments.words[0]!r}.")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _default(name: str) -> object:
    return next(field.default for field in dataclasses.fields(Sampling) if field.name == name)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from None


def _bias(text: str) -> tuple[int, float]:
    token, _, bias = text.partition("=")
    try:
        return int(token), float(bias)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form ID=X, as in 42=-1.5") from None
