"""Somebody who reads the page, for tests that are coroutines."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Locator, Page, Request

from tools.site.node import MODULES

PATIENCE = 90_000  # ms, for what takes a tenth of it on two cores that do nothing else
AXE = MODULES / "node_modules/axe-core/axe.min.js"


@dataclass
class Reader:
    """A page in a browser of its own, every request that it made, and what it complained of."""

    page: Page
    address: str
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def context(self) -> BrowserContext:
        return self.page.context

    @property
    def answers(self) -> Locator:
        return self.page.locator(".answer > .text")

    @property
    def prompt(self) -> Locator:
        return self.page.get_by_label("Your message")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def see(self, text: str) -> None:
        """Wait until a text is on the screen."""
        await self.page.get_by_text(text).first.wait_for()

    async def start_default(self) -> None:
        """Load the site's default model, and wait until it can be talked to."""
        await self.page.locator("#catalogue button").first.click()
        await self.prompt.wait_for()

    async def load_address(self, address: str) -> None:
        await self.page.get_by_label("Address of a GGUF file").fill(address)
        await self.button("Load").click()

    async def set_options(self, *, system: str = "", **options: str) -> None:
        """Set these alone in the settings."""
        await self.button("Settings").click()
        await self.button("Reset").click()
        await self.page.locator("#system").fill(system)
        for name, value in options.items():
            await self.page.locator(f"#option-{name}").fill(value)
        await self.button("Done").click()

    async def say(self, text: str) -> str:
        """The whole answer."""
        await self.prompt.fill(text)
        await self.prompt.press("Enter")
        return await self.answer()

    async def answer(self) -> str:
        """The last answer, once it is whole."""
        await self.button("Regenerate").wait_for()
        return await self.answers.last.inner_text()

    async def stats(self) -> str:
        return (await self.page.locator(".stats").last.inner_text()).replace("\u00a0", " ")

    async def serious_violations(self) -> list[str]:
        """What axe-core has against the page as it stands."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: dict[str, Any] = await self.page.evaluate("axe.run()")
        serious = (row for row in found["violations"] if row["impact"] in ("serious", "critical"))
        return [f"{row['id']}: {row['help']}: {node['html']}" for row in serious for node in row["nodes"]]

    def strangers(self) -> list[str]:
        """Requests to other origins."""
        own = urlsplit(self.address).netloc
        return [url for url in self.asked if urlsplit(url).netloc != own and not url.startswith(("blob:", "data:"))]


async def visit(
    browser: Browser,
    address: str,
    *,
    script: str = "",
    prepare: Callable[[BrowserContext], Awaitable[None]] | None = None,
    **options: Any,
) -> Reader:
    """The page as somebody finds it who comes for the first time; `script` runs before its own."""
    context = await browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    if prepare:
        await prepare(context)
    page = await context.new_page()
    reader = Reader(page, address)

    def note(request: Request) -> None:
        reader.asked.append(request.url)

    context.on("request", note)
    page.on("pageerror", lambda error: reader.complaints.append(str(error)))
    page.on("console", lambda told: reader.complaints.append(told.text) if told.type == "error" else None)
    if script:
        await page.add_init_script(script)
    await page.goto(address)
    return reader


async def drop_files(page: Page, paths: Sequence[Path]) -> None:
    """Drop files onto the page, all at once."""
    await page.evaluate(
        """async (files) => {
          const data = new DataTransfer();
          for (const [name, bytes] of files) {
            data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
          }
          for (const kind of ["dragover", "drop"]) {
            document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }""",
        [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths],
    )
