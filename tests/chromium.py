"""Chromium with WebGPU on SwiftShader, which is part of it: a second compiler, and a stricter judge than wgpu."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from playwright.async_api import Browser, Page, Playwright, Route, async_playwright

from tools.system import BROWSERS

NO_CHROMIUM = "there is no Chromium or Chrome for the browser tests: `python3 build.py test` gets one"
FOLDER = Path(__file__).parent / "replay_page"
ORIGIN = "http://localhost/"  # WebGPU wants a secure context, which localhost is; no request leaves the browser
ARGUMENTS = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
CONTENT_TYPES = {".html": "text/html", ".js": "text/javascript", ".json": "application/json"}


@dataclass(frozen=True)
class Chromium:
    """A running browser that shows replay_page/. Its loop runs within calls only: the thread stays free for others."""

    page: Page
    runner: asyncio.Runner
    files: dict[str, bytes]

    def evaluate(self, expression: str, files: Mapping[str, bytes]) -> Any:
        """What JavaScript gives in the page, which can fetch `files`. Raises playwright's Error with what it throws."""
        self.files.clear()
        self.files.update(files)
        return self.runner.run(self._evaluate(expression))

    async def _evaluate(self, expression: str) -> Any:
        return await self.page.evaluate(expression)


@contextlib.contextmanager
def running_browser() -> Iterator[tuple[asyncio.Runner, Browser]]:
    """A browser, and the loop that steps it, until the end of the context; skips the test where there is none."""
    with asyncio.Runner() as runner:
        playwright = runner.run(async_playwright().start())
        try:
            browser = runner.run(playwright.chromium.launch(**_browser(playwright), args=ARGUMENTS))
            try:
                yield runner, browser
            finally:
                runner.run(browser.close())
        finally:
            runner.run(playwright.stop())


@contextlib.contextmanager
def running_chromium() -> Iterator[Chromium]:
    """A browser that shows replay_page/, until the end of the context; skips the test where there is none."""
    with running_browser() as (runner, browser):
        files: dict[str, bytes] = {}
        yield Chromium(runner.run(_open_page(browser, files)), runner, files)


async def _open_page(browser: Browser, files: Mapping[str, bytes]) -> Page:
    page = await browser.new_page()
    await page.route("**/*", lambda route: _serve(route, files))
    await page.goto(f"{ORIGIN}index.html")
    return page


def _browser(playwright: Playwright) -> dict[str, Any]:
    """How to launch the one there is: of the system, or what `playwright install chromium` fetched."""
    system = os.environ.get("SHADERLM_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if system is not None:
        return {"executable_path": system}
    if Path(playwright.chromium.executable_path).exists():
        return {"channel": "chromium"}  # the whole browser, not its shell without a GPU
    pytest.skip(NO_CHROMIUM)


async def _serve(route: Route, files: Mapping[str, bytes]) -> None:
    name = urlparse(route.request.url).path.removeprefix("/")
    path = FOLDER / name
    body = files.get(name) or (path.read_bytes() if path.is_file() else None)
    if body is None:
        await route.fulfill(status=404, body=f"no {name}")
    else:
        await route.fulfill(body=body, content_type=CONTENT_TYPES.get(path.suffix, "application/octet-stream"))
