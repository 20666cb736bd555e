"""The models that lie on this machine because they were fetched: which there are, and how to be rid of one."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from ...catalogue import CATALOGUE, HubName
from ...errors import CacheNotWritable
from ...parts import models_among
from .cache import model_path
from .checksums import beside
from .files import is_model_name

_INCOMPLETE = ".gguf.incomplete"  # what `download.py` calls a file that it has not all of

if TYPE_CHECKING:
    from huggingface_hub import CachedFileInfo, CachedRepoInfo, CachedRevisionInfo


@dataclass(frozen=True)
class StoredModel:
    """A model in one of the caches."""

    name: str  # what `load` takes: "smollm2", "hf:owner/repo/model.gguf"
    files: tuple[Path, ...]
    size: int  # bytes
    used: float  # seconds since 1970: when it was last loaded, or else fetched
    licence: str | None = None  # where the catalogue knows it
    unfinished: bool = False  # a download that was interrupted: the next `pull` goes on from it


def stored_models() -> list[StoredModel]:
    """All that there are: the catalogue's, then those in the Hub's cache by name, whoever put them there."""
    return [*_of_catalogue(), *sorted(_of_hub(), key=lambda model: model.name)]


def remove(model: StoredModel) -> None:
    """Delete a model's files and their checksums, and what becomes empty with them.

    Raises CacheNotWritable for what another process is fetching, OSError where the system refuses.
    """
    if model.name in CATALOGUE:
        with filelock.FileLock(model.files[0].parent / "lock"):
            _unlink(model.files)
    elif model.files[0].name.endswith(_INCOMPLETE):
        _remove_incomplete(model)
    else:
        _remove_from_hub(model)


# The catalogue's


def _of_catalogue() -> Iterable[StoredModel]:
    for entry in CATALOGUE.values():
        path = model_path(entry)
        if path.is_file():
            found = path.stat()
            yield StoredModel(entry.name, (path,), found.st_size, found.st_atime, entry.licence)


def _unlink(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
        beside(file).unlink(missing_ok=True)


# The Hub's


def _of_hub() -> Iterable[StoredModel]:
    from huggingface_hub import constants

    if not Path(constants.HF_HUB_CACHE).is_dir():
        return
    for repo in _repositories():
        for revision in repo.revisions:
            yield from _of_revision(repo, revision)
    for partial in Path(constants.HF_HUB_CACHE).glob(f"models--*/blobs/*{_INCOMPLETE}"):
        found, repo_id = partial.stat(), partial.parent.parent.name.removeprefix("models--").replace("--", "/")
        yield StoredModel(str(HubName(repo_id)), (partial,), found.st_size, found.st_mtime, unfinished=True)


def _repositories() -> "Iterable[CachedRepoInfo]":
    from huggingface_hub import constants, scan_cache_dir

    return (repo for repo in scan_cache_dir(constants.HF_HUB_CACHE).repos if repo.repo_type == "model")


def _of_revision(repo: "CachedRepoInfo", revision: "CachedRevisionInfo") -> Iterable[StoredModel]:
    """The models among a commit's files, also where a part is missing."""
    there = {_path_in(revision, file): file for file in revision.files}
    called = "main" if "main" in revision.refs else min(revision.refs, default=revision.commit_hash)
    for first, paths in models_among(filter(is_model_name, there)).items():
        files = [there[path] for path in paths if path in there]
        yield StoredModel(
            str(HubName(repo.repo_id, first, called)),
            tuple(file.file_path for file in files),
            sum(file.size_on_disk for file in files),
            max(file.blob_last_accessed for file in files),
            unfinished=len(files) < len(paths),
        )


def _path_in(revision: "CachedRevisionInfo", file: "CachedFileInfo") -> str:
    return file.file_path.relative_to(revision.snapshot_path).as_posix()


def _remove_from_hub(model: StoredModel) -> None:
    """The files of one commit; their bytes stay where another commit has the same."""
    from huggingface_hub import constants, scan_cache_dir

    cache, doomed = scan_cache_dir(constants.HF_HUB_CACHE), {*model.files, *map(beside, model.files)}
    files = [file for repo in cache.repos for revision in repo.revisions for file in revision.files]
    cache.delete_files(*(file for file in files if file.file_path in doomed)).execute()
    _drop_empty(model.files[0])


def _remove_incomplete(model: StoredModel) -> None:
    from .hub import lock_of

    (partial,) = model.files
    try:
        with lock_of(partial.with_name(partial.name.removesuffix(_INCOMPLETE))).acquire(timeout=0):
            partial.unlink(missing_ok=True)
    except filelock.Timeout:
        raise CacheNotWritable(f"{model.name} is being fetched by another process: wait for it, or end it.") from None
    _drop_empty(partial)


def _drop_empty(file: Path) -> None:
    """Remove the folder of a file's repository if nothing is left to be had from it."""
    repository = next(folder for folder in file.parents if folder.name.startswith("models--"))
    if not any(path.is_file() for name in ("blobs", "snapshots") for path in (repository / name).rglob("*")):
        shutil.rmtree(repository)
