"""Stop strings in streamed text, which may begin in one token and end in another."""

from collections.abc import Sequence

from .errors import InvalidOption


class StopStrings:
    """Passes text on up to the first stop string, and holds back what may yet become one.

    The stop that is complete first ends the text (of two that end at the same character, the longer), so that the
    result does not depend on how the text was cut into tokens.
    """

    def __init__(self, stops: str | Sequence[str]) -> None:
        """`stops`: one string or several; none is fine. Raises InvalidOption for an empty one or one that is no str."""
        self._stops = _checked((stops,) if isinstance(stops, str) else tuple(stops))
        self._held = ""
        self._stopped = False

    def push(self, text: str) -> tuple[str, bool]:
        """The text that may be shown now, and whether a stop string has ended it. Nothing is shown after that."""
        if self._stopped:
            return "", True
        self._held += text
        start = _first_stop(self._held, self._stops)
        if start is not None:
            shown, self._held, self._stopped = self._held[:start], "", True
            return shown, True
        safe = len(self._held) - longest_beginning(self._held, self._stops)
        shown, self._held = self._held[:safe], self._held[safe:]
        return shown, False

    def flush(self) -> str:
        """The text held back, once it is sure that no more comes."""
        shown, self._held = self._held, ""
        return shown


def _checked(stops: tuple[str, ...]) -> tuple[str, ...]:
    for stop in stops:
        if not isinstance(stop, str):
            raise InvalidOption(f"stop: every stop string must be a str, not {type(stop).__name__} ({stop!r}).")
        if not stop:
            raise InvalidOption("stop: a stop string is empty; it would end every answer before its first character.")
    return stops


def _first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the stop string begins that ends first in `text`."""
    found = [(text.find(stop) + len(stop), -len(stop)) for stop in stops if stop in text]
    if not found:
        return None
    end, negative_length = min(found)
    return end + negative_length


def longest_beginning(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` with which some stop string begins."""
    longest = min(len(text), max((len(stop) for stop in stops), default=0))
    for length in range(longest, 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
