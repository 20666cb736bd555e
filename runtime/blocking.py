"""The public functions that wait, in a browser, where nothing may: each names the form of it that does not."""

from typing import Any, NoReturn

from .errors import WouldBlock


def load(*_: Any, **__: Any) -> NoReturn:
    """Raises WouldBlock."""
    raise _refusal("load")


def load_tokenizer(*_: Any, **__: Any) -> NoReturn:
    """Raises WouldBlock."""
    raise _refusal("load_tokenizer")


def inspect(*_: Any, **__: Any) -> NoReturn:
    """Raises WouldBlock."""
    raise _refusal("inspect")


def _refusal(name: str) -> WouldBlock:
    return WouldBlock(
        f"shaderlm.{name} waits for a file, and in a browser Python may not: its page or worker would stand still. "
        f"Write `await shaderlm.{name}_async(...)` instead."
    )
