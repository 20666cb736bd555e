"""Firefox with WebGPU, driven by WebDriver BiDi, which it speaks itself.

Playwright speaks it as well, but more of it than Debian's Firefox understands: no tab opens. The few commands that
are needed are those of the standard (https://www.w3.org/TR/webdriver-bidi/).
"""

import asyncio
import contextlib
import itertools
import json
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tools.steps import ROOT
from tools.system import find_firefox, is_root

NO_FIREFOX = "there is no Firefox for the browser tests: `python3 build.py test` gets one, or says how"
ENTER = "\ue007"  # as WebDriver calls the key
PATIENCE = 200  # seconds, for what takes a tenth of it on two cores that do nothing else
PREFERENCES = {
    "dom.webgpu.enabled": True,  # not yet by default on Linux
    "gfx.webgpu.ignore-blocklist": True,  # a software adapter will do
}


class FirefoxError(Exception):
    """What JavaScript threw in a tab, or why the browser refused a command."""


@dataclass
class Firefox:
    """A running browser with a tab. Its loop runs within calls only."""

    runner: asyncio.Runner
    socket: aiohttp.ClientWebSocketResponse
    version: str = ""
    context: str = ""
    complaints: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self) -> None:
        """Begin a session, and open a tab."""
        self.version = self.command("session.new", capabilities={})["capabilities"]["browserVersion"]
        self.command("session.subscribe", events=["log.entryAdded"])
        self.context = self.command("browsingContext.create", type="tab")["context"]

    def command(self, method: str, **parameters: Any) -> Any:
        return self.runner.run(asyncio.wait_for(self._answer_to(method, parameters), PATIENCE))

    async def _answer_to(self, method: str, parameters: dict[str, Any]) -> Any:
        number = next(self.numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self.socket.receive_json()
            if message.get("id") == number:
                if message["type"] == "error":
                    raise FirefoxError(f"{method}: {message['error']}: {message['message']}")
                return message["result"]
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.complaints.append(message["params"]["text"])

    def visit(self, address: str) -> None:
        self.command("browsingContext.navigate", context=self.context, url=address, wait="complete")

    def click(self, selector: str) -> None:
        """Click on the first element that is meant, and give it the focus, once it is there to be seen."""
        self.evaluate(
            """async (selector) => {
              let element;
              while (!(element = document.querySelector(selector))?.checkVisibility()) {
                await new Promise(requestAnimationFrame);
              }
              element.focus(); // all in one go: between two commands the page may draw itself anew
              element.click();
            }""",
            selector,
        )

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        typed = {"type": "key", "id": "keyboard", "actions": keys}
        self.command("input.performActions", context=self.context, actions=[typed])

    def wait_until(self, expression: str) -> None:
        """Wait until an expression in JavaScript is true."""
        self.evaluate(f"async () => {{ while (!({expression})) await new Promise(requestAnimationFrame); }}")

    def evaluate(self, function: str, argument: Any = None) -> Any:
        """What a function in JavaScript, given an argument, gives or promises in the tab; both as JSON knows them."""
        code = f"(async () => JSON.stringify(await ({function})({json.dumps(argument)})))()"
        target = {"context": self.context}
        done = self.command("script.evaluate", expression=code, target=target, awaitPromise=True, userActivation=True)
        if done["type"] == "exception":
            raise FirefoxError(done["exceptionDetails"]["text"])
        return json.loads(done["result"].get("value", "null"))


@contextlib.contextmanager
def running_firefox() -> Iterator[Firefox]:
    """A browser with a profile of its own, until the end of the context; skips the test where there is none."""
    program = find_firefox()
    if program is None:
        pytest.skip(NO_FIREFOX)
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="firefox-") as profile:  # one of a snap sees no /tmp
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
        (Path(profile) / "user.js").write_text("".join(lines))
        with _started(program, profile) as address:
            yield from _driven(address)


@contextlib.contextmanager
def _started(program: str, profile: str) -> Iterator[str]:
    """The address at which a browser listens, until the end of the context."""
    command = [program, "--headless", "--remote-debugging-port", "0", "--no-remote", "--profile", profile]
    home = {"HOME": profile} if is_root() else {}  # root may not use a home that is somebody else's, as CI has it
    firefox = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | home
    )
    assert firefox.stderr is not None
    rest = threading.Thread(target=firefox.stderr.read)  # a full pipe would stop it
    try:
        address = _address_in(firefox.stderr)
        rest.start()
        yield address
    finally:
        firefox.terminate()
        firefox.wait()
        if rest.is_alive():
            rest.join()  # until its last process has ended
        firefox.stderr.close()


def _address_in(lines: Iterable[str]) -> str:
    said = []
    for line in lines:
        said.append(line)
        if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
            return found[1]
    raise AssertionError("".join(said))


def _driven(address: str) -> Iterator[Firefox]:
    with asyncio.Runner() as runner:
        session = runner.run(_session())
        socket = runner.run(session.ws_connect(f"{address}/session", max_msg_size=0))
        try:
            firefox = Firefox(runner, socket)
            firefox.start()
            yield firefox
        finally:
            runner.run(session.close())


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()  # wants a loop that runs
