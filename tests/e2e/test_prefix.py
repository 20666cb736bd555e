"""The site under a path of a plain static host: Python's own server, which knows no ranges, tags or compression."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from reader import visit

from tiny_model import TINY, goldens

CHAT = goldens()["chat"]
PREFIX = "/company/chat room/"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def host(site: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server that has the site, with settings of its own, and a model in a folder of it."""
    folder = tmp_path / PREFIX.strip("/")
    (folder / "models").mkdir(parents=True)
    (folder / "models" / TINY.name).symlink_to(TINY)
    for path in site.iterdir():
        if path.name != "site.json":
            (folder / path.name).symlink_to(path)
    settings = {"model": "tiny", "catalogue": [{"name": "tiny", "url": f"models/{TINY.name}"}], "origins": []}
    (folder / "site.json").write_text(json.dumps(settings))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_under_a_path_of_a_plain_host_the_page_chats_and_asks_for_nothing_outside_it(browser, host):
    reader = await visit(browser[1], host + PREFIX)
    await reader.start_default()
    await reader.set_options(temperature="0")
    assert await reader.say(CHAT.messages[-1]["content"]) == CHAT.text
    asked = [url for url in reader.asked if not url.startswith("blob:")]
    assert reader.strangers() == []
    assert [url for url in asked if not urlsplit(url).path.startswith(PREFIX.replace(" ", "%20"))] == []
    assert reader.complaints == []
    await reader.context.close()
