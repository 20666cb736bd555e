"""What browsers may lack, taken away: a model loads all the same, and says the same."""

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, BrowserContext, Route
from reader import visit
from site_tab import SiteTab

from site_server import SiteServer, serving
from tiny_model import TINY, goldens

STORY, CHAT = (goldens()[name] for name in ("story", "chat"))
Running = tuple[asyncio.Runner, Browser]

# By name: what takes it away from a page or a worker, and what then holds there. SwiftShader never has `shader-f16`.
WITHOUT_FEATURE = """{
  const { get } = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, "features");
  const features = function () { return new Set([...get.call(this)].filter((name) => name !== "FEATURE")); };
  Object.defineProperty(GPUAdapter.prototype, "features", { get: features });
}"""
HAS_NOT = "![shaderlm.gpu.adapter, shaderlm.gpu.device].some(({ features }) => features.has('FEATURE'))"
FEATURES = ("subgroups", "shader-f16", "timestamp-query")
WITHOUT_BYOB = """{
  const { getReader } = ReadableStream.prototype;
  ReadableStream.prototype.getReader = function (options) {
    if (options?.mode === "byob") throw new TypeError("no BYOB readers here");
    return getReader.call(this);
  };
  delete globalThis.ReadableStreamBYOBReader;
}"""
ABSENT = {
    "JSPI": ("delete WebAssembly.Suspending; delete WebAssembly.promising;", "!WebAssembly.Suspending"),
    "BYOB readers": (WITHOUT_BYOB, "!globalThis.ReadableStreamBYOBReader"),
    "Web Locks": ("delete Object.getPrototypeOf(navigator).locks;", "!navigator.locks"),
    "persist": ("delete StorageManager.prototype.persist;", "!navigator.storage.persist"),
    **{name: (WITHOUT_FEATURE.replace("FEATURE", name), HAS_NOT.replace("FEATURE", name)) for name in FEATURES},
}
ALL = "".join(f"{script}\n" for script, _ in ABSENT.values())


@pytest.fixture(scope="module")
def web(site) -> Iterator[SiteServer]:
    with serving("--model", str(TINY)) as server:
        yield server


async def take_from_workers(context: BrowserContext, script: str) -> None:
    """Have every worker of the site run a script before its own."""

    async def with_script(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=f"{script}\n{await answer.text()}")

    await context.route("**/assets/worker-*.js", with_script)


async def test_without_any_of_them_the_page_chats(browser: Running, web: SiteServer) -> None:
    reader = await visit(browser[1], web.address, script=ALL, prepare=lambda it: take_from_workers(it, ALL))
    assert await reader.page.evaluate("!navigator.storage.persist && !navigator.locks")
    await reader.start_default()
    await reader.set_options(temperature="0")
    assert await reader.say(CHAT.messages[-1]["content"]) == CHAT.text
    for name, (_, gone) in ABSENT.items():
        assert await reader.page.workers[0].evaluate(f"async () => {gone}"), name
    assert reader.complaints == []
    await reader.page.reload()  # from what was stored without locks
    await reader.prompt.wait_for()
    assert await reader.say(CHAT.messages[-1]["content"]) == CHAT.text
    await reader.context.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ABSENT)
def test_without_one_of_them_the_text_is_the_same(browser: Running, web: SiteServer, name: str) -> None:
    script, gone = ABSENT[name]
    tab = SiteTab.open(*browser, web.address)
    tab.evaluate(f"() => {{ {script} }}")
    tab.runner.run(take_from_workers(tab.context, script))
    answer = tab.evaluate(
        """async ([url, prompt, max_tokens]) => {
          const model = await load(url, { context: 128 });
          return model.complete(prompt, { max_tokens, temperature: 0 });
        }""",
        [f"/models/{TINY.name}", STORY.prompt, STORY.max_tokens],
    )
    assert answer["text"] == STORY.text
    assert tab.worker(f"async () => {gone}")
    tab.close()
