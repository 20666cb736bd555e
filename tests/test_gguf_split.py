"""GGUF models in several files: read as one, and refused where the files do not belong together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import shaderlm
from byte_sources import ARCHITECTURE, BytesSource, wait
from gguf_writer import Tensor, gguf_bytes, tensor
from shaderlm.errors import InvalidFile, TensorOutOfFile
from shaderlm.formats import read_checkpoint
from shaderlm.hosts.native.files import model_files, open_files
from shaderlm.parts import JoinedSource
from split_files import split
from tiny_model import TINY, goldens


def ones(*shape: int) -> Tensor:
    return tensor(np.ones(shape), "F32")


def place(number: int, count: int, tensors: object) -> dict[str, object]:
    keys = {"split.no": number, "split.count": count, "split.tensors.count": tensors}
    return {key: value for key, value in keys.items() if value is not None}


def joined(*parts: tuple[dict[str, object], dict[str, Tensor]]) -> JoinedSource:
    sources = [
        BytesSource(gguf_bytes(*part), name=f"m-{i:05}-of-{len(parts):05}.gguf") for i, part in enumerate(parts, 1)
    ]
    return JoinedSource(sources)


FIRST = ({**ARCHITECTURE, "general.name": "M", **place(0, 2, 3)}, {"a": ones(2), "b": ones(3)})
SECOND = (place(1, 2, 3), {"c": ones(4)})


def second(keys: dict[str, object] | None = None, tensors: dict[str, Tensor] | None = None) -> tuple[Any, Any]:
    return {**SECOND[0], **(keys or {})}, SECOND[1] if tensors is None else tensors


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_split_model_has_the_tensors_of_the_whole_one(tmp_path: Path, parts: int) -> None:
    """Against the `gguf` package, which takes the file apart and reads the whole one."""
    source = open_files(model_files(split(TINY, tmp_path, parts)[0]))
    found, whole = wait(read_checkpoint(source)), gguf.GGUFReader(TINY)
    assert list(found.tensors) == [one.name for one in whole.tensors]
    for one in whole.tensors:
        info = found.tensors[one.name]
        data = one.data.tobytes()
        assert wait(source.read(info.offset, info.size)) == data, one.name
        assert bytes(wait(source.chunk(info.offset, info.size))) == data, one.name
    assert found.metadata["general.architecture"] == "llama"
    assert found.name == f"tiny-00001-of-0000{parts}.gguf"


def test_a_split_model_answers_as_the_whole_one(tmp_path: Path) -> None:
    golden = goldens()["cut"]
    with shaderlm.load(split(TINY, tmp_path, 3)[0]) as model:
        assert model.name == "tiny-00001-of-00003.gguf"
        answer = model.complete(golden.prompt, max_tokens=golden.max_tokens, temperature=0)
    assert answer.text == golden.text


def test_offsets_count_from_the_start_of_the_first_part() -> None:
    source = joined(FIRST, SECOND)
    found = wait(read_checkpoint(source))
    assert [*found.tensors] == ["a", "b", "c"]
    assert found.tensors["c"].offset >= source.parts[0].size
    assert wait(source.read(found.tensors["c"].offset, 16)) == np.ones(4, "<f4").tobytes()


REFUSED: Sequence[tuple[tuple[Any, Any], tuple[Any, Any], str]] = [
    (
        FIRST,
        second({"split.no": 0}),
        r"m-00002-of-00002\.gguf is called part 2 of 2, but its split\.no is 0, not 1\. .*download it again",
    ),
    (
        FIRST,
        second({"split.count": 5}),
        r"m-00002-of-00002\.gguf is called part 2 of 2, but its split\.count is 5, not 2",
    ),
    (FIRST, ({}, {"c": ones(4)}), r"m-00002-of-00002\.gguf .* but its split\.count is missing, not 2"),
    (
        FIRST,
        second({"general.name": "N"}),
        r"m-00002-.* is a part of another model than m-00001-.*: its general\.name is 'N', not 'M'\. Download all",
    ),
    (FIRST, second({"split.tensors.count": 9}), r"of another model than .*: its split\.tensors\.count is 9, not 3"),
    (
        FIRST,
        second(tensors={"b": ones(4)}),
        r"b stands in m-00001-of-00002\.gguf and again in m-00002-of-00002\.gguf\. They are parts of different models",
    ),
    (
        FIRST,
        second(tensors={"c": ones(4), "d": ones(1)}),
        r"The 2 parts of m-00001-of-00002\.gguf hold 4 tensors, but split\.tensors\.count is 3\.",
    ),
    (
        ({**ARCHITECTURE, **place(0, 2, None)}, {"a": ones(2)}),
        (place(1, 2, None), {"b": ones(2)}),
        r"hold 2 tensors, but split\.tensors\.count is None",
    ),
]


@pytest.mark.parametrize(("first", "other", "message"), REFUSED)
def test_parts_that_do_not_belong_together_are_refused(first: Any, other: Any, message: str) -> None:
    with pytest.raises(InvalidFile, match=message):
        wait(read_checkpoint(joined(first, other)))


def test_one_part_under_the_name_of_a_whole_file_is_told_how_to_be_called() -> None:
    data = gguf_bytes({**ARCHITECTURE, **place(0, 3, 1)}, {"a": ones(2)})
    with pytest.raises(InvalidFile, match=r"model\.gguf is one of the 3 parts .* NAME-00001-of-00003\.gguf and so on"):
        wait(read_checkpoint(BytesSource(data)))


def test_a_part_that_ends_early_is_named() -> None:
    whole = joined(FIRST, SECOND)
    end = whole.parts[0].size
    cut = BytesSource(wait(whole.parts[0].read(0, end - 32)), name="m-00001-of-00002.gguf")
    with pytest.raises(TensorOutOfFile, match=rf"b in m-00001-of-00002\.gguf ends at byte .* the file has {end - 32}"):
        wait(read_checkpoint(JoinedSource([cut, whole.parts[1]])))


def test_a_part_that_is_no_gguf_file_is_named() -> None:
    other = BytesSource(b"<html>Sign in</html>" * 9, name="m-00002-of-00002.gguf")
    with pytest.raises(InvalidFile, match=r"m-00002-of-00002\.gguf starts with b'<htm', but a GGUF file starts"):
        wait(read_checkpoint(JoinedSource([joined(FIRST, SECOND).parts[0], other])))
