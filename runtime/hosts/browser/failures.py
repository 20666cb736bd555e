"""JavaScript's errors in our words: what our own modules throw carries the name of its class."""

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager

from pyodide.ffi import JsException

from ... import errors


@contextmanager
def explained() -> Iterator[None]:
    """Raise what JavaScript throws with a `code` as the class of errors.py that has this name."""
    try:
        yield
    except JsException as error:
        if getattr(error, "code", "") == "Cancelled":  # by the signal of whoever asked
            raise CancelledError(error.message) from None
        raised = translated(error)
        if raised is None:
            raise
        raise raised from None


def translated(error: JsException) -> errors.ShaderLMError | None:
    """An error of ours; None for one that has no code: a defect, whose stack is wanted."""
    kind = getattr(errors, str(getattr(error, "code", "")), None)
    if isinstance(kind, type) and issubclass(kind, errors.ShaderLMError):
        return kind(error.message)
    return None
