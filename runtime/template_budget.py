"""What rendering one chat template may cost: steps, bytes, sizes and depths of values.

Whatever a template does beyond a look-up is counted here before it is done, or right after it where its cost is
bounded by values that were counted. Nothing asks a clock, a thread or a signal, so a template ends the same way in
every host, on a busy machine as on an idle one. The limits are such that the worst templates end after some 0.7
seconds of one core (`tests/test_template_hostile.py`).
"""

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Sized, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

STEP_LIMIT = 3_000_000  # each some 0.1 microseconds natively; a chat of a thousand messages takes up to a million
SIZE_LIMIT = 1 << 24  # bytes of one value with all that it holds; a million tokens are some four million characters
TOTAL_LIMIT = 1 << 27  # bytes that are made and read in all
BITS_LIMIT = 1 << 12  # of a whole number
WIDTH_LIMIT = 10_000  # of a field or an indentation
DEPTH_LIMIT = 64  # of lists and mappings in each other
CALL_LIMIT = 50  # of calls in each other
PROBE = 20  # part of a budget that is enough to find out what a template reads

ELEMENT = 64  # bytes that an element of a list counts for, beside its value
LEAF = 16  # bytes that a value counts for which is no text


class BudgetExceeded(Exception):
    """A template loops too long or makes too much."""


class Budget:
    """What one rendering has spent."""

    def __init__(self, part: int = 1) -> None:
        """`part`: 1 for all that a rendering may take, n for an n-th of it."""
        self.steps = STEP_LIMIT - STEP_LIMIT // part
        self.bytes = TOTAL_LIMIT - TOTAL_LIMIT // part
        self.calls = 0
        # By id, which stays taken as long as the value stands here. Nothing that is weighed can change: the sandbox
        # lets a template change namespaces alone.
        self._weights: dict[int, tuple[Any, int, int]] = {}

    def step(self, count: int = 1) -> None:
        """Count `count` parts of the template."""
        self.steps += count
        if self.steps > STEP_LIMIT:
            raise BudgetExceeded(f"it takes more than {STEP_LIMIT:,} steps")

    def spend(self, size: int) -> None:
        """Count `size` bytes that are made or read."""
        self.bytes += size
        if self.bytes > TOTAL_LIMIT:
            raise BudgetExceeded(f"it makes and reads more than {TOTAL_LIMIT:,} bytes in all")

    def make(self, size: int) -> None:
        """Count a value of `size` bytes that is about to be made."""
        if size > SIZE_LIMIT:
            raise BudgetExceeded(f"it makes a value of {size:,} bytes; at most {SIZE_LIMIT:,} may be")
        self.spend(size)

    def made(self, value: T) -> T:
        """`value`, counted; a list or mapping for itself, not for what it holds and what was counted before."""
        if isinstance(value, str):
            self.make(size(value))
        elif isinstance(value, (list, tuple, dict)):
            self.spend(ELEMENT * (1 + len(value)))
            self.weight(value)
        elif isinstance(value, int) and value.bit_length() > BITS_LIMIT:
            raise BudgetExceeded(f"it makes a number of {value.bit_length():,} bits; at most {BITS_LIMIT:,} may be")
        return value

    def read(self, *values: Any) -> None:
        """Count all that `values` hold."""
        for value in values:
            self.spend(self.weight(value))

    def weight(self, value: Any) -> int:
        """Bytes of a value with all that it holds, each time that it holds it. Refuses those that are too deep."""
        return self._weight_and_depth(value, 0)[0]

    def width(self, *numbers: Any) -> None:
        """Refuse absurd widths."""
        for number in numbers:
            if isinstance(number, int) and abs(number) > WIDTH_LIMIT:
                raise BudgetExceeded(f"it asks for a width of {number:,}; at most {WIDTH_LIMIT:,} may be")

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count a call while it lasts."""
        if self.calls >= CALL_LIMIT:
            raise BudgetExceeded(f"its calls stand in each other more than {CALL_LIMIT} deep")
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1

    def _weight_and_depth(self, value: Any, above: int) -> tuple[int, int]:
        if isinstance(value, str):
            return size(value), 0
        if isinstance(value, int):
            return LEAF + value.bit_length() // 8, 0
        if isinstance(value, range):
            return LEAF + ELEMENT * len(value), 1
        parts = _parts(value)
        if parts is None:
            return LEAF, 0
        known = self._weights.get(id(value))
        if known is not None:
            weight, depth = known[1:]
        else:
            weight, depth = self._weigh_parts(parts, above + 1)
            self._weights[id(value)] = value, weight, depth
        if above + depth > DEPTH_LIMIT:
            raise BudgetExceeded(f"it puts values into each other more than {DEPTH_LIMIT} deep")
        return weight, depth

    def _weigh_parts(self, parts: Iterable[Any], above: int) -> tuple[int, int]:
        if above > DEPTH_LIMIT:
            raise BudgetExceeded(f"it puts values into each other more than {DEPTH_LIMIT} deep")
        weight = depth = 0
        weights = self._weights
        for part in parts:
            known = weights.get(id(part))
            more, deep = known[1:] if known is not None else self._weight_and_depth(part, above)
            weight += more + ELEMENT
            if deep > depth:
                depth = deep
            if weight > SIZE_LIMIT:
                raise BudgetExceeded(f"it makes a value of more than {SIZE_LIMIT:,} bytes")
        return weight + LEAF, depth + 1

    def joined(self, left: Sized, right: Sized, result: T) -> T:
        """`result`, counted, which holds what `left` and `right` do; nobody looks at what that is, one by one."""
        (weight, depth), (more, deep) = self._weight_and_depth(left, 0), self._weight_and_depth(right, 0)
        self.make(0 if weight + more <= SIZE_LIMIT else weight + more)
        self.spend(LEAF * (1 + len(left) + len(right)))
        self._weights[id(result)] = result, weight + more, max(depth, deep)
        return result


def size(text: str) -> int:
    """Bytes that a text may take; a constant-time bound."""
    return len(text) if text.isascii() else 4 * len(text)


def budget() -> Budget:
    """That of the rendering under way."""
    return _BUDGET.get()


@contextmanager
def new_budget(part: int = 1) -> Iterator[Budget]:
    """A budget, or an n-th of one, for what is rendered inside."""
    token = _BUDGET.set(Budget(part))
    try:
        yield _BUDGET.get()
    finally:
        _BUDGET.reset(token)


_BUDGET: ContextVar[Budget] = ContextVar("budget")


def _parts(value: Any) -> Iterable[Any] | None:
    """What a container holds; None for what is none, or does not show what it holds."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, dict):
        return (part for pair in value.items() for part in pair)
    return list(value) if isinstance(value, (KeysView, ValuesView, ItemsView)) else None
