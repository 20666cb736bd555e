"""A static server of the site and of models, on which lines stand still, files come late, and versions change."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from byte_server import ByteHandler, Line, serving
from shaderlm.server.static import OTHER_TYPE, TYPES

CHUNK = 1 << 16  # bytes


@dataclass
class FaultySite(Line):
    """A folder, models by their names, and what was asked for."""

    folder: Path = Path()
    models: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)  # statuses of models that are never given
    replaced: dict[str, bytes] = field(default_factory=dict)  # files that are not as the folder has them
    redirects: dict[str, str] = field(default_factory=dict)  # paths that are sent to others
    ranges: list[str | None] = field(default_factory=list)  # of models that were asked for
    address: str = ""


class _Handler(ByteHandler):
    def get(self) -> None:
        site = self.line
        assert isinstance(site, FaultySite)
        asked = unquote(urlsplit(self.path).path)
        path = asked.removeprefix("/") or "index.html"
        file = site.folder / path
        kind = {"Content-Type": TYPES.get(file.suffix, OTHER_TYPE), "Cache-Control": "no-cache"}
        if path.removeprefix("models/") in site.refusals:
            self.send_answer(site.refusals[path.removeprefix("models/")], kind, b"no")
        elif path.startswith("models/") and path.removeprefix("models/") in site.models:
            site.ranges.append(self.headers.get("range"))
            self.send_file(site.models[path.removeprefix("models/")], {**kind, "ETag": '"one"'})
        elif asked in site.redirects:
            self.send_answer(308, {"Location": site.redirects[asked]})
        elif path in site.replaced:
            self.send_answer(200, kind, site.replaced[path])
        elif file.is_file():
            self.send_answer(200, kind, file.read_bytes())
        else:
            self.send_answer(404, {}, b"no")


def described(model: Path) -> dict[str, Any]:
    """As site.json's catalogue has it."""
    data = model.read_bytes()
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    hashes = [hashlib.sha256(chunk).hexdigest() for chunk in chunks]
    about = {"name": model.name, "url": f"models/{model.name}", "size": len(data)}
    return about | {"chunk_size": CHUNK, "chunk_sha256": hashes}


@contextmanager
def serving_site(folder: Path, model: Path) -> Iterator[FaultySite]:
    """A server of a site with one model in small chunks, until the end of the context."""
    site = FaultySite(folder=folder, models={model.name: model.read_bytes()})
    site.replaced["site.json"] = json.dumps({"catalogue": [described(model)], "origins": []}).encode()
    with serving(_Handler, site) as port:
        site.address = f"http://127.0.0.1:{port}/"
        yield site
