"""A file over HTTP, through `huggingface_hub`'s session: whole or not at all, and gone on with after an interruption.

`huggingface_hub` itself goes on within one call, but throws away what it had when that call or the program ends.
"""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import constants, get_session
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from ...errors import ChecksumMismatch
from .checksums import PIECE, Progress
from .hub_errors import FULL, HTTPError

RETRIES = 5  # in a row, without a byte in between
PAUSE = 1.0  # seconds before another try
PASSING = (408, 429, 500, 502, 503, 504)  # statuses that another try may not see

_SUFFIX = ".gguf.incomplete"  # `huggingface_hub` knows what ends in .incomplete for what it is


def partial_of(target: Path) -> Path:
    """Where the bytes of a file lie until it is whole."""
    return target.with_name(target.name + _SUFFIX)


def download(url: str, target: Path, *, size: int, sha256: str | None, progress: Progress | None = None) -> None:
    """Fetch a file that has `size` bytes and, where that is known, this SHA-256. The caller holds its lock.

    Raises ChecksumMismatch, OSError where it cannot be written, and `huggingface_hub`'s errors. Where the network gave
    way, what was received is kept for the next call.
    """
    partial = partial_of(target)
    try:
        with partial.open("a+b") as file:
            received = _Received.so_far(file)
            if received.size > size:
                received.drop()
            _receive(url, received, size, progress)
            file.flush()
            os.fsync(file.fileno())
        _check(url, received, size, sha256)
    except ChecksumMismatch:
        partial.unlink()
        raise
    except OSError as error:
        if error.errno in FULL:
            partial.unlink()
        raise
    os.replace(partial, target)


@dataclass
class _Received:
    """What there is of a file."""

    file: BinaryIO
    size: int
    digest: "hashlib._Hash"

    @classmethod
    def so_far(cls, file: BinaryIO) -> "_Received":
        received = cls(file, 0, hashlib.sha256())
        file.seek(0)
        while piece := file.read(PIECE):
            received.digest.update(piece)
            received.size += len(piece)
        return received

    def add(self, piece: bytes) -> None:
        self.file.write(piece)
        self.digest.update(piece)
        self.size += len(piece)

    def drop(self) -> None:
        self.file.truncate(0)
        self.size, self.digest = 0, hashlib.sha256()


def _receive(url: str, received: _Received, size: int, progress: Progress | None) -> None:
    """Ask for what is missing, again where the connection breaks, until it is there or nothing more comes."""
    failures = 0
    while received.size < size:
        before = received.size
        try:
            _ask(url, received, size, progress)
            return
        except HTTPError as error:
            failures = 1 if received.size > before else failures + 1
            if failures > RETRIES or not _may_pass(error):
                raise
            received.file.flush()
            time.sleep(PAUSE)


def _ask(url: str, received: _Received, size: int, progress: Progress | None) -> None:
    headers = build_hf_headers(library_name="shaderlm") | {"Accept-Encoding": "identity"}
    if received.size:
        headers["Range"] = f"bytes={received.size}-"
    with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        hf_raise_for_status(response)
        if received.size and response.status_code != 206:  # all of it, although we asked for the rest
            received.drop()
        for piece in response.iter_bytes():
            received.add(piece)
            if progress is not None:
                progress(min(received.size, size), size)
            if received.size > size:
                return


def _may_pass(error: BaseException) -> bool:
    return not isinstance(error, HfHubHTTPError) or error.response.status_code in PASSING


def _check(url: str, received: _Received, size: int, sha256: str | None) -> None:
    """Raise ChecksumMismatch for what is not the file that was promised."""
    found = received.digest.hexdigest()
    if received.size != size:
        problem = f"has {'over ' if received.size > size else ''}{min(received.size, size):,} bytes, not {size:,}"
    elif sha256 is not None and found != sha256:
        problem = f"has the SHA-256 {found}, not {sha256}"
    else:
        return
    raise ChecksumMismatch(
        f"What came from {url} {problem} as the Hub said before: it was damaged on the way, or changed just now. It "
        "was thrown away: start again, and if that does not help, look for a proxy that changes files."
    )
