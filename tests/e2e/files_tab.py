"""A tab whose worker loads model files, for tests that are not coroutines themselves."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from model_server import ModelServer
from playwright.async_api import Browser, BrowserContext, Page, Worker

PATIENCE = 60  # seconds


@dataclass
class Visitor:
    """Somebody with a browser of their own: what one tab stores, another one finds."""

    runner: asyncio.Runner
    context: BrowserContext
    server: ModelServer
    tabs: list["Tab"] = field(default_factory=list)

    @classmethod
    def of(cls, runner: asyncio.Runner, browser: Browser, server: ModelServer) -> "Visitor":
        return cls(runner, runner.run(browser.new_context()), server)

    def open_tab(self, *, without: str = "", quota: int | None = None) -> "Tab":
        """`without`: what the browser lacks, as worker.js lists it. `quota`: bytes that the site may store."""
        return self.runner.run(self._open_tab(without, quota))

    async def _open_tab(self, without: str, quota: int | None) -> "Tab":
        page = await self.context.new_page()
        if quota is not None:
            session = await self.context.new_cdp_session(page)
            override = {"origin": self.server.address, "quotaSize": quota}
            await session.send("Storage.overrideQuotaForOrigin", override)
        async with page.expect_worker() as started:
            await page.goto(f"{self.server.address}/?without={without}" if without else self.server.address)
        worker = await started.value
        while not await worker.evaluate("self.ready === true"):  # each round waits for the browser
            await asyncio.sleep(0.01)
        return Tab(self.runner, page, worker)

    def close(self) -> None:
        self.runner.run(self.context.close())


@dataclass
class Tab:
    runner: asyncio.Runner
    page: Page
    worker: Worker

    def evaluate(self, expression: str) -> Any:
        """What JavaScript gives in the worker."""
        return self.runner.run(asyncio.wait_for(self.worker.evaluate(expression), PATIENCE))

    def load(self, url: str, **options: Any) -> dict[str, Any]:
        """Load a model whole and close it: SHA-256, size, progress, notices; or the error."""
        return self.evaluate(f"load({json.dumps(url)}, {json.dumps(options)})")

    def start(self, url: str, **options: Any) -> None:
        """Begin to load, for a later `finish`."""
        self.evaluate(f"void (self.loading = load({json.dumps(url)}, {json.dumps(options)}))")

    def finish(self) -> dict[str, Any]:
        return self.evaluate("self.loading")

    def until_stored(self, size: int) -> None:
        self.evaluate(f"untilStored({size})")

    def until_waiting(self) -> None:
        """Until a load waits for another tab."""
        self.evaluate("untilWaiting()")

    def models(self) -> list[dict[str, Any]]:
        return self.evaluate("files.listModels()")

    def buffers_after(self, expression: str) -> int:
        """Bytes of the array buffers that the page holds when it has evaluated JavaScript, garbage included."""
        return self.runner.run(self._buffers_after(expression))

    async def _buffers_after(self, expression: str) -> int:
        session = await self.page.context.new_cdp_session(self.page)
        await self.page.evaluate(expression)
        return int((await session.send("Runtime.getHeapUsage"))["backingStorageSize"])

    def kill_worker(self) -> None:
        self.runner.run(self.page.evaluate("worker.terminate()"))

    def close(self) -> None:
        self.runner.run(self.page.close())
