"""Reading messages: typed on a terminal, or piped in, a line each; three quotes open and close one of many lines."""

import contextlib
import signal
import sys
from collections.abc import Iterator

from .terminal import note

QUOTES = '"""'
PROMPT, CONTINUED = ">>> ", "... "


def is_interactive() -> bool:
    """Whether a person types."""
    return sys.stdin is not None and sys.stdin.isatty()


def messages() -> Iterator[str]:
    """Messages until the input ends. On a terminal Ctrl-C drops what was typed, and Ctrl-D ends."""
    if sys.stdin is None:
        return
    if not is_interactive():
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - its being there gives `input` line editing and history
    while True:
        try:
            with _ctrl_c_raises() if is_interactive() else contextlib.nullcontext():
                text = _message()
        except EOFError:
            if is_interactive():
                note("")  # the prompt's line ends
            return
        except KeyboardInterrupt:
            if not is_interactive():
                raise
            note("\nCtrl-D or /quit ends the chat.")
            continue
        if text.strip():
            yield text


@contextlib.contextmanager
def _ctrl_c_raises() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _message() -> str:
    """A line, or the lines between three quotes. Raises EOFError where there is none."""
    first = _line(PROMPT)
    if not first.startswith(QUOTES):
        return first
    lines = [first.removeprefix(QUOTES)]
    while not lines[-1].endswith(QUOTES):
        try:
            lines.append(_line(CONTINUED))
        except EOFError:
            return "\n".join(lines)
    lines[-1] = lines[-1].removesuffix(QUOTES)
    return "\n".join(lines).strip("\n")


def _line(prompt: str) -> str:
    if is_interactive() and sys.stdout.isatty():
        return input(prompt)
    if is_interactive():  # an answer that goes to a file shall not have prompts in it
        print(prompt, end="", file=sys.stderr, flush=True)
    text = sys.stdin.readline()
    if not text:
        raise EOFError
    return text.rstrip("\r\n")
