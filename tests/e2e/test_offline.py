"""What the service worker keeps: the page opens without a network, and is always of one version."""

import asyncio
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from faulty_site import FaultySite
from model_server import ModelBytes
from reader import Reader, visit

from shaderlm.server import static
from site_server import serving
from tiny_model import TINY, goldens

CHAT = goldens()["chat"]
CACHES = "caches.keys().then((names) => names.filter((name) => name.startsWith('shaderlm /')).sort())"
ALONE = f"""async (count) => {{
  let names = await {CACHES};
  while (names.length > count) names = await {CACHES}; // the old version is being removed
  return names;
}}"""
TITLE = "(async () => (await (await fetch('index.html')).text()).match(/<title>(.*)</)[1])()"


async def kept(reader: Reader) -> None:
    """Wait until a version is kept."""
    await reader.page.evaluate("navigator.serviceWorker.ready.then(({ active }) => active.state)")


def release(server: FaultySite, title: str, *, whole: bool = True) -> None:
    """Put a new version on the server, or only its list of files."""
    index = (server.folder / "index.html").read_text().replace("<title>shaderlm<", f"<title>{title}<").encode()
    worker = (server.folder / "sw.js").read_text()
    digest = b64encode(hashlib.sha256(index).digest()).decode()
    worker = re.sub(r'(path:"index\.html",sha256:"sha256-)[^"]+', rf"\g<1>{digest}", worker)
    server.replaced["sw.js"] = re.sub(r'version:"\w+"', f'version:"{title}"', worker).encode()
    if whole:
        server.replaced["index.html"] = index


async def ask_for_updates(reader: Reader) -> None:
    """As the browser does of its own accord now and then, until a new version was found, and taken in or refused."""
    await reader.page.evaluate("""navigator.serviceWorker.ready.then((registration) => new Promise((resolve) => {
      const watch = () => registration.installing?.addEventListener("statechange", done);
      const ask = () => registration.waiting ? done() : registration.update().catch(() => {});
      const asking = setInterval(ask, 1000);  // one that is under way already may have seen the old version
      const done = () => resolve(clearInterval(asking));
      registration.addEventListener("updatefound", watch);
      watch();
      ask();
    }))""")


async def test_without_a_server_the_page_opens_and_chats(browser, site):
    with serving("--model", str(TINY)) as server:
        reader = await visit(browser[1], server.address)
        await reader.start_default()
        await reader.set_options(temperature="0")
        await kept(reader)
    asked = len(reader.asked)
    await reader.page.reload()
    await reader.prompt.wait_for()
    assert await reader.say(CHAT.messages[-1]["content"]) == CHAT.text
    assert [url for url in reader.asked[asked:] if "/models/" in url] == []
    await reader.context.close()


async def test_the_newest_settings_are_taken_and_models_pass_by(browser, faulty):
    reader = await visit(browser[1], faulty.address)
    await kept(reader)
    faulty.replaced["site.json"] = json.dumps({"title": "House models", "catalogue": [], "origins": []}).encode()
    await reader.page.reload()
    await reader.see("House models")
    assert await reader.page.evaluate("fetch('models/tiny.gguf').then((got) => got.status)") == 200
    names = await reader.page.evaluate(
        f"{CACHES}.then((names) => Promise.all(names.map(async (name) => (await (await caches.open(name)).keys())"
        ".map(({ url }) => new URL(url).pathname)))).then((all) => all.flat())"
    )
    assert sorted(names) == sorted([*kept_files(faulty.folder), "/site.json"])
    await reader.context.close()


async def test_a_host_that_sends_index_html_to_the_folder_loses_nothing(browser, faulty):
    faulty.redirects["/index.html"] = "/"
    reader = await visit(browser[1], faulty.address)
    await kept(reader)
    await reader.page.reload()
    await reader.see("Ready: ")
    assert await reader.page.evaluate(TITLE) == "shaderlm"
    await reader.context.close()


@asynccontextmanager
async def allowing(site: Path, origins: Sequence[str], port: int = 0) -> AsyncIterator[str]:
    """The address of `shaderlm web` with these `origins` in site.json."""
    app = static.application(static.Site(site, {}, {"origins": origins}), local=True)
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(static.serve(app, "127.0.0.1", port, address.set_result))
    yield await address
    running.cancel()
    await asyncio.wait([running])


async def test_origins_that_are_allowed_later_hold_for_those_who_were_there_before(browser, site, elsewhere):
    """The policy that holds for the worker came with its script, which browsers and the service worker keep."""
    elsewhere.files[TINY.name] = ModelBytes(TINY.read_bytes())
    async with allowing(site, []) as address:
        reader = await visit(browser[1], address)
        await kept(reader)
        await reader.page.reload()  # the worker comes from what is kept
        await reader.page.wait_for_function("async () => Boolean(await navigator.serviceWorker.controller)")
        await reader.load_address(elsewhere.url(f"models/{TINY.name}"))
        await reader.see("does not load models from")
    async with allowing(site, [elsewhere.address], int(address.rstrip("/").rsplit(":", 1)[1])):
        await reader.page.reload()
        await reader.load_address(elsewhere.url(f"models/{TINY.name}"))
        await reader.prompt.wait_for()
    await reader.context.close()


def kept_files(site: Path) -> list[str]:
    names = json.loads((site / "manifest.json").read_text())
    return [f"/{name}" for name in names if not re.fullmatch(r"_headers|site\.json|sw\.js|assets/snapshot-.*", name)]


async def test_a_new_version_is_taken_whole_when_the_reader_says_so(browser, faulty):
    reader = await visit(browser[1], faulty.address)
    await kept(reader)
    await reader.page.reload()
    before = await reader.page.evaluate(CACHES)
    release(faulty, "second")
    await ask_for_updates(reader)
    await reader.see("A new version of this page is here.")
    assert await reader.page.evaluate(TITLE) == "shaderlm"
    async with reader.page.expect_navigation():
        await reader.button("Use it now").click()
    assert await reader.page.evaluate(TITLE) == "second"
    after = await reader.page.evaluate(ALONE, len(before))
    assert len(before) == 2
    assert [name for name in after if name.endswith(" second")]
    await reader.context.close()


async def test_other_tabs_are_told_that_one_has_taken_a_new_version(browser, faulty):
    reader = await visit(browser[1], faulty.address)
    await kept(reader)
    await reader.page.reload()
    other = Reader(await reader.context.new_page(), faulty.address)
    await other.page.goto(faulty.address)
    release(faulty, "second")
    await ask_for_updates(reader)
    await other.see("A new version of this page is here.")
    await reader.button("Use it now").click()
    await other.see("Another tab has taken a new version of this page. Load this one again when it suits you.")
    assert await other.page.title() == "shaderlm"  # it was not loaded again under its reader's hands
    await reader.context.close()


async def test_a_version_of_which_a_file_is_another_is_not_taken(browser, faulty):
    reader = await visit(browser[1], faulty.address)
    await kept(reader)
    await reader.page.reload()
    before = await reader.page.evaluate(CACHES)
    release(faulty, "half", whole=False)
    await ask_for_updates(reader)
    await reader.page.wait_for_function(  # the page's own visit may have asked for updates as well
        f"""async (before) => {{
          const {{ installing, waiting }} = await navigator.serviceWorker.ready;
          return !installing && !waiting && String(await {CACHES}) === String(before);
        }}""",
        arg=before,
    )
    assert await reader.page.evaluate(TITLE) == "shaderlm"
    await reader.context.close()
