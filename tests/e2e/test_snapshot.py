"""Starting Python from a memory snapshot: from the second visit on, the same answers, and files where it fails."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser
from site_tab import SiteTab

from site_server import serving
from tiny_model import TINY, goldens

GOLDEN = goldens()["story"]
ANSWER = """async ([url, prompt, count]) => {
  const model = await load(url, { context: 128 });
  return (await model.complete(prompt, { max_tokens: count, temperature: 0 })).text;
}"""
KEPT = """async () => {
  for (;;) {
    const cache = await caches.open("shaderlm-snapshot /assets/");
    const [request] = await cache.keys();
    if (request) return request.url;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}"""


@pytest.fixture
def tab(browser: tuple[asyncio.Runner, Browser], site: Path) -> Iterator[SiteTab]:
    with serving("--model", str(TINY)) as server:
        tab = SiteTab.open(*browser, server.address)
        yield tab
        tab.close()


def answer(tab: SiteTab) -> str:
    return str(tab.evaluate(ANSWER, [f"/models/{TINY.name}", GOLDEN.prompt, GOLDEN.max_tokens]))


def started_from(tab: SiteTab) -> str:
    return str(tab.worker("async () => (await shaderlm.ready, shaderlm.from)"))


def test_the_second_visit_starts_from_the_snapshot_and_a_broken_one_from_files(tab: SiteTab) -> None:
    assert answer(tab) == GOLDEN.text
    assert started_from(tab) == "files"
    url = tab.evaluate(KEPT)

    tab.visit()
    assert answer(tab) == GOLDEN.text
    assert started_from(tab) == "snapshot"

    tab.evaluate(
        """async (url) => {
          const cache = await caches.open("shaderlm-snapshot /assets/");
          await cache.put(url, new Response(new Uint8Array(1 << 20)));
        }""",
        url,
    )
    tab.visit()
    assert answer(tab) == GOLDEN.text
    assert started_from(tab) == "files"
