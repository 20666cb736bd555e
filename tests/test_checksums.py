"""FILE.sha256 beside a model: read, written, and held against the file."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

import shaderlm
from shaderlm.errors import ChecksumMismatch, InvalidOption, ModelNotFound
from shaderlm.hosts.native.checksums import digest_of, read_checksum, verify, write_checksum
from tiny_model import TINY

DATA = bytes(range(256)) * 10_000
DIGEST = hashlib.sha256(DATA).hexdigest()
OTHER = "0" * 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(DATA)
    return path


def checksum(file: Path, text: str) -> Path:
    path = file.with_name("model.gguf.sha256")
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        DIGEST,
        f"{DIGEST}\n",
        f"{DIGEST.upper()}\r\n",
        f"{DIGEST}  model.gguf\n",
        f"{DIGEST} *model.gguf\n",
        f"{OTHER}  another.gguf\n{DIGEST}  model.gguf\n",
        f"# by hand\n{DIGEST}\n",
    ],
)
def test_a_checksum_is_read_as_people_write_it(file, text):
    checksum(file, text)
    assert read_checksum(file) == DIGEST


def test_where_there_is_no_file_there_is_no_checksum(file):
    assert read_checksum(file) is None


@pytest.mark.parametrize("text", ["", "model.gguf\n", DIGEST[:-1], f"{OTHER}  another.gguf\n", "\0\xff" * 100])
def test_a_file_without_the_checksum_is_refused(file, text):
    checksum(file, text)
    with pytest.raises(ChecksumMismatch, match=r"model\.gguf\.sha256 holds no SHA-256 of model\.gguf: it begins"):
        read_checksum(file)


def test_a_checksum_that_cannot_be_read_says_so(file):
    (file.parent / "model.gguf.sha256").mkdir()
    with pytest.raises(ModelNotFound, match=r"model\.gguf\.sha256 cannot be read: Is a directory"):
        read_checksum(file)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
def test_what_is_written_sha256sum_takes_and_the_other_way_round(file):
    write_checksum(file, DIGEST)
    subprocess.run(["sha256sum", "--check", "--strict", "model.gguf.sha256"], cwd=file.parent, check=True)
    written = (file.parent / "model.gguf.sha256").read_text()
    made = subprocess.run(["sha256sum", "model.gguf"], cwd=file.parent, check=True, capture_output=True, text=True)
    assert made.stdout == written


def test_writing_replaces_what_was_there_and_leaves_nothing_else(file):
    checksum(file, OTHER)
    write_checksum(file, DIGEST)
    assert read_checksum(file) == DIGEST
    assert sorted(path.name for path in file.parent.iterdir()) == ["model.gguf", "model.gguf.sha256"]


def test_a_checksum_that_stands_there_already_is_not_written_again(file):
    write_checksum(file, DIGEST)
    before = (file.parent / "model.gguf.sha256").stat()
    write_checksum(file, DIGEST)
    assert (file.parent / "model.gguf.sha256").stat().st_ino == before.st_ino


def test_where_it_cannot_be_written_nothing_is_left(file):
    (file.parent / "model.gguf.sha256").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_checksum(file, DIGEST)
    assert sorted(path.name for path in file.parent.iterdir()) == ["model.gguf", "model.gguf.sha256"]


def test_a_digest_is_hashlibs_own_and_progress_counts_to_the_size(file):
    told = []
    assert digest_of(file, lambda done, total: told.append((done, total))) == DIGEST
    assert told[-1] == (len(DATA), len(DATA))
    assert len(told) > 1


def test_a_file_that_is_gone_says_so(tmp_path):
    with pytest.raises(ModelNotFound, match=r"gone\.gguf cannot be read: No such file"):
        digest_of(tmp_path / "gone.gguf")


def test_several_files_are_verified_with_one_progress(file):
    second = file.with_name("second.gguf")
    second.write_bytes(b"x" * 99)
    for path in (file, second):
        write_checksum(path, digest_of(path))
    told = []
    verify([file, second], lambda done, total: told.append((done, total)))
    assert told[-1] == (len(DATA) + 99, len(DATA) + 99)
    assert told == sorted(told)


def test_a_changed_file_is_told_with_both_digests_and_what_to_do(file):
    checksum(file, OTHER)
    with pytest.raises(ChecksumMismatch, match=rf"has the SHA-256 {DIGEST}, but model.*\.sha256 says {OTHER}: .*pull"):
        verify([file])


# Through the public face


def test_load_verifies_where_it_is_asked_to(tmp_path):
    path = Path(shutil.copy(TINY, tmp_path))
    write_checksum(path, digest_of(path))
    told = []
    with shaderlm.load(path, context=64, verify=True, progress=lambda done, total: told.append((done, total))) as model:
        assert model.name == "tiny.gguf"
    assert (path.stat().st_size, path.stat().st_size) in told
    path.with_name("tiny.gguf.sha256").write_text(OTHER)
    with shaderlm.load(path, context=64):
        pass
    with pytest.raises(ChecksumMismatch, match="damaged or replaced"):
        shaderlm.load(path, context=64, verify=True)


def test_verifying_wants_something_to_hold_the_file_against(tmp_path):
    path = Path(shutil.copy(TINY, tmp_path))
    with pytest.raises(InvalidOption, match=r"verify: there is no .*tiny\.gguf\.sha256 .*`sha256sum tiny\.gguf > tiny"):
        shaderlm.load(path, context=64, verify=True)
