"""How much JavaScript holds in a page and in its worker."""

import asyncio
import json
from typing import Any

from playwright.async_api import CDPSession, Page


async def heaps_of(page: Page) -> dict[str, int]:
    """Bytes that are in use after a collection."""
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    page_bytes = int((await session.send("Runtime.getHeapUsage"))["usedSize"])
    worker = await Worker.of(session)
    await worker.ask("HeapProfiler.collectGarbage")
    worker_bytes = int((await worker.ask("Runtime.getHeapUsage"))["usedSize"])
    await session.detach()
    return {"page": page_bytes, "worker": worker_bytes}


class Worker:
    """DevTools' line to the one worker of a page, which goes through the page's own."""

    def __init__(self, session: CDPSession, number: str) -> None:
        self._session = session
        self._number = number
        self._asked = 0
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        session.on(
            "Target.receivedMessageFromTarget", lambda told: self._answers.put_nowait(json.loads(told["message"]))
        )

    @classmethod
    async def of(cls, session: CDPSession) -> "Worker":
        found: asyncio.Queue[str] = asyncio.Queue()
        session.on("Target.attachedToTarget", lambda told: found.put_nowait(told["sessionId"]))
        how = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False}
        await session.send("Target.setAutoAttach", how)
        return cls(session, await found.get())

    async def ask(self, method: str) -> dict[str, Any]:
        self._asked += 1
        message = json.dumps({"id": self._asked, "method": method})
        await self._session.send("Target.sendMessageToTarget", {"sessionId": self._number, "message": message})
        while (answer := await self._answers.get()).get("id") != self._asked:
            pass  # an event
        result: dict[str, Any] = answer["result"]
        return result
