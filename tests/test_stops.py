"""Stop strings: what is shown never depends on how the text was cut into tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shaderlm.errors import InvalidOption
from shaderlm.stops import StopStrings

LETTERS = st.text("ab", max_size=12)  # two letters, so that stops overlap the text, each other and themselves


def shown(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    """All that is shown of `pieces`, and whether a stop ended it."""
    watch, text, stopped = StopStrings(stops), "", False
    for piece in pieces:
        more, stopped = watch.push(piece)
        text += more
    return text + watch.flush(), stopped


def expected(stops: list[str], text: str) -> tuple[str, bool]:
    """Character by character: the text ends before the first stop that is whole."""
    for end in range(1, len(text) + 1):
        whole = [stop for stop in stops if text[:end].endswith(stop)]
        if whole:
            return text[: end - max(map(len, whole))], True
    return text, False


@given(st.lists(st.text("ab", min_size=1, max_size=5), max_size=4), st.lists(LETTERS, max_size=8))
def test_the_text_ends_before_the_first_whole_stop(stops: list[str], pieces: list[str]) -> None:
    assert shown(stops, pieces) == expected(stops, "".join(pieces))


@given(st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4), st.lists(LETTERS, max_size=8))
def test_nothing_is_shown_that_may_yet_be_part_of_a_stop(stops: list[str], pieces: list[str]) -> None:
    watch, text, seen = StopStrings(stops), "", ""
    for piece in pieces:
        more, stopped = watch.push(piece)
        text, seen = text + more, seen + piece
        assert seen.startswith(text)
        if stopped:
            break
        assert not any(
            seen.endswith(stop[:n]) and len(seen) - n < len(text) for stop in stops for n in range(1, len(stop))
        )


def test_a_stop_lies_across_tokens() -> None:
    watch = StopStrings(["\nUser:"])
    assert watch.push("Hello") == ("Hello", False)
    assert watch.push(" there\nUs") == (" there", False)
    assert watch.push("er") == ("", False)
    assert watch.push(": and") == ("", True)
    assert watch.push("more") == ("", True)
    assert watch.flush() == ""


def test_what_only_began_like_a_stop_is_shown_after_all() -> None:
    watch = StopStrings("END")
    assert watch.push("an EN") == ("an ", False)
    assert watch.push("TRY E") == ("ENTRY ", False)
    assert watch.flush() == "E"
    assert watch.flush() == ""


def test_without_stops_everything_passes() -> None:
    watch = StopStrings(())
    assert watch.push("text") == ("text", False)
    assert watch.flush() == ""


def test_of_two_stops_that_end_together_the_longer_counts() -> None:
    assert shown(["c", "bc"], ["a", "b", "c"]) == ("a", True)


@pytest.mark.parametrize("stops", ["", ["a", ""]])
def test_an_empty_stop_is_refused(stops: str | list[str]) -> None:
    with pytest.raises(InvalidOption, match=r"^stop: a stop string is empty"):
        StopStrings(stops)


def test_a_stop_must_be_text() -> None:
    with pytest.raises(InvalidOption, match=r"^stop: every stop string must be a str, not int \(3\)"):
        StopStrings(["a", 3])  # type: ignore[list-item]
