"""The header of a GGUF file: metadata and the table of tensors (format version 2 and 3, little-endian).

Read from the first bytes of the file. Layout: magic "GGUF", u32 version, u64 number of tensors, u64 number of keys;
per key its name, the type and the value; per tensor its name, u32 number of dimensions, the u64 dimensions (innermost
first), u32 weight type and u64 offset of its bytes from the first multiple of `general.alignment` behind the header.
A string is a u64 length and UTF-8 bytes; an array is a u32 element type, a u64 count and the elements.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..errors import InvalidFile
from .gguf_arrays import MetadataArray, read_array
from .gguf_cursor import KEY_LIMIT, NAME_LIMIT, Cursor, MoreBytesNeeded, ValueType

T = TypeVar("T")

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4
SHOWN = 80  # characters of a key in messages, and of a value
SMALLEST_KEY = 8 + 4 + 1  # bytes: an empty name, a type, a u8
SMALLEST_TENSOR = 8 + 4 + 8 + 4 + 8  # bytes: an empty name and one dimension


@dataclass(frozen=True)
class TensorLine:
    """A tensor as its line in the table says, nothing checked but that the line is whole."""

    name: str
    shape: tuple[int, ...]  # outermost first
    type: int
    offset: int  # bytes from the start of the tensors' data


@dataclass(frozen=True)
class GgufHeader:
    """All that stands before the weights."""

    version: int
    metadata: dict[str, object]  # numbers, bools, strings, and arrays that decode on demand
    tensors: tuple[TensorLine, ...]
    alignment: int
    data_start: int  # bytes from the start of the file


class HeaderReader:
    """Reads the header of a file of `file_size` bytes as far as the bytes at hand go; goes on when there are more."""

    def __init__(self, file_size: int, file: str) -> None:
        self.cursor = Cursor(b"", file_size, file)
        self.metadata: dict[str, object] = {}
        self.tensors: list[TensorLine] = []
        self.start: tuple[int, int, int] | None = None  # version, number of tensors, number of keys

    def read(self, data: bytes) -> GgufHeader:
        """`data` are the first bytes of the file.

        Raises MoreBytesNeeded if they do not hold the whole header (call again with more), TruncatedFile if the file
        does not, and InvalidFile.
        """
        cursor = self.cursor
        cursor.data = data
        if self.start is None:
            self.start = self._whole(_read_start)
        version, n_tensors, n_keys = self.start
        while len(self.metadata) < n_keys:
            key, value = self._whole(lambda cursor: _read_key(cursor, self.metadata))
            self.metadata[key] = value
        while len(self.tensors) < n_tensors:
            self.tensors.append(self._whole(lambda cursor: _read_tensor(cursor, len(self.tensors))))
        alignment = _alignment(self.metadata, cursor.file)
        data_start = -(-cursor.position // alignment) * alignment
        return GgufHeader(version, self.metadata, tuple(self.tensors), alignment, data_start)

    def _whole(self, read_item: Callable[[Cursor], T]) -> T:
        """The next item; where it lies at hand in part, the cursor stays in front of it."""
        start = self.cursor.position
        try:
            return read_item(self.cursor)
        except MoreBytesNeeded:
            self.cursor.position = start
            raise


def _read_start(cursor: Cursor) -> tuple[int, int, int]:
    version = _version(cursor)
    n_tensors = cursor.count("the number of tensors", SMALLEST_TENSOR)
    return version, n_tensors, cursor.count("the number of metadata keys", SMALLEST_KEY)


def _version(cursor: Cursor) -> int:
    start = cursor.skip(len(MAGIC), "the magic")
    magic = cursor.data[start : start + len(MAGIC)]
    if magic != MAGIC:
        raise InvalidFile(f"{cursor.file} starts with {magic!r}, but a GGUF file starts with {MAGIC!r}.")
    version = cursor.integer(ValueType.UINT32, "the version")
    if version in VERSIONS:
        return version
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in VERSIONS:
        raise InvalidFile(
            f"{cursor.file} is a big-endian GGUF file, which is not supported. Use the little-endian file of the model."
        )
    raise InvalidFile(
        f"{cursor.file} has GGUF version {version}; versions 2 and 3 are supported. "
        "Use a file that was converted with a current converter."
    )


def _read_key(cursor: Cursor, known: Mapping[str, object]) -> tuple[str, object]:
    start = cursor.position
    key = cursor.text(f"the name of metadata key {len(known)}", KEY_LIMIT)
    if not key:
        raise cursor.invalid(f"metadata key {len(known)} has no name", start)
    if key in known:
        raise cursor.invalid(f"the metadata key {key:.{SHOWN}} stands there twice, the second time", start)
    return key, _read_value(cursor, key[:SHOWN])


def _read_value(cursor: Cursor, key: str) -> int | float | bool | str | MetadataArray[object]:
    value_type = cursor.value_type(key)
    if value_type == ValueType.STRING:
        return cursor.text(key)
    if value_type == ValueType.ARRAY:
        return read_array(cursor, key)
    return cursor.number(value_type, key)


def _read_tensor(cursor: Cursor, index: int) -> TensorLine:
    start = cursor.position
    name = cursor.text(f"the name of tensor {index}", NAME_LIMIT)
    if not name:
        raise cursor.invalid(f"tensor {index} has no name", start)
    n_dims = cursor.integer(ValueType.UINT32, f"the number of dimensions of tensor {name}")
    if not 1 <= n_dims <= MAX_DIMENSIONS:
        raise cursor.invalid(f"tensor {name} has {n_dims:,} dimensions, but 1 to {MAX_DIMENSIONS} are allowed", start)
    dims = [cursor.integer(ValueType.UINT64, f"dimension {i} of tensor {name}") for i in range(n_dims)]
    weight_type = cursor.integer(ValueType.UINT32, f"the type of tensor {name}")
    offset = cursor.integer(ValueType.UINT64, f"the offset of tensor {name}")
    return TensorLine(name, tuple(reversed(dims)), weight_type, offset)


def _alignment(metadata: dict[str, object], file: str) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if isinstance(alignment, bool) or not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise InvalidFile(f"general.alignment is {alignment!r:.{SHOWN}} in {file}, but must be a power of two.")
    return alignment
