"""The header of a GGUF file: metadata and the table of tensors (format version 2 and 3, little-endian).

A pure function of the file's first bytes. Layout: magic "GGUF", u32 version, u64 number of tensors, u64 number of keys;
per key its name, the type and the value; per tensor its name, u32 number of dimensions, the u64 dimensions (innermost
first), u32 weight type and u64 offset of its bytes from the first multiple of `general.alignment` behind the header.
A string is a u64 length and UTF-8 bytes; an array is a u32 element type, a u64 count and the elements.
"""

from dataclasses import dataclass

from ..errors import InvalidFile
from .gguf_arrays import MetadataArray, read_array
from .gguf_cursor import NAME_LIMIT, Cursor, ValueType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4
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


def parse_header(data: bytes, file_size: int, file: str) -> GgufHeader:
    """The header of `file`, of which `data` are the first bytes.

    Raises MoreBytesNeeded if they do not hold the whole header, TruncatedFile if the file does not, and InvalidFile.
    """
    cursor = Cursor(data, file_size, file)
    version = _version(cursor)
    n_tensors = cursor.count("the number of tensors", SMALLEST_TENSOR)
    n_keys = cursor.count("the number of metadata keys", SMALLEST_KEY)
    metadata: dict[str, object] = {}
    for i in range(n_keys):
        _read_key(cursor, i, metadata)
    tensors = tuple(_read_tensor(cursor, i) for i in range(n_tensors))
    alignment = _alignment(metadata, file)
    return GgufHeader(version, metadata, tensors, alignment, -(-cursor.position // alignment) * alignment)


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


def _read_key(cursor: Cursor, index: int, metadata: dict[str, object]) -> None:
    start = cursor.position
    key = cursor.text(f"the name of metadata key {index}", NAME_LIMIT)
    if not key:
        raise cursor.invalid(f"metadata key {index} has no name", start)
    if key in metadata:
        raise cursor.invalid(f"the metadata key {key} stands there twice, the second time", start)
    metadata[key] = _read_value(cursor, key)


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
        raise InvalidFile(f"general.alignment is {alignment!r} in {file}, but must be a power of two.")
    return alignment
