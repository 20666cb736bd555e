"""A tab that uses shaderlm.js of a served site, without the page: for tests that are not coroutines themselves."""

import asyncio
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page

PATIENCE = 400  # seconds: SmolLM2 on two cores, while other tests run

# Everything of the face, and `said`, which takes an answer's chunks together.
OPEN = """async () => {
  Object.assign(globalThis, await import("/shaderlm.js"));
  globalThis.said = async (stream, chunks = []) => {
    for await (const chunk of stream) chunks.push(chunk);
    return { text: chunks.map(({ text }) => text).join(""), ...chunks.at(-1).completion };
  };
}"""


@dataclass
class SiteTab:
    """`evaluate` gives what JavaScript gives in the tab, where `load` and the other functions of shaderlm.js are."""

    runner: asyncio.Runner
    context: BrowserContext
    page: Page
    address: str

    @classmethod
    def open(cls, runner: asyncio.Runner, browser: Browser, address: str) -> "SiteTab":
        context = runner.run(browser.new_context())
        tab = cls(runner, context, runner.run(context.new_page()), address)
        tab.visit()
        return tab

    def visit(self) -> None:
        """Open the site anew: what was loaded is gone, what was stored is not."""
        self.runner.run(self.page.goto(f"{self.address}manifest.json"))
        self.evaluate(OPEN)

    def evaluate(self, expression: str, argument: Any = None) -> Any:
        """Raises playwright's Error with what JavaScript throws."""
        return self.runner.run(asyncio.wait_for(self.page.evaluate(expression, argument), PATIENCE))

    def worker(self, expression: str, argument: Any = None) -> Any:
        """What JavaScript gives in the worker, where `shaderlm` has Pyodide and the GPU."""
        return self.runner.run(asyncio.wait_for(self._in_worker(expression, argument), PATIENCE))

    async def _in_worker(self, expression: str, argument: Any) -> Any:
        worker = next(iter(self.page.workers), None) or await self.page.wait_for_event("worker")
        return await worker.evaluate(expression, argument)

    def close(self) -> None:
        self.runner.run(self.context.close())
