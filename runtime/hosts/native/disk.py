"""Fetched files on the disk: which came just now, when they were used, and what room is left for more."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fetched:
    """Where a model's files are, and which of them had to be fetched."""

    files: tuple[Path, ...]
    received: frozenset[Path] = frozenset()
    repaired: frozenset[Path] = frozenset()  # of those, what had been there and was not as published


def free_space(path: Path) -> int:
    """Bytes left on the disk of `path`, which need not exist."""
    return shutil.disk_usage(next(folder for folder in (path, *path.parents) if folder.is_dir())).free


def mark_used(path: Path) -> None:
    """Note that a stored file is used now: reading it need not do so, and a mapping does not."""
    try:
        os.utime(path, (time.time(), path.stat().st_mtime))
    except OSError:
        pass  # somebody else's folder: then nobody here lists what is old
