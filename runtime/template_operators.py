"""Operators, methods and conversions of chat templates, each of which counts what it makes and reads.

Where the result may be larger than what it is made of, its size is computed before it is made.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import partial
from types import MappingProxyType
from typing import Any

from jinja2.sandbox import SandboxedEnvironment, SandboxedFormatter
from markupsafe import Markup

from .template_budget import BITS_LIMIT, ELEMENT, Budget, BudgetExceeded, budget, size

LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
WHITESPACE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
ESCAPED = 6  # times as long a text may become: "\n", "&#39;"
REPR = 10  # likewise: "\U0001f98a"
DIGITS = 340  # of a float without an exponent, beside its precision
STEPS_OF_A_FIELD = 30

_PRINTF = re.compile(r"[#0\- +]*(\*|\d*)(?:\.(\*|\d*))?[hlL]?(.)", re.DOTALL)


def text(value: Any) -> str:
    """`str(value)`."""
    if not isinstance(value, str):
        spent = budget()
        spent.spend(REPR * spent.weight(value))
        return str(value)
    return str(value) if isinstance(value, Markup) else value


def elements(values: Iterable[Any], steps: int = 3) -> list[Any]:
    """`list(values)`; each element is `steps`."""
    spent, found = budget(), []
    for value in values:
        spent.step(steps)
        found.append(value)
    return spent.made(found)


def contains(container: Any, value: Any) -> bool:
    """`value in container`."""
    spent = budget()
    spent.read(container, value)
    if isinstance(container, str) and isinstance(value, str):
        spent.spend(_search(container, value))
    return value in container


def operate(operator: str, left: Any, right: Any) -> Any:
    """An arithmetical operator."""
    spent = budget()
    spent.step(3)
    if operator == "%" and isinstance(left, str):
        return formatted(left, right)
    if isinstance(left, Set) or isinstance(right, Set):
        raise TypeError(f"unsupported operand types for {operator}: a mapping's keys and items are no numbers")
    if operator == "**" and isinstance(left, int) and isinstance(right, int):
        if left.bit_length() * max(right, 0) > BITS_LIMIT:
            raise BudgetExceeded(f"it makes a number of more than {BITS_LIMIT:,} bits")
    elif operator == "*":
        _refuse_repetition(spent, left, right)
        _refuse_repetition(spent, right, left)
    elif operator == "+" and isinstance(left, str) and isinstance(right, str):
        spent.make((size(left) + size(right)) * _growth(left, right))
    result = SandboxedEnvironment.default_binop_table[operator](left, right)
    if operator == "+" and isinstance(result, (list, tuple)):
        return spent.joined(left, right, result)
    return result if isinstance(result, str) else spent.made(result)


def formatted(template: str, values: Any) -> str:
    """printf's way: `template % values`."""
    spent = budget()
    spent.width(len(template))
    given = values if isinstance(values, tuple) else values.values() if isinstance(values, Mapping) else (values,)
    specs = list(_printf_fields(template))
    widths = [int(number) for spec in specs for number in spec.group(1, 2) if number and number != "*"]
    if any("*" in spec[0] for spec in specs):
        widths += [value for value in given if isinstance(value, int)]
    spent.width(*widths)
    spent.step(STEPS_OF_A_FIELD * len(specs))
    widest = max((_printed(spent, value) for value in given), default=0) + max(map(abs, widths), default=0) + DIGITS
    quoted = REPR if any(spec[3] in "ra" for spec in specs) else 1
    escaped = ESCAPED if isinstance(template, Markup) else 1
    spent.make((len(template) + quoted * widest * len(specs)) * 4 * escaped)
    result: str = template % values
    return result


def _printf_fields(template: str) -> Iterator[re.Match[str]]:
    """Width, precision and kind of each field; a name in brackets before them may hold brackets itself."""
    at = 0
    while (at := template.find("%", at) + 1) > 0:
        if template.startswith("(", at):
            depth = 1
            while depth and (at := at + 1) < len(template):
                depth += (template[at] == "(") - (template[at] == ")")
            at += 1
        found = _PRINTF.match(template, at)
        if found is None:
            return
        yield found
        at = found.end()


class BoundedFormatter(SandboxedFormatter):
    """`str.format`."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        """The value that a field names."""
        budget().step(STEPS_OF_A_FIELD + len(field_name))
        return super().get_field(field_name, args, kwargs)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        """`value` after `!r` and its like."""
        if conversion:
            budget().spend(REPR * budget().weight(value))
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        """`value` as its field shows it."""
        spent = budget()
        spent.width(*(int(number[:9]) for number in re.findall(r"\d+", format_spec)))
        shown = format(text(value) if isinstance(value, (list, tuple, Mapping)) else value, format_spec)
        return spent.made(shown)


def bounded_format(environment: SandboxedEnvironment, template: str, by_mapping: bool) -> Callable[..., str]:
    """The method `format` of a text, or `format_map`."""

    def format(*args: Any, **kwargs: Any) -> str:
        budget().spend(size(template))
        if by_mapping and (kwargs or len(args) != 1):
            raise TypeError("format_map takes one mapping")
        values, named = ((), args[0]) if by_mapping else (args, kwargs)
        return str(BoundedFormatter(environment).vformat(template, values, named))

    format.is_bounded = True  # type: ignore[attr-defined]
    return format


def bounded_method(owner: Any, name: str) -> Callable[..., Any] | None:
    """A method that templates may call, None for any other."""
    for kind, methods in METHODS.items():
        if isinstance(owner, kind) and name in methods:
            return partial(methods[name], owner)
    return None


# Methods of texts, by name in METHODS


def _plain(name: str, of: type) -> Callable[..., Any]:
    """A method that takes as long as what it is given, and makes no more than four times as much."""
    method = getattr(of, name)

    def call(owner: Any, *args: Any) -> Any:
        budget().read(owner, *args)
        return method(owner, *args)

    return call


def _searching(name: str, backwards: bool = False) -> Callable[..., Any]:
    def call(owner: str, part: Any, *limits: Any) -> Any:
        spent = budget()
        spent.read(owner, part)
        if isinstance(part, str):
            spent.spend(_search(owner, part, backwards))
        return getattr(str, name)(owner, part, *limits)

    return call


def _splitting(name: str, backwards: bool = False) -> Callable[..., list[str]]:
    def call(owner: str, sep: Any = None, maxsplit: int = -1) -> list[str]:
        spent = budget()
        if isinstance(sep, str) and sep:
            spent.spend(_search(owner, sep, backwards))
            pieces = owner.count(sep)
        else:
            pieces = _count(owner, WHITESPACE)
        spent.make(size(owner) + ELEMENT * (pieces if maxsplit < 0 else min(pieces, maxsplit)))
        found: list[str] = getattr(str, name)(owner, sep, maxsplit)
        return found

    return call


def _splitlines(owner: str, keepends: bool = False) -> list[str]:
    budget().make(size(owner) + ELEMENT * _count(owner, LINE_BREAKS))
    return owner.splitlines(keepends)


def _stripping(name: str) -> Callable[..., str]:
    def call(owner: str, characters: str | None = None) -> str:
        budget().spend(size(owner) * (1 + len(characters or "") // 8))
        stripped: str = getattr(str, name)(owner, characters)
        return stripped

    return call


def _padding(name: str) -> Callable[..., str]:
    def call(owner: str, width: int, *fill: str) -> str:
        budget().width(width)
        budget().read(owner, *fill)
        padded: str = getattr(str, name)(owner, width, *fill)
        return padded

    return call


def _expandtabs(owner: str, tabsize: int = 8) -> str:
    budget().width(tabsize)
    budget().make(size(owner) + 4 * owner.count("\t") * abs(tabsize))
    return owner.expandtabs(tabsize)


def replaced(owner: str, old: str, new: str, count: int = -1) -> str:
    """`owner.replace(old, new, count)`."""
    spent = budget()
    spent.spend(_search(owner, old))
    times = owner.count(old) if count < 0 else min(owner.count(old), count)
    width = 1 if owner.isascii() and new.isascii() else 4
    spent.make(width * (len(owner) + times * max(0, len(new) - len(old))))
    return owner.replace(old, new, count)


def joined(owner: str, values: Iterable[Any]) -> str:
    """`owner.join(values)`."""
    parts = elements(values)
    budget().make(sum(size(part) for part in parts if isinstance(part, str)) + size(owner) * len(parts))
    return owner.join(parts)


_PLAIN_OF_STR = (
    *("capitalize", "casefold", "lower", "swapcase", "title", "upper"),
    *("endswith", "startswith", "removeprefix", "removesuffix"),
    *("isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric"),
    *("isprintable", "isspace", "istitle", "isupper"),
)
METHODS: Mapping[type, Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        str: {
            **{name: _plain(name, str) for name in _PLAIN_OF_STR},
            **{name: _searching(name) for name in ("count", "find", "index", "partition")},
            **{name: _searching(name, backwards=True) for name in ("rfind", "rindex", "rpartition")},
            **{name: _stripping(name) for name in ("lstrip", "rstrip", "strip")},
            **{name: _padding(name) for name in ("center", "ljust", "rjust", "zfill")},
            "expandtabs": _expandtabs,
            "join": joined,
            "replace": replaced,
            "rsplit": _splitting("rsplit", backwards=True),
            "split": _splitting("split"),
            "splitlines": _splitlines,
        },
        list: {name: _plain(name, list) for name in ("copy", "count", "index")},
        tuple: {name: _plain(name, tuple) for name in ("count", "index")},
        dict: {
            **{name: getattr(dict, name) for name in ("items", "keys", "values")},
            "copy": _plain("copy", dict),
            "get": lambda owner, key, default=None: dict.get(owner, hashed(key), default),
        },
    }
)


def hashed(key: Any) -> Any:
    """`key`, whose hash may be computed; that of a text is kept, that of a tuple is computed each time."""
    if isinstance(key, tuple):
        budget().read(key)
    return key


def _search(owner: str, part: str, backwards: bool = False) -> int:
    """What finding `part` may cost. CPython tries short ones, and all from behind, at every place anew."""
    return size(owner) * (1 + (len(part) if backwards else min(len(part), 100)) // 8)


def _count(owner: str, characters: str) -> int:
    return sum(owner.count(character) for character in characters if ord(character) < 128 or not owner.isascii())


def _printed(spent: Budget, value: Any) -> int:
    """Characters that a value may take in printf's way, 16 bits of a number five digits."""
    if isinstance(value, str):
        return len(value)
    return REPR * spent.weight(value)


def _refuse_repetition(spent: Budget, value: Any, times: Any) -> None:
    if not isinstance(times, int):
        return
    if isinstance(value, str):
        spent.make(size(value) * max(times, 0))
    elif isinstance(value, (list, tuple)):
        spent.make((spent.weight(value) + ELEMENT) * max(times, 0))
    elif isinstance(value, int) and value.bit_length() + times.bit_length() > BITS_LIMIT:
        raise BudgetExceeded(f"it makes a number of more than {BITS_LIMIT:,} bits")


def _growth(left: str, right: str) -> int:
    """`+` escapes what it adds to a text that is marked as safe."""
    return ESCAPED if isinstance(left, Markup) != isinstance(right, Markup) else 1
