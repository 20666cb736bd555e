"""GGUF models in several files: whether the parts belong together.

Each part is a GGUF file of its own, with `split.no` (from 0 on), `split.count` and `split.tensors.count` (of all parts
together) and the table of the tensors that lie in it. The model's metadata stand in the first part.
"""

from collections.abc import Mapping, Sequence

from ..errors import InvalidFile
from .gguf_header import GgufHeader

NUMBER, COUNT, TENSORS = "split.no", "split.count", "split.tensors.count"


def check_split(headers: Sequence[GgufHeader], files: Sequence[str]) -> None:
    """Hold the headers of a model's files against each other. Raises InvalidFile; passes a model of one file."""
    if len(headers) == 1:
        _refuse_part(headers[0].metadata, files[0])
        return
    for i, (header, file) in enumerate(zip(headers, files, strict=True)):
        _check_place(header.metadata, file, i, len(files))
        _check_kin(headers[0].metadata, header.metadata, files[0], file)
    _check_tensors(headers, files)


def _refuse_part(metadata: Mapping[str, object], file: str) -> None:
    count = metadata.get(COUNT, 1)
    if isinstance(count, int) and count > 1:
        raise InvalidFile(
            f"{file} is one of the {count:,} parts of a model, but its name does not say so. Name them all as their "
            f"splitter did, NAME-00001-of-{count:05}.gguf and so on, and give the first."
        )


def _check_place(metadata: Mapping[str, object], file: str, place: int, count: int) -> None:
    for key, expected in ((COUNT, count), (NUMBER, place)):
        value = metadata.get(key)
        if value != expected:
            found = f"is {value!r}" if key in metadata else "is missing"
            raise InvalidFile(
                f"{file} is called part {place + 1} of {count}, but its {key} {found}, not {expected}. "
                "It belongs to another model, or was renamed: download it again."
            )


def _check_kin(first: Mapping[str, object], other: Mapping[str, object], first_file: str, file: str) -> None:
    """Whatever both say of the model must be the same."""
    for key, value in other.items():
        if key != NUMBER and isinstance(value, str | int | float) and first.get(key, value) != value:
            raise InvalidFile(
                f"{file} is a part of another model than {first_file}: its {key} is {value!r:.80}, not "
                f"{first[key]!r:.80}. "
                "Download all parts of the model from one place."
            )


def _check_tensors(headers: Sequence[GgufHeader], files: Sequence[str]) -> None:
    homes: dict[str, str] = {}
    for header, file in zip(headers, files, strict=True):
        for line in header.tensors:
            if homes.get(line.name, file) != file:
                raise InvalidFile(
                    f"{line.name} stands in {homes[line.name]} and again in {file}. They are parts of different "
                    "models: download all parts from one place."
                )
            homes[line.name] = file
    total = headers[0].metadata.get(TENSORS)
    if total != len(homes):
        raise InvalidFile(
            f"The {len(files)} parts of {files[0]} hold {len(homes):,} tensors, but {TENSORS} is {total!r}. "
            "A part belongs to another model: download all parts from one place."
        )
