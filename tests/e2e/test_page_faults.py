"""What goes wrong with the page: each thing is told in its own words, with what to do about it."""

import asyncio
import json
import re
from collections.abc import Iterator

import pytest
from faulty_site import CHUNK, described
from playwright.async_api import Browser, BrowserContext
from reader import Reader, visit

from site_server import SiteServer, serving
from tiny_model import TINY, goldens

CHAT, TALE = (goldens()[name] for name in ("chat", "tale"))
Running = tuple[asyncio.Runner, Browser]


@pytest.fixture(scope="module")
def web(site) -> Iterator[SiteServer]:
    with serving("--model", str(TINY)) as server:
        yield server


# The browser


UPDATE = (
    "Update Chrome or Edge. On Linux, also open chrome://flags/#enable-unsafe-webgpu, enable it and start again; "
    "chrome://gpu tells what is missing."
)
EXCEPTION = (
    "A security mode may forbid it: Safari's and iOS's Lockdown Mode, Edge's enhanced security, or a company's policy. "
    "Make an exception for this site."
)


@pytest.mark.parametrize(
    ("script", "reason", "advice"),
    [
        (
            "delete Navigator.prototype.gpu",
            "It offers no WebGPU, through which models reach the GPU.",
            UPDATE,
        ),
        (
            "GPU.prototype.requestAdapter = async () => null",
            "It has WebGPU, but finds no graphics adapter to use it with.",
            UPDATE,
        ),
        (
            "delete globalThis.WebAssembly",
            "It does not let this page run WebAssembly, which the model's program needs.",
            EXCEPTION,
        ),
    ],
    ids=["no WebGPU", "no adapter", "no WebAssembly"],
)
async def test_a_browser_that_cannot_run_models_is_told_why(browser, web, script, reason, advice):
    reader = await visit(browser[1], web.address, script=script)
    await reader.see("This browser cannot run models yet")
    assert await reader.page.locator("#support p").all_inner_texts() == [reason, advice, "Check again"]
    assert await reader.page.locator("#choose").is_hidden()
    assert not any(url.endswith(".wasm") for url in reader.asked)
    assert await reader.serious_violations() == []
    await reader.context.close()


async def test_a_gpu_that_goes_away_in_mid_answer_leaves_the_answer_as_it_was(browser, web):
    reader = await visit(browser[1], web.address)
    await reader.start_default()
    await reader.set_options(temperature="0")
    await reader.prompt.fill(TALE.messages[-1]["content"])
    await reader.prompt.press("Enter")
    await reader.page.wait_for_function("() => document.querySelector('.answer > .text')?.textContent.length > 20")
    await reader.page.workers[0].evaluate("shaderlm.gpu.device.destroy()")
    await reader.see("The GPU went away (destroyed)")
    assert await reader.answer() == TALE.text
    assert await reader.say(CHAT.messages[-1]["content"])  # on the other device
    await reader.context.close()


async def test_on_a_full_disk_the_page_says_so_and_chats(browser, faulty):
    async def fill_disk(context: BrowserContext) -> None:
        session = await context.new_cdp_session(await context.new_page())
        override = {"origin": faulty.address.rstrip("/"), "quotaSize": 6 * CHUNK}
        await session.send("Storage.overrideQuotaForOrigin", override)

    reader = await visit(browser[1], faulty.address, prepare=fill_disk)
    await reader.start_default()
    message = await reader.page.locator(".notice p").first.inner_text()
    pattern = (
        r"No room to store tiny\.gguf: 0\.\d MB of 0\.7 MB are stored; the rest is held in memory until it is closed, "
    )
    pattern += (
        r"and will be fetched again next time\. This site uses .* MB of about .* MB\. Delete a model that you don't "
    )
    pattern += r"need, or free space on the disk\."
    assert re.fullmatch(pattern, message), message
    await reader.set_options(temperature="0")
    assert await reader.say(CHAT.messages[-1]["content"]) == CHAT.text
    await reader.context.close()


# Model files


async def refused(reader: Reader) -> tuple[str, str]:
    """The title and the message of a load that failed, which are then put away."""
    box = reader.page.locator("#loading-error .problem-box")
    title, message = await box.locator("strong").inner_text(), await box.locator("p").first.inner_text()
    await reader.button("Close").click()
    return title, message


# By file: the title, and the message behind its address or name.
FAULTS = {
    "gone.gguf": ("There is no such model", " answers 404: there is no such file. Check the address."),
    "secret.gguf": (
        "The server does not give this model away",
        (
            " answers 403: the server does not give this file to everyone. Sign in there and accept its licence, then "
            "download the file and open it from this computer."
        ),
    ),
    "page.gguf": (
        "This is not a model file",
        (
            " is a web page, not a model. Give the address of the file itself, as behind a download button; perhaps "
            "one has to sign in there first."
        ),
    ),
    "short.gguf": (
        "The file is not whole",
        (" ends at byte 365,344, but the file has 340,688. The download is probably incomplete: fetch the file again."),
    ),
    "tiny.gguf": (
        "The file is not the one that was published",
        (
            ": chunk 3 (bytes 196608 on) has the SHA-256 {sha256}, but {zeros} was published. The file on the server "
            "is damaged, or another one: nothing of it is kept. Tell whoever runs this site."
        ),
    ),
}


async def test_each_fault_of_a_file_has_its_message(browser, faulty):
    data = TINY.read_bytes()
    faulty.refusals = {"gone.gguf": 404, "secret.gguf": 403}
    faulty.models |= {"page.gguf": b"<!DOCTYPE html><title>Sign in</title>", "short.gguf": data[: len(data) // 2]}
    published = described(TINY)
    sha256, zeros = published["chunk_sha256"][3], "0" * 64
    published["chunk_sha256"][3] = zeros
    faulty.replaced["site.json"] = json.dumps({"catalogue": [published], "origins": []}).encode()
    reader = await visit(browser[1], faulty.address)
    found, expected = {}, {}
    for name, (title, message) in FAULTS.items():
        url = f"{faulty.address}models/{name}"
        where = "blk.1.ffn_up.weight in short.gguf" if name == "short.gguf" else url
        expected[name] = title, where + message.format(sha256=sha256, zeros=zeros)
        if name == TINY.name:
            await reader.page.locator("#catalogue button").first.click()
        else:
            await reader.load_address(url)
        found[name] = await refused(reader)
    assert found == expected
    await reader.context.close()


async def test_without_a_model_nothing_leads_to_a_chat(browser, faulty):
    reader = await visit(browser[1], faulty.address)
    await reader.start_default()
    named, new_chat = reader.button(re.compile("^Model: ")), reader.button("New chat")
    assert await new_chat.is_visible()
    await named.click()
    await reader.load_address(f"{faulty.address}models/late.gguf")  # in place of the other
    await reader.see("There is no such model")
    assert not await named.is_visible()
    assert not await new_chat.is_visible()
    await reader.button("Close").click()
    assert not await new_chat.is_visible()
    faulty.models["late.gguf"] = TINY.read_bytes()
    await reader.load_address(f"{faulty.address}models/late.gguf")
    await new_chat.click()
    assert await reader.say(CHAT.messages[-1]["content"])
    await reader.context.close()


async def test_a_stray_percent_sign_in_an_address_does_no_harm(browser, faulty):
    faulty.models["50%.gguf"] = TINY.read_bytes()
    reader = await visit(browser[1], faulty.address)
    await reader.load_address(f"{faulty.address}models/50%.gguf")
    await reader.prompt.wait_for()
    await reader.button("Model: 50%.gguf. Choose another").click()
    await reader.page.locator("#stored li", has_text="50%.gguf").wait_for()
    assert reader.complaints == []
    await reader.context.close()


async def test_a_model_that_is_not_there_can_be_tried_again(browser, faulty):
    reader = await visit(browser[1], faulty.address)
    await reader.load_address(f"{faulty.address}models/late.gguf")
    await reader.see("There is no such model")
    await reader.see("late.gguf answers 404")
    assert await reader.serious_violations() == []
    faulty.models["late.gguf"] = TINY.read_bytes()
    await reader.button("Try again").click()
    await reader.see("681 kB of 681 kB")
    await reader.context.close()


async def test_addresses_that_the_site_does_not_allow_are_refused_at_once(browser, faulty):
    reader = await visit(browser[1], faulty.address)
    await reader.load_address("https://models.example/model.gguf")
    await reader.see("does not load models from https://models.example")
    await reader.load_address("a model")
    await reader.see("This is not the address of a file")
    assert reader.strangers() == []
    await reader.context.close()


async def test_a_paused_download_goes_on_where_it_was(browser, faulty):
    reader = await visit(browser[1], faulty.address)
    faulty.stands_at = 5 * CHUNK
    await reader.page.locator("#catalogue button").first.click()
    await reader.see("kB of 681 kB")
    await reader.button("Pause").click()
    await reader.see("paused")
    faulty.stands_at = None
    await reader.button("Resume").click()
    await reader.prompt.wait_for()
    first, second = faulty.ranges
    assert first is None
    assert second in [f"bytes={chunks * CHUNK}-" for chunks in range(1, 6)]
    await reader.context.close()
