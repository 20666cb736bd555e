"""A position in the header of a GGUF file, which never leaves the file and never reads past the bytes at hand."""

import struct
from enum import IntEnum

from ..errors import InvalidFile, TruncatedFile

HEADER_LIMIT = 1 << 28  # bytes: real headers take at most a tenth of it, and a broken file must not fill the memory
KEY_LIMIT = 65535  # bytes of a key
NAME_LIMIT = 64  # bytes of a tensor's name


class ValueType(IntEnum):
    """Types of metadata values, by the number that files use."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


# Format characters of `struct`; a bool is read as the byte that it is.
NUMBERS = {
    ValueType.UINT8: "B",
    ValueType.INT8: "b",
    ValueType.UINT16: "H",
    ValueType.INT16: "h",
    ValueType.UINT32: "I",
    ValueType.INT32: "i",
    ValueType.FLOAT32: "f",
    ValueType.BOOL: "B",
    ValueType.UINT64: "Q",
    ValueType.INT64: "q",
    ValueType.FLOAT64: "d",
}


class MoreBytesNeeded(Exception):
    """The header goes on behind the bytes at hand, probably up to byte `end`, which lies inside the file."""

    def __init__(self, end: int) -> None:
        super().__init__(end)
        self.end = end


class Cursor:
    """Reads values one after the other from `data`, the first bytes of a file of `file_size` bytes.

    Raises TruncatedFile where a value would end past the file, InvalidFile where the header grows past all reason, and
    MoreBytesNeeded where the value lies in the file but not in `data`.
    """

    def __init__(self, data: bytes, file_size: int, file: str, position: int = 0) -> None:
        self.data = data
        self.file_size = file_size
        self.file = file
        self.position = position

    def skip(self, size: int, what: str, likely: int = 0) -> int:
        """Move on by `size` bytes; returns where they start. If more are needed, `likely` is where the item ends."""
        start = self.position
        end = start + size
        if end > len(self.data):
            self._beyond(end, likely, what)
        self.position = end
        return start

    def count(self, what: str, smallest: int) -> int:
        """A number of things that take at least `smallest` bytes each, held against the bytes that are left."""
        number = self.number(ValueType.UINT64, what)
        assert isinstance(number, int)
        left = self.file_size - self.position
        if number * smallest > left:
            raise TruncatedFile(
                f"{what} of {self.file} is {number:,}, which takes at least {number * smallest:,} bytes, but the file "
                f"has only {left:,} bytes left. It is broken or incomplete: download it again."
            )
        return number

    def number(self, value_type: ValueType, what: str) -> int | float | bool:
        form = "<" + NUMBERS[value_type]
        start = self.skip(struct.calcsize(form), what)
        value: int | float = struct.unpack_from(form, self.data, start)[0]
        if value_type != ValueType.BOOL:
            return value
        if value not in (0, 1):
            raise self.invalid(f"{what} is a bool of value {value}", start)
        return bool(value)

    def integer(self, value_type: ValueType, what: str) -> int:
        return int(self.number(value_type, what))

    def text(self, what: str, limit: int = HEADER_LIMIT) -> str:
        start = self.position
        length = self.count(f"the length of {what}", 1)
        if length > limit:
            raise self.invalid(f"{what} has {length:,} bytes, but at most {limit:,} are allowed", start)
        at = self.skip(length, what)
        try:
            return self.data[at : at + length].decode()
        except UnicodeDecodeError as error:
            raise self.invalid(f"{what} is not UTF-8", at + error.start) from None

    def value_type(self, what: str) -> ValueType:
        start = self.position
        number = self.integer(ValueType.UINT32, f"the type of {what}")
        try:
            return ValueType(number)
        except ValueError:
            raise self.invalid(f"{what} has the value type {number}, but GGUF has 0 to 12", start) from None

    def invalid(self, what: str, position: int) -> InvalidFile:
        return InvalidFile(f"{what}, in {self.file} at byte {position:,}. The file is broken: download it again.")

    def _beyond(self, end: int, likely: int, what: str) -> None:
        if end > self.file_size:
            raise TruncatedFile(
                f"{what} of {self.file} ends at byte {end:,}, but the file has {self.file_size:,}. "
                "It is broken or incomplete: download it again."
            )
        if end > HEADER_LIMIT:
            raise InvalidFile(
                f"{what} of {self.file} ends at byte {end:,}, but a header of more than {HEADER_LIMIT:,} bytes is not "
                "believed. The file is broken: download it again."
            )
        raise MoreBytesNeeded(min(max(end, likely), self.file_size, HEADER_LIMIT))
