"""A server on this machine that answers as the Hugging Face Hub does, as far as `huggingface_hub` asks it for models.

    GET  /api/models/OWNER/REPO/revision/REVISION   the files of a commit: names, sizes, digests
    HEAD /OWNER/REPO/resolve/REVISION/FILE          302 to the bytes, with ETag, size and commit
    GET  the same, and the place that it leads to   the bytes, or a range of them

The bytes lie under another host name than the repositories, as on the Hub: a token must not follow there. Errors carry
the Hub's X-Error-Code. What a test wants to go wrong is set in `Hub`, which also counts what was asked and sent.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants

from byte_server import ByteHandler, Line, serving
from shaderlm.hosts.native import download

Files = Mapping[str, bytes]
OTHER_NAME = "127.1"  # of this machine, which needs no table of hosts: a bare chroot has none


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_name(data: bytes) -> str:
    """What git calls a small file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def commit_of(files: Files) -> str:
    return hashlib.sha1(repr(sorted((path, sha256(data)) for path, data in files.items())).encode()).hexdigest()


@dataclass
class Repository:
    """Branches and tags by name; the files of each."""

    revisions: dict[str, Files]
    gated: bool = False
    private: bool = False

    def find(self, revision: str) -> tuple[str, Files] | None:
        """The commit and the files of a branch, a tag or a commit."""
        for name, files in self.revisions.items():
            if revision in (name, commit_of(files)):
                return commit_of(files), files
        return None


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class Hub(Line):
    """What the server has, what it does wrong, and what came to it."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    token: str = "hf_right"  # who shows it may see what is private or gated
    lies: dict[str, bytes] = field(default_factory=dict)  # by SHA-256: what is sent in place of the bytes
    small: frozenset[str] = frozenset()  # files that git holds itself
    listing: bytes | None = None  # in place of every listing
    asked: list[Asked] = field(default_factory=list)
    address: str = ""

    def add(self, repo: str, files: Files, revision: str = "main") -> None:
        self.repositories.setdefault(repo, Repository({})).revisions[revision] = files

    def took(self, kind: str) -> list[Asked]:
        """The requests whose path begins so: "/api", "/bytes"."""
        return [asked for asked in self.asked if asked.path.startswith(kind)]


@contextmanager
def serving_hub(hub: Hub) -> Iterator[str]:
    """Serve `hub`; gives its address."""
    with serving(_Handler, hub) as port:
        hub.address = f"http://127.0.0.1:{port}"
        yield hub.address


class _Handler(ByteHandler):
    @property
    def hub(self) -> Hub:
        assert isinstance(self.line, Hub)
        return self.line

    def get(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("authorization")
        self.hub.asked.append(Asked(self.command, path, self.headers.get("range"), token))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._list(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(refs/pr/\d+|[^/]+)/(.+)", path):
            self._resolve(found[1], found[2], found[3])
        elif found := re.fullmatch(r"/bytes/([0-9a-f]+)", path):
            self._bytes(found[1])
        else:
            self.send_answer(404, {})

    def _list(self, repo: str, revision: str) -> None:
        found = self._find(repo, revision)
        if found is None:
            return
        commit, files = found
        listing = {"id": repo, "sha": commit, "siblings": [self._sibling(*item) for item in files.items()], "tags": []}
        self.send_answer(200, {}, self.hub.listing or json.dumps(listing).encode())

    def _sibling(self, path: str, data: bytes) -> dict[str, object]:
        about: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": git_name(data)}
        if path not in self.hub.small:
            about["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
        return about

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        found = self._find(repo, revision)
        if found is None:
            return
        commit, files = found
        if path not in files:
            self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        elif self.hub.repositories[repo].gated and not self._is_let_in():
            self._refuse(403, "GatedRepo")
        else:
            data, is_small = files[path], path in self.hub.small
            port = self.server.server_address[1]
            self.send_answer(
                302,
                {
                    "Location": f"http://{OTHER_NAME}:{port}/bytes/{sha256(data)}",
                    "X-Repo-Commit": commit,
                    "X-Linked-Etag": f'"{git_name(data) if is_small else sha256(data)}"',
                    "X-Linked-Size": str(len(data)),
                },
            )

    def _find(self, repo: str, revision: str) -> tuple[str, Files] | None:
        """The commit and its files, or an answer that says why not."""
        repository = self.hub.repositories.get(repo)
        if repository is None or (repository.private and not self._is_let_in()):
            self._refuse(401, "RepoNotFound")
            return None
        found = repository.find(revision)
        if found is None:
            self._refuse(404, "RevisionNotFound")
        return found

    def _is_let_in(self) -> bool:
        return self.headers.get("authorization") == f"Bearer {self.hub.token}"

    def _bytes(self, digest: str) -> None:
        everything = (files for repo in self.hub.repositories.values() for files in repo.revisions.values())
        data = {sha256(data): data for files in everything for data in files.values()}[digest]
        self.send_file(self.hub.lies.get(digest, data), {})

    def _refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        about = {"X-Error-Code": code, "X-Error-Message": f"the server says {code}", **(headers or {})}
        self.send_answer(status, about)


@contextmanager
def in_place_of_the_hub(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub of our own that `huggingface_hub` takes for the real one, and empty caches in `folder`.

    It reads its environment once, when it is imported, so its constants are set too.
    """
    hub = Hub()
    with serving_hub(hub) as address:
        for name, value in environment(folder, address).items():
            patch.setenv(name, value)
        patch.delenv("HF_TOKEN", raising=False)
        patch.setattr(constants, "ENDPOINT", address)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hf" / "hub"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(folder / "hf" / "token"))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(download, "PAUSE", 0.0)
        huggingface_hub.close_session()  # or it goes on with the proxies that it found before
        yield hub
        huggingface_hub.close_session()


def environment(folder: Path, address: str) -> dict[str, str]:
    """What a process of its own needs to take our server for the Hub."""
    without_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY"), f"127.0.0.1,{OTHER_NAME}")))
    return {
        "SHADERLM_CACHE": str(folder / "cache"),
        "HF_ENDPOINT": address,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_CACHE": str(folder / "hf" / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": without_proxy,
        "no_proxy": without_proxy,
    }
