"""What axe-core has against the page, in each of its states, in light and in dark."""

import re

from faulty_site import CHUNK
from reader import Reader, visit

from tiny_model import goldens

TALE = goldens()["tale"]

# `hold()` keeps back what the GPU gives from then on, until `release()`: so an answer stands still.
HOLD = """() => {
  const { mapAsync } = GPUBuffer.prototype;
  let held;
  GPUBuffer.prototype.mapAsync = async function (...range) {
    await mapAsync.apply(this, range);
    await held;
  };
  globalThis.hold = () => { held = new Promise((resolve) => (globalThis.release = resolve)); };
}"""


async def violations(reader: Reader) -> list[str]:
    found = []
    for scheme in ("light", "dark"):
        await reader.page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {what}" for what in await reader.serious_violations()]
    return found


async def test_axe_finds_nothing_serious_in_any_state(browser, faulty):
    found = {}
    reader = await visit(browser[1], faulty.address)
    await reader.see("Ready: ")
    found["models"] = await violations(reader)

    await reader.load_address(f"{faulty.address}models/none.gguf")
    await reader.see("There is no such model")
    found["error"] = await violations(reader)
    await reader.button("Close").click()

    faulty.stands_at = 5 * CHUNK
    await reader.page.locator("#catalogue button").first.click()
    await reader.see("kB of 681 kB")
    found["loading"] = await violations(reader)
    await reader.button("Pause").click()
    await reader.see("paused")
    found["paused"] = await violations(reader)
    faulty.stands_at = None
    await reader.button("Resume").click()

    await reader.see("Say something to begin.")
    found["empty"] = await violations(reader)
    await reader.button("Settings").click()
    found["settings"] = await violations(reader)
    await reader.button("Done").click()

    await reader.set_options(temperature="0")
    [worker] = reader.page.workers
    await worker.evaluate(HOLD)
    await reader.prompt.fill(TALE.messages[-1]["content"])
    await reader.prompt.press("Enter")
    await reader.page.wait_for_function("() => document.querySelector('.answer > .text')?.textContent")
    await worker.evaluate("hold()")
    found["answering"] = await violations(reader)
    assert await reader.button("Stop").is_visible()
    await worker.evaluate("release()")
    assert await reader.answer() == TALE.text
    found["answered"] = await violations(reader)

    await worker.evaluate("shaderlm.gpu.device.destroy()")
    await reader.see("The GPU went away")
    found["notice"] = await violations(reader)
    await reader.button(re.compile("^Model: ")).click()
    found["kept"] = await violations(reader)
    assert {state: what for state, what in found.items() if what} == {}
    await reader.context.close()
