"""A server of model files and of the page that loads them, on which everything may go wrong that a test asks for."""

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from byte_server import ByteHandler, Line, serving

PAGE = Path(__file__).parent / "files_page"
SOURCES = Path(__file__).parent.parent.parent / "web"
CONTENT_TYPES = {".html": "text/html", ".js": "text/javascript"}


@dataclass(frozen=True)
class ModelBytes:
    """A file of a server, and what the server says of it."""

    data: bytes
    etag: str | None = '"one"'
    last_modified: str | None = "Wed, 21 Oct 2026 07:28:00 GMT"
    content_type: str = "application/octet-stream"
    compressed: bool = False  # on the way, so that nobody is told the size

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


CHUNK = 1 << 18
SIZE = 10 * CHUNK + 12_345  # odd on purpose
DATA = b"GGUF" + np.random.default_rng(1).bytes(SIZE - 4)
MODEL = ModelBytes(DATA)
OTHER = ModelBytes(b"GGUF" + np.random.default_rng(2).bytes(SIZE - 4), etag='"two"')
NAME = "some.gguf"


def is_whole(result: dict[str, Any], model: ModelBytes = MODEL) -> bool:
    """Whether a load gave all bytes of a model."""
    assert "error" not in result, result
    assert result["size"] == len(model.data)
    return bool(result["sha256"] == model.sha256)


def error_of(result: dict[str, Any]) -> tuple[str, str]:
    """The code and the message of a load that failed."""
    assert "error" in result, result
    return result["error"]["code"], result["error"]["message"]


@dataclass(frozen=True)
class Asked:
    """A request for a model."""

    method: str
    path: str
    range: str | None
    if_range: str | None


@dataclass
class ModelServer(Line):
    """Files by path, what goes wrong (`Line`), and what was asked for."""

    files: dict[str, ModelBytes] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)  # statuses of paths that are never answered otherwise
    asked: list[Asked] = field(default_factory=list)
    exposes: str | None = "ETag, Content-Range"  # to pages of other origins; None: they may not read at all
    address: str = ""

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"

    def forget(self) -> None:
        """Count anew."""
        self.asked.clear()
        self.sent = 0

    @property
    def ranges(self) -> list[str | None]:
        return [asked.range for asked in self.asked if asked.method == "GET"]


class _Handler(ByteHandler):
    @property
    def server_of_models(self) -> ModelServer:
        assert isinstance(self.line, ModelServer)
        return self.line

    def get(self) -> None:
        path = unquote(urlsplit(self.path).path).removeprefix("/")
        if path.startswith("models/"):
            self._send_model(path.removeprefix("models/"))
            return
        own = PAGE / (path or "index.html")
        file = own if own.is_file() else SOURCES / path
        if file.is_file():
            self.send_answer(200, {"Content-Type": CONTENT_TYPES[file.suffix]}, file.read_bytes())
        else:
            self.send_answer(404, {})

    def do_OPTIONS(self) -> None:  # noqa: N802 - the name is http.server's
        """A preflight, which a header that CORS does not know of brings about; nothing is allowed."""
        self.server_of_models.asked.append(Asked("OPTIONS", self.path, None, None))
        self.send_answer(405, {})

    def _send_model(self, name: str) -> None:
        server = self.server_of_models
        if_range = self.headers.get("if-range")
        server.asked.append(Asked(self.command, name, self.headers.get("range"), if_range))
        cors = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": server.exposes or ""}
        about = cors if server.exposes is not None else {}
        model = server.files.get(name)
        if name in server.refusals or model is None:
            self.send_answer(server.refusals.get(name, 404), about, b"no")
            return
        about |= {"Content-Type": model.content_type}
        about |= {"ETag": model.etag} if model.etag else {}
        about |= {"Last-Modified": model.last_modified} if model.last_modified else {}
        changed = if_range is not None and if_range not in (model.etag, model.last_modified)
        if model.compressed:
            self.send_file(gzip.compress(model.data, 1), about | {"Content-Encoding": "gzip"}, whole=True)
        else:
            self.send_file(model.data, about, whole=changed)


@contextmanager
def serving_models() -> Iterator[ModelServer]:
    """A server with one model, until the end of the context."""
    server = ModelServer(files={NAME: MODEL})
    with serving(_Handler, server) as port:
        server.address = f"http://127.0.0.1:{port}"
        yield server
