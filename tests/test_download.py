"""A file from the Hub over HTTP: gone on with after an interruption, and whole or not at all."""

import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hub_server import Hub, environment, sha256
from shaderlm.catalogue import hub_name
from shaderlm.errors import CacheNotWritable, ChecksumMismatch, NetworkError, NoSpace
from shaderlm.hosts.native import disk, download
from shaderlm.hosts.native import hub as native_hub
from shaderlm.hosts.native.checksums import read_checksum

DATA = random.Random(0).randbytes(5_000_000)
NAME = hub_name("hf:owner/repo")
assert NAME is not None


@pytest.fixture(autouse=True)
def published(hub: Hub) -> None:
    hub.add("owner/repo", {"model.gguf": DATA})


def fetch(**options: object) -> Path:
    (path,) = native_hub.fetch(NAME, **options).files  # type: ignore[arg-type]
    return path


def blobs() -> dict[str, int]:
    """Names and sizes of the bytes in the cache."""
    folder = native_hub.repository_folder("owner/repo") / "blobs"
    return {path.name: path.stat().st_size for path in folder.iterdir()}


PARTIAL = f"{sha256(DATA)}.gguf.incomplete"


def test_a_file_comes_whole_with_its_checksum_and_lies_where_other_programs_find_it() -> None:
    from huggingface_hub import try_to_load_from_cache

    told: list[tuple[int, int]] = []
    path = fetch(progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == DATA
    assert read_checksum(path) == sha256(DATA)
    assert try_to_load_from_cache("owner/repo", "model.gguf") == str(path)
    assert blobs() == {sha256(DATA): len(DATA)}
    assert told[-1] == (len(DATA), len(DATA))
    assert told == sorted(told)


def test_a_connection_that_breaks_is_gone_on_with(hub: Hub) -> None:
    hub.cuts = [2_000_000, 1_000_000]
    assert fetch().read_bytes() == DATA
    assert [asked.range for asked in hub.took("/bytes")] == [None, "bytes=2000000-", "bytes=3000000-"]
    assert hub.sent == len(DATA)


def test_what_an_ended_program_had_received_is_gone_on_from(hub: Hub) -> None:
    hub.cuts = [3_000_000] + [0] * 99
    with pytest.raises(NetworkError, match=r"could not be asked for hf:owner/repo: .*what has been received is kept"):
        fetch()
    assert blobs() == {PARTIAL: 3_000_000}
    hub.cuts, hub.sent = [], 0
    told: list[tuple[int, int]] = []
    assert fetch(progress=lambda done, total: told.append((done, total))).read_bytes() == DATA
    assert hub.sent == len(DATA) - 3_000_000
    assert told[0][0] > 3_000_000
    assert blobs() == {sha256(DATA): len(DATA)}


def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_from(hub: Hub, tmp_path: Path) -> None:
    """It is killed from within, as soon as it is told that two million bytes have come."""
    code = (
        "import os, signal\n"
        "from shaderlm.hosts.native import sources\n"
        "sources.locate('hf:owner/repo', lambda done, total: done < 2_000_000 or os.kill(os.getpid(), signal.SIGKILL))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=child_environment(tmp_path, hub), check=False)
    assert done.returncode == -9
    received = blobs()[PARTIAL]
    assert received >= 1_900_000
    assert fetch().read_bytes() == DATA
    assert hub.took("/bytes")[-1].range == f"bytes={received}-"  # the killed process may still be sent a block


def child_environment(folder: Path, hub: Hub) -> dict[str, str]:
    return {**os.environ, **environment(folder, hub.address)}


def test_two_processes_at_once_fetch_it_once(hub: Hub, tmp_path: Path) -> None:
    code = "from shaderlm.hosts.native import sources; print(sources.locate('hf:owner/repo')[0])"
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=child_environment(tmp_path, hub), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    answers = {child.communicate()[0].decode().strip() for child in both}
    assert [child.returncode for child in both] == [0, 0]
    (path,) = answers
    assert Path(path).read_bytes() == DATA
    assert hub.sent == len(DATA)


def test_a_server_that_knows_no_ranges_sends_it_all_again(hub: Hub) -> None:
    hub.cuts, hub.knows_ranges = [3_000_000], False
    assert fetch().read_bytes() == DATA
    assert [asked.range is None for asked in hub.took("/bytes")] == [True, False]


def test_more_than_the_file_has_is_thrown_away_before(hub: Hub) -> None:
    partial = native_hub.repository_folder("owner/repo") / "blobs" / PARTIAL
    partial.parent.mkdir(parents=True)
    partial.write_bytes(DATA + b"more")
    assert fetch().read_bytes() == DATA
    assert hub.sent == len(DATA)


def test_bytes_that_were_received_but_not_put_in_place_are_not_asked_for_again(hub: Hub) -> None:
    partial = native_hub.repository_folder("owner/repo") / "blobs" / PARTIAL
    partial.parent.mkdir(parents=True)
    partial.write_bytes(DATA)
    assert fetch().read_bytes() == DATA
    assert hub.sent == 0


@pytest.mark.parametrize("statuses", [[503], [429, 500, 502, 504, 408]])
def test_a_server_that_is_busy_for_a_while_is_asked_again(hub: Hub, statuses: list[int]) -> None:
    hub.statuses = list(statuses)
    assert fetch().read_bytes() == DATA
    assert len(hub.took("/bytes")) == len(statuses) + 1


def test_a_server_that_stays_busy_is_given_up(hub: Hub) -> None:
    hub.statuses = [503] * 99
    with pytest.raises(NetworkError, match=r"answered with status 503 when .* for hf:owner/repo: .* in a while"):
        fetch()
    assert len(hub.took("/bytes")) == download.RETRIES + 1


def test_a_status_that_will_not_pass_is_not_asked_for_again(hub: Hub) -> None:
    hub.statuses = [410]
    with pytest.raises(NetworkError, match="answered with status 410"):
        fetch()
    assert len(hub.took("/bytes")) == 1


SWAPPED = bytes([DATA[0] ^ 1]) + DATA[1:]


@pytest.mark.parametrize(
    ("lie", "problem"),
    [
        (SWAPPED, rf"has the SHA-256 {sha256(SWAPPED)}, not {sha256(DATA)}"),
        (DATA[:-7], r"has 4,999,993 bytes, not 5,000,000"),
        (DATA + b"more", r"has over 5,000,000 bytes, not 5,000,000"),
    ],
    ids=["another byte", "too short", "too long"],
)
def test_bytes_that_were_not_promised_are_thrown_away(hub: Hub, lie: bytes, problem: str) -> None:
    hub.lies = {sha256(DATA): lie}
    with pytest.raises(ChecksumMismatch, match=problem + r" as the Hub said before: .* thrown away: start again"):
        fetch()
    assert blobs() == {}
    hub.lies = {}
    assert fetch().read_bytes() == DATA


def test_a_small_file_that_git_holds_has_no_published_digest_and_gets_one_beside_it(hub: Hub) -> None:
    hub.small = frozenset({"model.gguf"})
    path = fetch()
    assert path.read_bytes() == DATA
    assert read_checksum(path) == sha256(DATA)


def test_a_caller_that_raises_out_of_its_progress_ends_the_download_and_keeps_what_came(hub: Hub) -> None:
    def stop(done: int, total: int) -> None:
        raise InterruptedError("nobody waits")

    with pytest.raises(InterruptedError):
        fetch(progress=stop)
    assert blobs()[PARTIAL] > 0


# The disk


def test_a_disk_too_small_is_said_before_the_first_byte(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_space", lambda path: 1_000_000)
    with pytest.raises(NoSpace, match=r"hf:owner/repo needs another 5 MB, but .*hub has 1 MB left\. .* HF_HUB_CACHE"):
        fetch()
    assert hub.sent == 0


def test_what_has_been_received_needs_no_room_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = native_hub.repository_folder("owner/repo") / "blobs" / PARTIAL
    partial.parent.mkdir(parents=True)
    partial.write_bytes(DATA[:4_500_000])
    monkeypatch.setattr(disk, "free_space", lambda path: 600_000)
    assert fetch().read_bytes() == DATA


def failing(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_disk_that_fills_up_meanwhile_is_given_back_what_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.os, "fsync", failing(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(NoSpace, match=r"The disk of .*hub filled up while hf:owner/repo was fetched\. Make room"):
        fetch()
    assert blobs() == {}


def test_a_disk_that_fails_otherwise_is_told_with_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.os, "fsync", failing(OSError(errno.EIO, "Input/output error", "somewhere")))
    with pytest.raises(CacheNotWritable, match=r"hub cannot be used .*: Input/output error \(somewhere\)"):
        fetch()


def test_a_cache_that_is_no_folder_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "hf").write_text("not a folder")
    with pytest.raises(CacheNotWritable, match=r"cannot be used for fetched models: .*another folder in HF_HUB_CACHE"):
        fetch()


# Where there are no symbolic links


def test_without_symbolic_links_the_bytes_lie_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import file_download

    monkeypatch.setattr(file_download, "are_symlinks_supported", lambda cache_dir=None: False)
    path = fetch()
    assert not path.is_symlink()
    assert path.read_bytes() == DATA
    assert blobs() == {}
    assert fetch(check=True) == path


def test_files_over_the_limit_of_plain_http_are_left_to_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows a protocol of its own for them, and takes HTTP where a server offers nothing else."""
    monkeypatch.setattr(native_hub, "LARGEST", len(DATA) - 1)
    monkeypatch.setattr(native_hub, "download", failing(AssertionError("this was not to be called")))
    path = fetch()
    assert path.read_bytes() == DATA
    assert read_checksum(path) == sha256(DATA)


def test_what_huggingface_hub_refuses_to_fetch_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(native_hub, "LARGEST", len(DATA) - 1)
    monkeypatch.setattr(constants, "MAX_HTTP_DOWNLOAD_SIZE", len(DATA) - 1)
    with pytest.raises(NetworkError, match=r"hf:owner/repo: ValueError: The file is too large"):
        fetch()
