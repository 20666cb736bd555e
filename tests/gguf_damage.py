"""Damage to GGUF files, for tests: what may be wrong with one, as data that prints as it is and can be made again.

A file is damaged twice over: in its parts (a key, a line of the table of tensors, a weight), from which it is written
as if nothing had happened; and then in its bytes, where the numbers that hold a header together are known by their
places.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from gguf import GGUFValueType

from gguf_documents import MODELS, Document
from gguf_writer import SCALARS, Typed

SIZES = {int(kind): struct.calcsize("<" + form) for kind, form in SCALARS.items()}


class PartDamage(ABC):
    """Something wrong with a part. Places are counted round and round, so that any number is one."""

    @abstractmethod
    def do(self, document: Document) -> None: ...


class ByteDamage(ABC):
    """Something wrong with the bytes. Places as in a part."""

    @abstractmethod
    def do(self, data: bytearray) -> None: ...


Damage: TypeAlias = PartDamage | ByteDamage


def damaged(document: Document, damages: Sequence[Damage]) -> bytes:
    """The bytes of a file with all of the damages, those of its parts first."""
    document = document.copy()
    for damage in damages:
        if isinstance(damage, PartDamage):
            damage.do(document)
    data = bytearray(document.bytes())
    for damage in damages:
        if isinstance(damage, ByteDamage):
            damage.do(data)
    return bytes(data)


# Parts


@dataclass(frozen=True)
class Key(PartDamage):
    """A key gets another value, or is there in the first place; without a value it is taken away."""

    name: str
    value: Any

    def do(self, document: Document) -> None:
        names = [name for name, _ in document.metadata]
        at = names.index(self.name) if self.name in names else len(names)
        document.metadata[at : at + 1] = [] if self.value is None else [(self.name, self.value)]


@dataclass(frozen=True)
class Element(PartDamage):
    """One element of the key's array is another, if it can be written in the other's place."""

    name: str
    at: int
    value: Any

    def do(self, document: Document) -> None:
        old = dict(document.metadata).get(self.name)
        value = old.value if isinstance(old, Typed) else old
        elements = list(value) if isinstance(value, list) else []
        if elements and type(elements[0]) is type(self.value):
            elements[self.at % len(elements)] = self.value
            Key(self.name, replace(old, value=elements) if isinstance(old, Typed) else elements).do(document)


@dataclass(frozen=True)
class KeyAgain(PartDamage):
    """A key stands there a second time, at the end."""

    at: int

    def do(self, document: Document) -> None:
        if document.metadata:
            document.metadata.append(document.metadata[self.at % len(document.metadata)])


@dataclass(frozen=True)
class Line(PartDamage):
    """A line of the table of tensors says something else: "shape", "type" or "offset"."""

    at: int
    what: str
    value: Any

    def do(self, document: Document) -> None:
        name, tensor = document.tensors[self.at % len(document.tensors)]
        document.tensors[self.at % len(document.tensors)] = (name, tensor._replace(**{self.what: self.value}))


@dataclass(frozen=True)
class Name(PartDamage):
    """A tensor has the name of another, or a name of its own."""

    at: int
    name: str | int

    def do(self, document: Document) -> None:
        tensors = document.tensors
        name = tensors[self.name % len(tensors)][0] if isinstance(self.name, int) else self.name
        tensors[self.at % len(tensors)] = (name, tensors[self.at % len(tensors)][1])


@dataclass(frozen=True)
class TensorAgain(PartDamage):
    """A tensor and its bytes are there twice, under one name or under two."""

    at: int
    name: str | None

    def do(self, document: Document) -> None:
        name, tensor = document.tensors[self.at % len(document.tensors)]
        document.tensors.append((name if self.name is None else self.name, tensor))


@dataclass(frozen=True)
class NoTensor(PartDamage):
    """A tensor is missing, its line and its bytes."""

    at: int

    def do(self, document: Document) -> None:
        if len(document.tensors) > 1:
            del document.tensors[self.at % len(document.tensors)]


@dataclass(frozen=True)
class Contents(PartDamage):
    """From some byte of a tensor on, its values are these, over and over."""

    at: int
    start: int
    pattern: bytes

    def do(self, document: Document) -> None:
        name, tensor = document.tensors[self.at % len(document.tensors)]
        size = len(tensor.data)
        start = self.start % max(size, 1) // 4 * 4
        filling = (self.pattern * (size // len(self.pattern) + 1))[: size - start]
        document.tensors[self.at % len(document.tensors)] = (name, tensor._replace(data=tensor.data[:start] + filling))


@dataclass(frozen=True)
class Writing(PartDamage):
    """The writer is told something else: "version", "alignment" (of the bytes), "n_tensors" or "n_keys"."""

    what: str
    value: int

    def do(self, document: Document) -> None:
        document.options[self.what] = self.value


# Bytes


@dataclass(frozen=True)
class Number(ByteDamage):
    """One of the header's lengths, counts, types, dimensions and offsets is `value`, or is off `by` so much."""

    at: int
    value: int | None = None
    by: int = 0

    def do(self, data: bytearray) -> None:
        places = list(numbers(data))
        if places:
            position, form = places[self.at % len(places)]
            value = struct.unpack_from(form, data, position)[0] + self.by if self.value is None else self.value
            struct.pack_into(form, data, position, value % 256 ** struct.calcsize(form))


@dataclass(frozen=True)
class Flip(ByteDamage):
    """A bit is the other one."""

    at: int
    bit: int

    def do(self, data: bytearray) -> None:
        if data:
            data[self.at % len(data)] ^= 1 << self.bit


@dataclass(frozen=True)
class Overwrite(ByteDamage):
    """Some bytes are others."""

    at: int
    content: bytes

    def do(self, data: bytearray) -> None:
        at = self.at % (len(data) + 1)
        end = min(at + len(self.content), len(data))
        data[at:end] = self.content[: end - at]


@dataclass(frozen=True)
class Insert(ByteDamage):
    """Some bytes lie between the others."""

    at: int
    content: bytes

    def do(self, data: bytearray) -> None:
        at = self.at % (len(data) + 1)
        data[at:at] = self.content


@dataclass(frozen=True)
class CutOut(ByteDamage):
    """Some bytes are missing."""

    at: int
    size: int

    def do(self, data: bytearray) -> None:
        at = self.at % (len(data) + 1)
        del data[at : at + self.size]


@dataclass(frozen=True)
class CutOff(ByteDamage):
    """The file ends early."""

    at: int

    def do(self, data: bytearray) -> None:
        del data[self.at % (len(data) + 1) :]


@dataclass(frozen=True)
class Again(ByteDamage):
    """A piece of the file lies in another place too, between the bytes that are there."""

    start: int
    size: int
    at: int

    def do(self, data: bytearray) -> None:
        start, at = self.start % (len(data) + 1), self.at % (len(data) + 1)
        data[at:at] = data[start : start + self.size]


@dataclass(frozen=True)
class Splice(ByteDamage):
    """From some byte on, the file goes on as another one does from some byte of its own."""

    at: int
    other: str  # of MODELS
    start: int

    def do(self, data: bytearray) -> None:
        other = MODELS[self.other]().bytes()
        data[self.at % (len(data) + 1) :] = other[self.start % len(other) :]


# Where the numbers stand


def numbers(data: bytes | bytearray) -> Iterator[tuple[int, str]]:
    """(position, `struct` format) of each number that holds a header together, as far as the header can be followed."""
    walk = _Walk(data)
    try:
        yield from walk.header()
    except (EOFError, KeyError, RecursionError):
        return  # damaged there


class _Walk:
    """Goes through a header once. Raises EOFError past the file's end, KeyError at an unknown type."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data
        self.position = 4
        self.last = 0  # the number that was read last

    def header(self) -> Iterator[tuple[int, str]]:
        yield self.number("<I")  # the version
        yield self.number("<Q")
        n_tensors = self.last
        yield self.number("<Q")
        for _ in range(self.last):
            yield from self.string()
            yield self.number("<I")
            yield from self.value(self.last)
        for _ in range(n_tensors):
            yield from self.string()
            yield self.number("<I")
            for _ in range(self.last):
                yield self.number("<Q")
            yield self.number("<I")
            yield self.number("<Q")

    def value(self, kind: int) -> Iterator[tuple[int, str]]:
        if kind == GGUFValueType.STRING:
            yield from self.string()
        elif kind == GGUFValueType.ARRAY:
            yield self.number("<I")
            element = self.last
            yield self.number("<Q")
            if element in SIZES:
                self.position += self.last * SIZES[element]
            else:
                for _ in range(self.last):
                    yield from self.value(element)
        else:
            self.position += SIZES[kind]

    def string(self) -> Iterator[tuple[int, str]]:
        yield self.number("<Q")
        self.position += self.last

    def number(self, form: str) -> tuple[int, str]:
        position = self.position
        self.position += struct.calcsize(form)
        if self.position > len(self.data):
            raise EOFError
        (self.last,) = struct.unpack_from(form, self.data, position)
        return position, form
