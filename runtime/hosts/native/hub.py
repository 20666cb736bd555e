"""Models in repositories of the Hugging Face Hub: which files one has, and how they get into the Hub's own cache.

All that speaks to the Hub is `huggingface_hub`'s: its token, proxies, endpoint, offline mode and cache folder, where
other programs find what we fetched. Bytes come through `download.py`, which goes on after an interruption.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import filelock
from huggingface_hub import HfApi, constants, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HFValidationError
from huggingface_hub.hf_api import RepoSibling

from ...catalogue import HubName
from ...errors import ModelNotFound, NetworkError, NoSpace
from ...parts import JoinedSource, models_among, part_name
from . import disk
from .checksums import Progress, digest_of, further, read_checksum, write_checksum
from .disk import Fetched
from .download import download, partial_of
from .files import is_model_name
from .hub_errors import HTTPError, explained
from .remote import RemoteSource

LIBRARY = "shaderlm"
LARGEST = constants.MAX_HTTP_DOWNLOAD_SIZE  # bytes: for more, `huggingface_hub` has a protocol of its own
LISTED = 40  # files that an error names at most

_GIT_NAME = re.compile(r"[0-9a-f]{40}")  # of a commit, or of a small file
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubFile:
    """A file in a repository."""

    path: str
    size: int  # bytes
    blob: str  # what the cache calls it: its SHA-256 where it is large, else the name that git gives it
    sha256: str | None  # None: git has it, which knows none


@dataclass(frozen=True)
class HubModel:
    """The files of a model at one commit of a repository."""

    name: HubName
    commit: str
    files: tuple[HubFile, ...]


def cached(name: HubName) -> tuple[Path, ...] | None:
    """The model's files in the cache, all of them or None; the Hub is not asked.

    Raises ModelNotFound where the name leaves it open which of the models there is meant.
    """
    with explained(name):
        return _cached(name)


def fetch(
    name: HubName, progress: Progress | None = None, *, check: bool = False, checking: Progress | None = None
) -> Fetched:
    """Fetch what is missing of a model; with `check`, what is there is held against the Hub's checksums before.

    Raises ModelNotFound, AccessDenied, NetworkError, NoSpace, CacheNotWritable, ChecksumMismatch, InvalidOption.
    What has been received when it ends early is kept beside the cache's files, and gone on from.
    """
    with explained(name):
        model = find(name)
        damaged = _drop_damaged(model, checking) if check else frozenset[HubFile]()
        _need_space(model)
        paths, received, done = [], set(), 0
        for file in model.files:
            is_new = not _stored(model, file).exists()
            path = _fetch_file(model, file, progress, done)
            paths.append(path)
            received |= {path} if is_new else set()
            done += file.size
    repaired = {path for path, file in zip(paths, model.files, strict=True) if file in damaged}
    return Fetched(tuple(paths), frozenset(received), frozenset(repaired))


def open_remote(name: HubName) -> RemoteSource | JoinedSource:
    """The model's bytes where they are, to read headers from. Raises what `fetch` raises."""
    with explained(name):
        model = find(name)
    sources = [
        RemoteSource(
            PurePosixPath(file.path).name,
            hf_hub_url(name.repo, file.path, revision=model.commit),
            file.size,
            partial(explained, name),
        )
        for file in model.files
    ]
    return sources[0] if len(sources) == 1 else JoinedSource(sources)


def find(name: HubName) -> HubModel:
    """Ask the Hub which files the model has. Raises ModelNotFound, NetworkError, and `huggingface_hub`'s errors."""
    _refuse_later_part(name)
    api = HfApi(library_name=LIBRARY)
    try:
        found = api.model_info(
            name.repo, revision=name.revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
        files = {file.path: file for file in map(_hub_file, found.siblings or ()) if is_model_name(file.path)}
        commit = _matching(_GIT_NAME, found.sha)
    except (HTTPError, HFValidationError):
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NetworkError(
            f"{constants.ENDPOINT} does not answer as the Hugging Face Hub does: {error!r}. Check HF_ENDPOINT, and "
            "whether a proxy or a login page of your network stands in between."
        ) from error
    return HubModel(name, commit, tuple(files[path] for path in _chosen(name, files)))


def repository_folder(repo: str) -> Path:
    """Where the cache keeps a repository: `blobs`, `snapshots` and `refs`."""
    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def lock_of(blob: Path) -> filelock.BaseFileLock:
    """The lock that `huggingface_hub` holds too while it fetches a file of the cache."""
    folder = Path(constants.HF_HUB_CACHE) / ".locks" / blob.parent.parent.name
    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / f"{blob.name}.lock")


def _refuse_later_part(name: HubName) -> None:
    part = part_name(name.file or "")
    if part and part.number > 1:
        first = HubName(name.repo, part.all()[0], name.revision)
        raise ModelNotFound(f"{name} is part {part.number} of a model of {part.count}. Give the first: {first}.")


# What the Hub has


class _Nonsense(ValueError):
    """The Hub named a file or a commit as it never does."""


def _hub_file(file: RepoSibling) -> HubFile:
    """A file of a listing, once its names are known to be no paths to elsewhere."""
    sha256 = None if file.lfs is None else _matching(_SHA256, file.lfs.sha256)
    if file.size is None or {"", ".", ".."} & set(re.split(r"[/\\]", file.rfilename)):
        raise _Nonsense(file.rfilename)
    return HubFile(file.rfilename, file.size, sha256 or _matching(_GIT_NAME, file.blob_id), sha256)


def _matching(pattern: re.Pattern[str], text: str | None) -> str:
    if text is None or not pattern.fullmatch(text):
        raise _Nonsense(text)
    return text


def _chosen(name: HubName, files: Mapping[str, HubFile]) -> tuple[str, ...]:
    """The paths of the model that is named, or of the only one."""
    models, sizes = models_among(files), {path: file.size for path, file in files.items()}
    where = f"{name.repo} at {name.revision}"
    if not models:
        raise ModelNotFound(f"{where} holds no GGUF file. Look for a repository of the model whose name ends in GGUF.")
    if name.file is None and len(models) > 1:
        raise ModelNotFound(f"{where} holds {len(models)} models.\n{_choices(name, models, sizes)}")
    first = next(iter(models)) if name.file is None else name.file
    if first not in models:
        raise ModelNotFound(f"{where} holds no GGUF file {first}.\n{_choices(name, models, sizes)}")
    missing = [path for path in models[first] if path not in files]
    if missing:
        raise ModelNotFound(
            f"{where} lacks {len(missing)} of the {len(models[first])} parts of a model: {', '.join(missing[:5])}. "
            "Look for another repository of the model."
        )
    return models[first]


def _choices(name: HubName, models: Mapping[str, Collection[str]], sizes: Mapping[str, int]) -> str:
    """The models to choose from, a line each, and what to write."""
    lines = [
        f"  {sum(sizes.get(path, 0) for path in files) / 1e6:>9,.0f} MB  {first}"
        + (f" ({len(files)} parts)" if len(files) > 1 else "")
        for first, files in list(models.items())[:LISTED]
    ]
    more = [f"  and {len(models) - LISTED} more"] if len(models) > LISTED else []
    return "\n".join(
        [f"Give one of them, as in {HubName(name.repo, next(iter(models)), name.revision)}:", *lines, *more]
    )


# What the cache has


def _cached(name: HubName) -> tuple[Path, ...] | None:
    _refuse_later_part(name)
    snapshot = _snapshot(name)
    if snapshot is None:
        return None
    there = {file.relative_to(snapshot).as_posix() for file in snapshot.rglob("*") if file.is_file()}
    models = models_among(filter(is_model_name, there))
    whole = {first: files for first, files in models.items() if there.issuperset(files)}
    if name.file is not None:
        files = whole.get(name.file)
    elif len(whole) > 1:
        sizes = {path: (snapshot / path).stat().st_size for files in whole.values() for path in files}
        raise ModelNotFound(f"The cache holds {len(whole)} models of {name.repo}.\n{_choices(name, whole, sizes)}")
    else:
        files = next(iter(whole.values()), None)
    return tuple(snapshot / path for path in files) if files else None


def _snapshot(name: HubName) -> Path | None:
    """The folder of the commit that a revision was when it was last fetched."""
    folder = repository_folder(name.repo)
    reference = folder / "refs" / name.revision
    commit = reference.read_text().strip() if reference.is_file() else name.revision
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def _blob(model: HubModel, file: HubFile) -> Path:
    return repository_folder(model.name.repo) / "blobs" / file.blob


def _stored(model: HubModel, file: HubFile) -> Path:
    """Where the file's bytes are if they are here: in its commit's folder, or else under its blob's name."""
    path = repository_folder(model.name.repo) / "snapshots" / model.commit / file.path
    return path if path.exists() else _blob(model, file)


def _drop_damaged(model: HubModel, progress: Progress | None) -> frozenset[HubFile]:
    """Take away files of the cache that are not what the Hub has, and say which."""
    there = {file: _stored(model, file) for file in model.files if _stored(model, file).exists()}
    total, done, damaged = sum(path.stat().st_size for path in there.values()), 0, set()
    for file, path in there.items():
        expected, size = file.sha256 or read_checksum(path), path.stat().st_size
        if size != file.size or (expected and digest_of(path, further(progress, done, total)) != expected):
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            damaged.add(file)
        done += size
    return frozenset(damaged)


def _need_space(model: HubModel) -> None:
    missing = [file for file in model.files if not _stored(model, file).exists()]
    begun = [partial_of(_blob(model, file)) for file in missing]
    there = sum(path.stat().st_size for path in begun if path.exists())
    needed, free = sum(file.size for file in missing) - there, disk.free_space(repository_folder(model.name.repo))
    if needed > free:
        raise NoSpace(
            f"{model.name} needs another {needed / 1e6:,.0f} MB, but {constants.HF_HUB_CACHE} has {free / 1e6:,.0f} MB "
            "left. Make room (`shaderlm list` shows what lies there), or name another folder in HF_HUB_CACHE."
        )


def _fetch_file(model: HubModel, file: HubFile, progress: Progress | None, done: int) -> Path:
    """The file's path in the cache, its bytes fetched if need be, its checksum beside it."""
    name, blob = model.name, _blob(model, file)
    is_new = not _stored(model, file).exists()
    if is_new and file.size <= LARGEST:
        url = hf_hub_url(name.repo, file.path, revision=model.commit)
        total = sum(other.size for other in model.files)
        blob.parent.mkdir(parents=True, exist_ok=True)
        with lock_of(blob):
            if not blob.exists():  # another process may have brought it meanwhile
                download(url, blob, size=file.size, sha256=file.sha256, progress=further(progress, done, total))
    path = Path(hf_hub_download(name.repo, file.path, revision=name.revision, library_name=LIBRARY))
    if is_new and not path.is_symlink():  # where the system has no links, it was copied
        blob.unlink(missing_ok=True)
    write_checksum(path, file.sha256 or digest_of(path))
    return path
