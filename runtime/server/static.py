"""The site for browsers and its default model, served to this machine: what a static host does, and no more.

Files come with an ETag, in ranges, and compressed where a twin lies beside them (`.br`, `.gz`). What has a hash in its
name may be kept for ever, the rest is asked for anew: the worker's script, too, because its answer carries the policy
that holds for the worker, and that changes with site.json. Models lie under /models/, each by the name of its file.
"""

import asyncio
import ipaddress
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from ..web.policy import policy

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".zip": "application/zip",
}
OTHER_TYPE = "application/octet-stream"
FOR_EVER = "public, max-age=31536000, immutable"
ANEW = "no-cache"
SETTINGS = "site.json"
WORKER = "assets/worker-"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Site:
    """What is served."""

    folder: Path
    models: Mapping[str, Path]  # by their names under /models/
    settings: Mapping[str, Any]  # site.json, as browsers get it


def open_site(folder: Path, models: Sequence[Path], name: str | None) -> Site:
    """The site in `folder` with the model that lies in `models`; with a `name` it is the site's default model.

    Raises OSError or ValueError for a site.json that cannot be read.
    """
    settings = read_settings(folder / SETTINGS)
    if name is not None:
        url = f"models/{quote(models[0].name)}"
        entry = {"name": name, "url": url, "size": sum(path.stat().st_size for path in models)}
        settings = {**settings, "model": name, "catalogue": [entry, *settings.get("catalogue", [])]}
    return Site(folder, {path.name: path for path in models}, settings)


def read_settings(file: Path) -> dict[str, Any]:
    """What site.json says. Raises OSError for one that cannot be read, ValueError for one of another shape."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise ValueError(f"it has to be an object with fields, not {json.dumps(settings)[:40]}")
    for name in ("origins", "catalogue"):
        if not isinstance(settings.get(name, []), list):
            raise ValueError(f'"{name}" has to be a list, not {json.dumps(settings[name])[:40]}')
    return settings


def application(site: Site, *, local: bool) -> web.Application:
    """The server; a `local` one answers to names of this machine alone. Raises ValueError for a bad site.json."""
    app = web.Application(middlewares=[_headers(policy(site.settings.get("origins", []))), *([_only_local] * local)])

    async def settings(request: web.Request) -> web.StreamResponse:
        return web.json_response(site.settings, headers={"Cache-Control": ANEW})

    async def model(request: web.Request) -> web.StreamResponse:
        found = site.models.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return File(found, ANEW)

    async def file(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"] or "index.html"
        found = site_file(site.folder, name)
        if found is None:
            raise web.HTTPNotFound
        return File(found, caching_of(name))

    app.router.add_get(f"/{SETTINGS}", settings)
    app.router.add_get("/models/{name}", model)
    app.router.add_get("/{name:.*}", file)
    return app


def caching_of(name: str) -> str:
    """The Cache-Control of one of the site's files."""
    return FOR_EVER if name.startswith("assets/") and not name.startswith(WORKER) else ANEW


def site_file(folder: Path, name: str) -> Path | None:
    """The site's file of this name, if it has one: nothing that lies outside, nor what is no plain file."""
    if "\\" in name or "\0" in name or ":" in name:
        return None
    path = folder.joinpath(*PurePosixPath(name).parts)
    inside = path.resolve().is_relative_to(folder.resolve())
    return path if inside and not name.startswith("/") and path.is_file() else None


class File(web.FileResponse):
    """A file with the right type. aiohttp knows neither an If-Range with an ETag nor a coding that is refused."""

    def __init__(self, path: Path, cache: str) -> None:
        kind = TYPES.get(path.suffix.lower(), OTHER_TYPE)
        super().__init__(path, headers={"Content-Type": kind, "Cache-Control": cache, "Vary": "Accept-Encoding"})
        self._file = path

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """As aiohttp does it, for a request in other words."""
        headers = CIMultiDict(request.headers)
        headers["Accept-Encoding"] = ", ".join(accepted_codings(request.headers.get("Accept-Encoding", "")))
        condition = headers.pop("If-Range", None)
        if condition is not None and not self._is_still(condition):
            headers.pop("Range", None)
        return await super().prepare(request.clone(headers=headers))

    def _is_still(self, condition: str) -> bool:
        """Whether the file is the one that an If-Range speaks of."""
        try:
            found = self._file.stat()
            if '"' in condition:
                return condition.strip() == f'"{found.st_mtime_ns:x}-{found.st_size:x}"'  # as aiohttp makes them
            return parsedate_to_datetime(condition).timestamp() == math.ceil(found.st_mtime)  # Last-Modified likewise
        except (OSError, ValueError):
            return False


def accepted_codings(header: str) -> list[str]:
    """The codings of an Accept-Encoding that are not refused by a weight of 0."""
    parts = [part.partition(";") for part in header.lower().split(",")]
    return [name.strip() for name, _, weight in parts if float_or_one(weight) > 0 and name.strip()]


def float_or_one(weight: str) -> float:
    try:
        return float(weight.strip().removeprefix("q=")) if weight else 1.0
    except ValueError:
        return 1.0


def _headers(rules: str) -> Any:
    """Headers of every answer."""
    told = {
        "Content-Security-Policy": f"{rules}; frame-ancestors 'self'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(told)
            raise
        response.headers.update(told)
        return response

    return middleware


@web.middleware
async def _only_local(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a name of somebody else's that was made to lead here: pages under it could read what is served."""
    try:
        host = request.url.host
    except ValueError:  # no host's name at all
        host = None
    if not is_local(host or ""):
        raise web.HTTPForbidden(text="This server answers to localhost and 127.0.0.1 alone.")
    return await handler(request)


def is_local(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def serve(app: web.Application, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until cancelled; `ready` is told the address. Port 0 is any free one. Raises OSError where one is taken."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        taken = runner.addresses[0][1]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{taken}/")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
