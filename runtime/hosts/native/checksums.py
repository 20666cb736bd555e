"""FILE.sha256 beside a model: the SHA-256 of the file that was published, as `sha256sum` writes and reads it."""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import ChecksumMismatch, InvalidOption
from .files import unreadable

Progress = Callable[[int, int], None]  # bytes done, bytes in all

SUFFIX = ".sha256"
PIECE = 1 << 20  # bytes hashed at a time
LONGEST = 1 << 16  # bytes of a checksum file that are looked at

_LINE = re.compile(r"(?P<digest>[0-9a-fA-F]{64})(?: [ *](?P<name>.+))?")


def beside(file: Path) -> Path:
    """Where the checksum of a file is written down."""
    return file.with_name(file.name + SUFFIX)


def write_checksum(file: Path, digest: str) -> None:
    """Write FILE.sha256, in place of what was there. Raises OSError, and then nothing has changed."""
    target, content = beside(file), f"{digest}  {file.name}\n"
    if target.is_file() and target.read_bytes() == content.encode():
        return
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        part.write_text(content, encoding="utf-8")
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_checksum(file: Path) -> str | None:
    """The digest in FILE.sha256, None if there is no such file. Raises ChecksumMismatch if it holds none of FILE."""
    path = beside(file)
    try:
        if not path.exists():
            return None
        with path.open("rb") as opened:
            lines = opened.read(LONGEST).decode(errors="replace").splitlines()
    except OSError as error:
        raise unreadable(path, error) from None
    for line in lines:
        found = _LINE.fullmatch(line.strip())
        if found and found["name"] in (None, file.name):
            return found["digest"].lower()
    start = lines[0][:40] if lines else ""
    raise ChecksumMismatch(
        f"{path} holds no SHA-256 of {file.name}: it begins with {start!r}. Write it anew "
        f"(`sha256sum {file.name} > {path.name}`), or delete it."
    )


def verify(files: Sequence[Path], progress: Progress | None = None) -> None:
    """Hold every file of a model against its FILE.sha256.

    Raises ChecksumMismatch, and InvalidOption where a file has no checksum beside it.
    """
    expected = {file: _checksum_of(file) for file in files}
    total, done = sum(file.stat().st_size for file in files), 0
    for file, published in expected.items():
        found = digest_of(file, further(progress, done, total))
        if found != published:
            raise ChecksumMismatch(
                f"{file} has the SHA-256 {found}, but {beside(file).name} says {published}: the file was damaged or "
                "replaced. Fetch it again (`shaderlm pull NAME` repairs what it fetched); if the file is the right "
                f"one, delete {beside(file).name}."
            )
        done += file.stat().st_size


def digest_of(file: Path, progress: Progress | None = None) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises ModelNotFound if it cannot be read."""
    digest, done = hashlib.sha256(), 0
    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            while piece := opened.read(PIECE):
                digest.update(piece)
                done += len(piece)
                if progress is not None:
                    progress(done, size)
    except OSError as error:
        raise unreadable(file, error) from None
    return digest.hexdigest()


def further(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one file as that of several, `before` bytes of which are done."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _checksum_of(file: Path) -> str:
    published = read_checksum(file)
    if published is None:
        raise InvalidOption(
            f"verify: there is no {beside(file)} to hold the model against. `shaderlm pull NAME` writes it for what it "
            f"fetches, `sha256sum {file.name} > {beside(file).name}` for a file that you know to be right."
        )
    return published
