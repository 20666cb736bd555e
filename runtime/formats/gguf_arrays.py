"""Arrays of a GGUF file's metadata: passed over while the header is read, decoded when their elements are asked for."""

import struct
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar, overload

from ..errors import InvalidFile
from .gguf_cursor import NUMBERS, Cursor, ValueType

DEPTH_LIMIT = 4  # arrays within arrays; real files have one
LENGTH = struct.Struct("<Q")  # in front of every string
HEAD_SIZE = 12  # bytes: element type and count, in front of every array

Starts: TypeAlias = "array[int]"
T = TypeVar("T")


class MetadataArray(Sequence[T]):
    """`count` elements of `element_type` that lay in `data`, which is all of the header that it keeps."""

    def __init__(self, label: str, element_type: ValueType, count: int, data: bytes) -> None:
        self.label = label  # "tokenizer.ggml.tokens of model.gguf"
        self.element_type = element_type
        self.length = count
        self.data = data

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        chosen = range(self.length)[index]
        return self.element(chosen) if isinstance(chosen, int) else [self.element(i) for i in chosen]

    def __iter__(self) -> Iterator[T]:
        return map(self.element, range(self.length))

    def __repr__(self) -> str:
        return f"<{self.length:,} x {self.element_type.name}: {self.label}>"

    @abstractmethod
    def element(self, index: int) -> T:
        """Decode element `index`, which is in range."""


class NumberArray(MetadataArray[T]):
    """Numbers of one type, decoded all at once when the first is asked for."""

    @cached_property
    def numbers(self) -> tuple[T, ...]:
        form = "?" if self.element_type == ValueType.BOOL else NUMBERS[self.element_type]
        return struct.unpack(f"<{self.length}{form}", self.data)

    def element(self, index: int) -> T:
        return self.numbers[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self.numbers)


class IntegerArray(NumberArray[int]):
    """Integers, or bools."""


class FloatArray(NumberArray[float]):
    """Numbers of single or double precision."""


class StringArray(MetadataArray[str]):
    """Strings; `starts` has where the length in front of each lies in `data`, and where the last string ends."""

    def __init__(self, label: str, count: int, data: bytes, starts: Starts) -> None:
        super().__init__(label, ValueType.STRING, count, data)
        self.starts = starts

    def __iter__(self) -> Iterator[str]:
        """All of them decoded at once: a vocabulary is looked through several times while a model is loaded."""
        data, starts, length = self.data, self.starts.tolist(), LENGTH.size
        try:
            return iter([data[i + length : j].decode() for i, j in pairwise(starts)])
        except UnicodeDecodeError:
            return super().__iter__()  # which says where

    def element(self, index: int) -> str:
        try:
            return self.data[self.starts[index] + LENGTH.size : self.starts[index + 1]].decode()
        except UnicodeDecodeError:
            raise InvalidFile(f"String {index} of {self.label} is not UTF-8. The file is broken.") from None


class NestedArray(MetadataArray[MetadataArray[Any]]):
    """Arrays; `starts` has where each lies in `data`, and where the last one ends."""

    def __init__(self, label: str, count: int, data: bytes, starts: Starts) -> None:
        super().__init__(label, ValueType.ARRAY, count, data)
        self.starts = starts

    def element(self, index: int) -> MetadataArray[Any]:
        cursor = Cursor(self.data, len(self.data), self.label, self.starts[index])
        return read_array(cursor, f"array {index}")


def read_array(cursor: Cursor, what: str) -> MetadataArray[Any]:
    """The array at the cursor, which moves behind it. Raises what `Cursor` does."""
    label = f"{what} of {cursor.file}"
    element_type, count = _read_head(cursor, what)
    start = cursor.position
    starts = _skip_elements(cursor, what, element_type, count, depth=1)
    data = cursor.data[start : cursor.position]
    if element_type == ValueType.STRING:
        return StringArray(label, count, data, starts)
    if element_type == ValueType.ARRAY:
        return NestedArray(label, count, data, starts)
    if element_type in (ValueType.FLOAT32, ValueType.FLOAT64):
        return FloatArray(label, element_type, count, data)
    return IntegerArray(label, element_type, count, data)


def _read_head(cursor: Cursor, what: str) -> tuple[ValueType, int]:
    element_type = cursor.value_type(f"the elements of {what}")
    return element_type, cursor.count(f"the number of elements of {what}", _smallest_size(element_type))


def _smallest_size(element_type: ValueType) -> int:
    """Bytes that an element takes at least."""
    if element_type in NUMBERS:
        return struct.calcsize("<" + NUMBERS[element_type])
    return LENGTH.size if element_type == ValueType.STRING else HEAD_SIZE


def _skip_elements(cursor: Cursor, what: str, element_type: ValueType, count: int, depth: int) -> Starts:
    """Where each element starts, counted from the first, and where the last one ends; empty for numbers."""
    if element_type == ValueType.STRING:
        return _skip_strings(cursor, what, count)
    if element_type == ValueType.ARRAY:
        return _skip_arrays(cursor, what, count, depth)
    cursor.skip(count * _smallest_size(element_type), what)
    return array("Q")


def _skip_strings(cursor: Cursor, what: str, count: int) -> Starts:
    data, base = cursor.data, cursor.position
    starts = array("Q")
    add, length_at, last = starts.append, LENGTH.unpack_from, len(data) - LENGTH.size
    at = base
    for _ in range(count):  # a vocabulary has 150,000: nothing more in this loop than it needs
        if at > last:
            at += LENGTH.size  # ends behind the bytes at hand, whatever the length turns out to be
            break
        add(at - base)
        at += LENGTH.size + length_at(data, at)[0]
    likely = base + (at - base) * count // max(len(starts), 1)  # if the strings not yet seen are as long
    cursor.skip(at - base, f"string number {len(starts)} of {what}", likely)
    starts.append(at - base)
    return starts


def _skip_arrays(cursor: Cursor, what: str, count: int, depth: int) -> Starts:
    if depth == DEPTH_LIMIT:
        raise cursor.invalid(f"{what} has arrays within arrays, more than {DEPTH_LIMIT} deep", cursor.position)
    base = cursor.position
    starts = array("Q", [0])
    for _ in range(count):
        element_type, inner_count = _read_head(cursor, what)
        _skip_elements(cursor, what, element_type, inner_count, depth + 1)
        starts.append(cursor.position - base)
    return starts
