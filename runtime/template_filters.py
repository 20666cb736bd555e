"""Filters and tests of chat templates: Jinja's own, held to a budget, but for those that are for web pages.

What Jinja gives piece by piece is made at once, so that no template can pile iterators upon each other; it can be gone
through once, as there.
"""

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from jinja2 import filters as jinja
from jinja2 import pass_environment
from jinja2 import tests as jinja_tests
from jinja2.environment import Environment
from markupsafe import Markup

from .template_budget import budget, size
from .template_operators import ESCAPED, contains, elements, formatted, joined, operate, replaced, text

SORTING = 20  # times that sorting reads each value, at most
STEPS_OF_A_FILTER = 30
STEPS_OF_JSON = 8  # for each name, value and bracket
BY_REGEX = 32  # bytes for one that a regular expression looks at


def of_text(filter: Callable[..., Any], cost: int = 1) -> Callable[..., Any]:
    """`filter`, which makes a text of a text."""

    @functools.wraps(filter)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        budget().step(STEPS_OF_A_FILTER)
        *context, value = args[: _place(filter) + 1]
        content = value if isinstance(value, Markup) else text(value)
        budget().make(cost * size(content))
        return budget().made(filter(*context, content, *args[_place(filter) + 1 :], **kwargs))

    return bounded


def of_elements(filter: Callable[..., Any], cost: int = 0) -> Callable[..., Any]:
    """`filter`, which looks at each element of a value."""

    @functools.wraps(filter)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        budget().step(STEPS_OF_A_FILTER)
        place = _place(filter)
        options = [option for option in (*args[place + 1 :], *kwargs.values()) if isinstance(option, str)]
        names = sum(option.count(".") + option.count(",") for option in options)  # attributes of attributes
        values = elements(args[place] or (), 8 + names)  # some filters take none for nothing
        if cost:
            budget().spend(cost * budget().weight(values))
        result = filter(*args[:place], values, *args[place + 1 :], **kwargs)
        return iter(elements(result)) if isinstance(result, Iterator) else budget().made(result)

    return bounded


def comparing(test: Callable[..., bool]) -> Callable[..., bool]:
    """`test`, which may read all of what it compares."""

    def bounded(*values: Any) -> bool:
        budget().read(*values)
        return test(*values)

    return bounded


def _place(filter: Callable[..., Any]) -> int:
    """Which argument is the value: the first, or the one behind the context that jinja2 passes."""
    return int(hasattr(filter, "jinja_pass_arg"))


# Filters that are written anew, because their results may be larger than what they are made of


def center(value: Any, width: int = 80) -> str:
    """A text with spaces around it."""
    budget().width(width)
    return jinja.do_center(text(value), width)


def indent(value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    """A text with spaces, or the text `width`, before each line."""
    budget().width(width, len(width) if isinstance(width, str) else 0)
    lines = text(value)
    budget().spend(16 * size(lines))
    step = len(width) if isinstance(width, str) else abs(width)
    budget().make(size(lines) + 4 * step * (1 + len(lines.splitlines())))
    return jinja.do_indent(value if isinstance(value, Markup) else lines, width, first, blank)


def replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    """A text with `new` in place of `old`."""
    return replaced(text(value), text(old), text(new), -1 if count is None else count)


@pass_environment
def join(environment: Environment, value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    """The texts of all elements, or of an attribute of theirs."""
    return joined(text(d), [text(part) for part in _attributes(environment, value, attribute)])


@pass_environment
def total(environment: Environment, iterable: Iterable[Any], attribute: str | None = None, start: Any = 0) -> Any:
    """The sum of all elements, which may be lists if `start` is one."""
    for value in _attributes(environment, iterable, attribute):
        start = operate("+", start, value)
    return start


def _attributes(environment: Environment, values: Iterable[Any], attribute: str | None) -> list[Any]:
    """The values, or an attribute of each."""
    if attribute is None:
        return elements(values)
    getter = jinja.make_attrgetter(environment, attribute)
    return [getter(value) for value in elements(values, 2 + str(attribute).count("."))]


def as_list(value: Iterable[Any]) -> list[Any]:
    """All elements."""
    return elements(value)


def dictsort(value: Mapping[Any, Any], *options: Any, **named: Any) -> list[tuple[Any, Any]]:
    """The pairs of a mapping in order."""
    budget().spend(SORTING * budget().weight(value))
    return budget().made(jinja.do_dictsort(value, *options, **named))


def decimal(value: Any, default: Any = 0.0) -> Any:
    """A value as a number with decimal places."""
    budget().read(value)
    return jinja.do_float(value, default)


def trim(value: Any, chars: str | None = None) -> str:
    """A text without white space, or `chars`, at its ends."""
    content = text(value)
    budget().spend(size(content) * (1 + len(chars or "") // 8))
    return content.strip(chars)


def format(value: Any, *args: Any, **kwargs: Any) -> str:
    """printf's way."""
    if args and kwargs:
        raise TypeError("format takes values by their places or by their names, not both")
    return formatted(value if isinstance(value, Markup) else text(value), kwargs or args)


def whole(value: Any, default: Any = 0, base: int = 10) -> Any:
    """A value as a whole number."""
    budget().read(value)
    return budget().made(jinja.do_int(value, default, base))


def rounded(value: Any, precision: int = 0, method: Any = "common") -> Any:
    """A number with `precision` decimal places."""
    if abs(precision) > 300:
        raise ValueError("a number is rounded to at most 300 decimal places")
    return jinja.do_round(value, precision, method)


def backwards(value: Any) -> Any:
    """A text, or elements, from behind."""
    return budget().made(value[::-1]) if isinstance(value, str) else iter(elements(value)[::-1])


def batch(value: Iterable[Any], linecount: int, fill_with: Any = None) -> Iterator[list[Any]]:
    """Lists of `linecount` elements."""
    budget().width(linecount)
    return iter(elements([budget().made(part) for part in jinja.do_batch(elements(value), linecount, fill_with)]))


def columns(value: Iterable[Any], slices: int, fill_with: Any = None) -> Iterator[list[Any]]:
    """`slices` lists of nearly the same length."""
    budget().width(slices)
    return iter(elements([budget().made(part) for part in jinja.sync_do_slice(elements(value), slices, fill_with)]))


def items(value: Any) -> Iterator[tuple[Any, Any]]:
    """The pairs of a mapping, none of what is undefined."""
    return iter(elements(jinja.do_items(value)))


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as templates mean it: for a model, not for a web page, so nothing is escaped."""
    spent = budget()
    spent.width(indent, len(indent) if isinstance(indent, str) else 0)
    spent.read(value)
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    pieces = []
    for piece in encoder.iterencode(value):
        spent.step(STEPS_OF_JSON)
        spent.spend(size(piece))
        pieces.append(piece)
    return "".join(pieces)


FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **{name: jinja.FILTERS[name] for name in ("abs", "attr", "count", "d", "default", "first", "last", "length")},
        **{name: of_text(jinja.FILTERS[name]) for name in ("capitalize", "lower", "string", "truncate", "upper")},
        **{name: of_text(jinja.FILTERS[name], ESCAPED) for name in ("e", "escape", "forceescape", "safe")},
        **{name: of_text(jinja.FILTERS[name], BY_REGEX) for name in ("title", "wordcount")},
        **{name: of_elements(jinja.FILTERS[name], SORTING) for name in ("groupby", "max", "min", "sort", "unique")},
        **{name: of_elements(jinja.FILTERS[name]) for name in ("map", "reject", "rejectattr", "select", "selectattr")},
        "batch": batch,
        "center": center,
        "dictsort": dictsort,
        "float": decimal,
        "format": format,
        "indent": indent,
        "int": whole,
        "items": items,
        "join": join,
        "list": as_list,
        "replace": replace,
        "reverse": backwards,
        "round": rounded,
        "slice": columns,
        "sum": total,
        "tojson": to_json,
        "trim": trim,
    }
)
_COMPARING = (
    *("==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan"),
    *(">=", "ge", "<", "lt", "lessthan", "<=", "le"),
)
_TESTS: dict[str, Any] = {**jinja_tests.TESTS}
TESTS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **_TESTS,
        **{name: comparing(_TESTS[name]) for name in _COMPARING},
        "divisibleby": lambda value, number: operate("%", value, number) == 0,
        "even": lambda value: operate("%", value, 2) == 0,
        "in": lambda value, container: contains(container, value),
        "lower": lambda value: text(value).islower(),
        "odd": lambda value: operate("%", value, 2) == 1,
        "upper": lambda value: text(value).isupper(),
    }
)
