"""Answers that are asked for piece by piece, and may be given up."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class Stream(Generic[T]):
    """A job that yields. `cancel` asks it to end; what it had yielded before still arrives."""

    produce: Callable[["Stream[T]"], AsyncIterator[T]]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True
