"""Stages of a build: a folder each, made anew where what it depends on has changed, and there only when it is whole."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..steps import ROOT

WORK = ROOT / "build/web"
SKIPPED = {"__pycache__"}


def digest_of(*parts: Path | str) -> str:
    """A digest of texts, and of files and folders with their names and contents."""
    digest = hashlib.sha256()
    for part in parts:
        for path in files_of(part) if isinstance(part, Path) else ():
            digest.update(f"{path.name}\0{path.relative_to(part).as_posix()}\0{sha256_of(path)}\0".encode())
        if isinstance(part, str):
            digest.update(f"{part}\0".encode())
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(path: Path) -> list[Path]:
    """A file, or all files of a folder, in an order that is the same everywhere."""
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if file.is_file() and not SKIPPED & set(file.parts))
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


def is_current(folder: Path, state: str) -> bool:
    """Whether a stage's folder is there, whole, and made from what `state` stands for."""
    try:
        return folder.is_dir() and json.loads(_stamp(folder).read_text()) == state
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def making(folder: Path, state: str) -> Iterator[Path]:
    """An empty folder to fill, which then takes the place of `folder`, at once. What fails leaves the old one."""
    WORK.mkdir(parents=True, exist_ok=True)
    part, old = WORK / f"{folder.name}.part", WORK / f"{folder.name}.old"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    yield part
    _stamp(folder).unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    _stamp(folder).write_text(json.dumps(state))
    shutil.rmtree(old, ignore_errors=True)


def _stamp(folder: Path) -> Path:
    return WORK / f"{folder.name}.json"
