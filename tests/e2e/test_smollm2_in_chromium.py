"""SmolLM2 in Chromium: the tokens that the desktop gives, out of a heap that never held the model."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser
from site_tab import SiteTab

import shaderlm
from site_server import serving

MARGIN = 0.2  # between the two likeliest tokens; below it 16-bit keys and values may tell either
HEAP_GROWTH = 40e6  # bytes of Pyodide's heap while 98 MB are loaded
CHATS = ["What is the capital of France?", "Write a short poem about rain.", "Count from one to ten."]


@pytest.fixture(scope="module")
def tab(browser: tuple[asyncio.Runner, Browser], site: Path, smollm2: Path) -> Iterator[SiteTab]:
    """A first visit, before the model is loaded."""
    with serving("--model", str(smollm2)) as server:
        tab = SiteTab.open(*browser, server.address)
        tab.evaluate("() => { prepare(); }")
        yield tab
        tab.close()


def heap(tab: SiteTab) -> int:
    return int(tab.worker("async () => (await shaderlm.ready, shaderlm.pyodide._module.HEAPU8.length)"))


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def wanted(request: pytest.FixtureRequest) -> int:
    """Tokens of each answer."""
    return 32 if request.config.getoption("-m") == "not slow" else 64


@pytest.fixture(scope="module")
def native(smollm2: Path, wanted: int) -> dict[str, tuple[list[int], list[float]]]:
    """For each chat the greedy tokens, and by how much each won."""
    answers = {}
    with shaderlm.load(smollm2, context=512) as model:
        for text in CHATS:
            answer = model.chat(messages(text), max_tokens=wanted, temperature=0, logprobs=2)
            margins = [entry.top[0][1] - entry.top[1][1] for entry in answer.logprobs]
            answers[text] = (list(answer.tokens), margins)
    return answers


def test_the_model_streams_the_native_tokens(tab: SiteTab, smollm2: Path, native: Any, wanted: int) -> None:
    before = heap(tab)
    tab.evaluate("async (url) => { globalThis.model = await load(url, { context: 512 }); }", f"/models/{smollm2.name}")
    assert heap(tab) - before < HEAP_GROWTH
    for text, (tokens, margins) in native.items():
        given = [messages(text), {"temperature": 0, "max_tokens": wanted}]
        got = tab.evaluate("([messages, options]) => said(model.streamChat(messages, options))", given)["tokens"]
        for i, (expected, margin) in enumerate(zip(tokens, margins, strict=True)):
            if got[i : i + 1] == [expected]:
                continue
            assert margin <= MARGIN, f"token {i} of {text!r} is {got[i : i + 1]}, natively {expected} by {margin:.2f}"
            assert i > 4, f"{text!r} says nothing: the texts part at token {i}"
            break
        else:
            assert len(got) == len(tokens)
