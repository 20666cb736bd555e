"""The worker of shaderlm.js: where it cannot start, or ends, calls say so, and the next one has another worker."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser
from site_tab import SiteTab

from site_server import serving
from tiny_model import TINY

URL = f"/models/{TINY.name}"
CODE = """() => {
  globalThis.code = (work) => work().then(() => ["nothing", ""], ({ code, message }) => [code, message]);
}"""


@pytest.fixture
def tab(browser: tuple[asyncio.Runner, Browser], site: Path) -> Iterator[SiteTab]:
    """A tab whose worker has not begun."""
    with serving("--model", str(TINY)) as server:
        tab = SiteTab.open(*browser, server.address)
        tab.evaluate(CODE)
        yield tab
        tab.close()


def test_a_file_of_pythons_that_does_not_come_is_fetched_at_the_next_call(tab: SiteTab) -> None:
    for file in ("worker-*.js", "pyodide.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "shaderlm-*.whl"):
        tab.runner.run(tab.context.route(f"**/{file}", lambda route: route.abort()))
        code, message = tab.evaluate("(url) => code(() => load(url))", URL)
        assert code == "NetworkError", (file, message)
        assert "try again" in message, file
        tab.runner.run(tab.context.unroute(f"**/{file}"))
    assert tab.evaluate("() => listModels()") == []
    assert tab.evaluate("(url) => load(url, { context: 64 }).then((model) => model.context)", URL) == 64
    assert len(tab.page.workers) == 1


def test_calls_on_a_model_whose_worker_ended_say_so_and_another_load_has_another_worker(tab: SiteTab) -> None:
    tab.evaluate("async (url) => { globalThis.model = await load(url, { context: 64 }); }", URL)
    tab.evaluate("() => { globalThis.answering = code(() => model.complete('Once', { max_tokens: 50 })); }")
    tab.worker("() => { setTimeout(() => { throw new Error('out of order'); }); }")
    for call in ("answering", "code(() => model.complete('Once'))", "code(() => model.tokenize('Once'))"):
        code, message = tab.evaluate(f"() => {call}")
        assert code == "InternalError", call
        assert "out of order. Load the model again." in message, call
    text = "(url) => load(url, { context: 64 }).then((model) => model.complete('Once', { max_tokens: 3 }))"
    assert tab.evaluate(text, URL)["text"]
    assert len(tab.page.workers) == 1


def test_what_cannot_be_sent_to_the_worker_is_refused(tab: SiteTab) -> None:
    given = "{ context: 64, expected: new Proxy({}, {}) }"
    code, message = tab.evaluate(f"(url) => code(() => load(url, {given}))", URL)
    assert code == "InvalidOption"
    assert "plain data" in message
