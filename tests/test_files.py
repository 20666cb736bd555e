"""Model files on the disk: mapped, not copied, and a clear word where there is none."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from byte_sources import wait
from shaderlm.errors import ModelNotFound, TruncatedFile
from shaderlm.hosts.native.files import FileSource, model_files, open_files
from shaderlm.parts import JoinedSource

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
        model_files(tmp_path / "nothing.gguf")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    with pytest.raises(TruncatedFile, match=r"model\.gguf is empty\. Download it again"):
        FileSource(tmp_path / "model.gguf")


def test_a_file_is_a_model_whatever_it_is_called(file: Path) -> None:
    assert model_files(file) == (file,)
    assert model_files(file.rename(file.with_name("model"))) == (file.with_name("model"),)


def test_a_folder_stands_for_the_only_model_in_it(file: Path) -> None:
    (file.parent / "README.md").write_text("a model")
    (file.parent / "._model.gguf").write_text("what macOS leaves on foreign disks")
    assert model_files(file.parent) == (file,)


def test_a_folder_with_several_models_lists_them(file: Path) -> None:
    for name in ("another.GGUF", "set-00001-of-00002.gguf", "set-00002-of-00002.gguf", "half-00003-of-00003.gguf"):
        (file.parent / name).write_bytes(DATA)
    with pytest.raises(
        ModelNotFound,
        match=r"holds 4 models: another\.GGUF, half-00001-of-00003\.gguf \(1 of 3 parts\), model\.gguf, "
        r"set-00001-of-00002\.gguf \(2 parts\)\. Give the path of one",
    ):
        model_files(file.parent)


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"holds no \.gguf file"):
        model_files(tmp_path)


def parts(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"big-{i:05}-of-{count:05}.gguf" for i in range(1, count + 1)]
    for i, path in enumerate(paths):
        path.write_bytes(DATA + bytes([i]))
    return paths


def test_the_first_part_stands_for_all_and_so_does_their_folder(tmp_path: Path) -> None:
    paths = parts(tmp_path, 3)
    assert model_files(paths[0]) == tuple(paths)
    assert model_files(tmp_path) == tuple(paths)
    source = open_files(paths)
    assert isinstance(source, JoinedSource)
    assert wait(source.read(len(DATA), 2)) == b"\0" + DATA[:1]
    assert source.size == 3 * (len(DATA) + 1)


def test_a_later_part_is_told_the_first(tmp_path: Path) -> None:
    paths = parts(tmp_path, 3)
    with pytest.raises(ModelNotFound, match=r"big-00002-of-00003\.gguf is part 2 .* Give the first: .*big-00001"):
        model_files(paths[1])


@pytest.mark.parametrize("given", ["file", "folder"])
def test_missing_parts_are_named(tmp_path: Path, given: str) -> None:
    paths = parts(tmp_path, 9)
    for path in paths[2:]:
        path.unlink()
    with pytest.raises(ModelNotFound, match=r"lacks 7 of the 9 parts .*: big-00003-.*\.gguf, .* and 2 more\. Down"):
        model_files(paths[0] if given == "file" else tmp_path)


def test_where_a_part_cannot_be_opened_the_others_are_closed(tmp_path: Path) -> None:
    paths = parts(tmp_path, 2)
    paths[1].write_bytes(b"")
    with pytest.raises(TruncatedFile, match=r"big-00002-of-00002\.gguf is empty"), recorded() as opened:
        open_files(paths)
    (source,) = opened
    with pytest.raises(ValueError, match="released"):
        wait(source.read(0, 1))


@contextmanager
def recorded() -> Iterator[list[FileSource]]:
    """The file sources that are made meanwhile."""
    opened: list[FileSource] = []
    with pytest.MonkeyPatch.context() as patch:
        intact = FileSource.__init__

        def record(self: FileSource, path: Path) -> None:
            intact(self, path)
            opened.append(self)

        patch.setattr(FileSource, "__init__", record)
        yield opened


def test_a_path_that_no_system_takes_is_refused() -> None:
    with pytest.raises(ModelNotFound, match=r"cannot be read|There is no file"):
        model_files(Path("x" * 5000))


def test_a_null_byte_in_a_path_is_refused() -> None:
    with pytest.raises(ModelNotFound, match="There is no file"):
        model_files(Path("a\0b"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="file permissions of this kind are a matter of Unix")
@pytest.mark.parametrize("forbidden", ["file", "folder"])
def test_a_file_that_may_not_be_read_says_so(file: Path, forbidden: str) -> None:
    path = file if forbidden == "file" else file.parent
    path.chmod(0)
    try:
        message = as_nobody(lambda: message_of(lambda: FileSource(model_files(file)[0])))
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
