"""Model files on the disk: mapped, not copied, and a clear word where there is none."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from byte_sources import wait
from shaderlm.errors import ModelNotFound, TruncatedFile
from shaderlm.hosts.native.files import FileSource

DATA = bytes(range(256)) * 40


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(DATA)
    return path


def test_bytes_are_read_where_they_are(file: Path) -> None:
    source = FileSource(file)
    assert (source.name, source.size) == ("model.gguf", len(DATA))
    assert wait(source.read(5, 7)) == DATA[5:12]
    assert wait(source.read(len(DATA) - 3, 100)) == DATA[-3:]
    assert wait(source.read(len(DATA), 1)) == b""


def test_a_chunk_is_a_view_of_the_mapping(file: Path) -> None:
    chunk = wait(FileSource(str(file)).chunk(256, 512))
    assert isinstance(chunk, memoryview)
    assert chunk.readonly
    assert chunk == DATA[256:768]


@pytest.mark.parametrize(("offset", "size"), [(0, len(DATA) + 1), (len(DATA), 1), (-1, 1), (1, -1)])
def test_a_chunk_outside_the_file_is_refused(file: Path, offset: int, size: int) -> None:
    with pytest.raises(TruncatedFile, match=r"model\.gguf lie outside its 10,240"):
        wait(FileSource(file).chunk(offset, size))


def test_closing_twice_or_with_a_chunk_in_use_is_fine(file: Path) -> None:
    source = FileSource(file)
    chunk = wait(source.chunk(0, 4))
    source.close()
    source.close()
    assert chunk == DATA[:4]


def test_closing_gives_the_mapping_back(file: Path) -> None:
    source = FileSource(file)
    source.close()
    with pytest.raises(ValueError, match="released"):
        wait(source.read(0, 1))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"There is no file .*nothing\.gguf\. Check the path"):
        FileSource(tmp_path / "nothing.gguf")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    with pytest.raises(TruncatedFile, match=r"model\.gguf is empty\. Download it again"):
        FileSource(tmp_path / "model.gguf")


def test_a_folder_stands_for_the_only_model_in_it(file: Path) -> None:
    (file.parent / "README.md").write_text("a model")
    assert FileSource(file.parent).path == file


def test_a_folder_with_several_models_lists_them(file: Path) -> None:
    (file.parent / "another.GGUF").write_bytes(DATA)
    with pytest.raises(ModelNotFound, match=r"holds 2 models: another\.GGUF, model\.gguf\. Give the path of one"):
        FileSource(file.parent)


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"holds no \.gguf file"):
        FileSource(tmp_path)


def test_a_path_that_no_system_takes_is_refused() -> None:
    with pytest.raises(ModelNotFound, match=r"cannot be read|There is no file"):
        FileSource("x" * 5000)


def test_a_null_byte_in_a_path_is_refused() -> None:
    with pytest.raises(ModelNotFound, match="There is no file"):
        FileSource("a\0b")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="file permissions of this kind are a matter of Unix")
@pytest.mark.parametrize("forbidden", ["file", "folder"])
def test_a_file_that_may_not_be_read_says_so(file: Path, forbidden: str) -> None:
    path = file if forbidden == "file" else file.parent
    path.chmod(0)
    try:
        message = as_nobody(lambda: message_of(lambda: FileSource(file)))
    finally:
        path.chmod(0o700)
    assert "model.gguf cannot be read: Permission denied. Give yourself the right to read it." in message


def message_of(call: Callable[[], object]) -> str:
    try:
        call()
    except ModelNotFound as error:
        return str(error)
    return "no ModelNotFound"


def as_nobody(call: Callable[[], str]) -> str:
    """What `call` returns in a process without root's rights, which are above all permissions."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            os.write(writing, call().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text
