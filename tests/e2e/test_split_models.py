"""Models in several files, in the page: dropped together, kept, described by the catalogue."""

import json
import random
from pathlib import Path

import pytest
from faulty_site import described, serving_site
from reader import Reader, drop_files, visit

from split_files import split
from tiny_model import TINY, goldens

CHAT = goldens()["chat"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return split(TINY, tmp_path_factory.mktemp("parts"), 3)


async def answers(reader: Reader) -> bool:
    await reader.prompt.wait_for()
    await reader.set_options(temperature="0")
    return await reader.say(CHAT.messages[-1]["content"]) == CHAT.text


async def test_files_that_are_dropped_together_are_one_model(browser, faulty, parts):
    reader = await visit(browser[1], faulty.address)
    await reader.see("Ready: ")
    await drop_files(reader.page, parts[:2])
    await reader.see("Choose all of them together.")
    await reader.button("Close").click()
    await reader.page.get_by_label("Keep a copy").check()
    await drop_files(reader.page, random.Random(1).sample(parts, 3))
    await reader.see(f"Loading {parts[0].name}")
    assert await answers(reader)

    await reader.page.reload()
    rows = reader.page.locator("#stored li")
    await rows.first.wait_for()
    size = sum(part.stat().st_size for part in parts)
    [row] = await rows.all_inner_texts()
    assert row.split("\n")[:2] == [parts[0].name, f"{size / 1000:.0f} kB"]
    await rows.get_by_role("button", name="Start", exact=True).click()
    await reader.see("from this device")
    assert await answers(reader)

    await reader.button(f"Model: {parts[0].name}. Choose another").click()
    await rows.get_by_role("button").last.click()
    await reader.page.get_by_text("Really delete").click()
    await rows.wait_for(state="detached")
    assert faulty.ranges == []
    await reader.context.close()


async def test_a_catalogue_describes_each_file(browser, site, parts):
    first, *others = (described(part) for part in parts)
    row = {"name": "split", "url": first["url"], "size": TINY.stat().st_size, "files": [first, *others]}
    with serving_site(site, parts[0]) as server:
        server.models |= {part.name: part.read_bytes() for part in parts}
        right, others[1]["chunk_sha256"][0] = others[1]["chunk_sha256"][0], "0" * 64
        server.replaced["site.json"] = json.dumps({"catalogue": [row], "origins": []}).encode()
        reader = await visit(browser[1], server.address)
        await reader.page.locator("#catalogue button").first.click()
        await reader.see(f"{parts[2].name}: chunk 0 (bytes 0 on) has the SHA-256 {right}, but {'0' * 64} was published")

        others[1]["chunk_sha256"][0] = right
        server.replaced["site.json"] = json.dumps({"catalogue": [row], "origins": []}).encode()
        await reader.page.reload()
        await reader.page.locator("#catalogue button").first.click()
        assert await answers(reader)
        await reader.context.close()
