"""What the page's machinery takes in Chromium: `python3 build.py bench browser [FILE.json]`.

The built site is served by `shaderlm web`, with the default model. Start-up is the median of RUNS visits of each kind.
A step's host time is what the worker's thread computes for it. The clock runs on while SwiftShader has taken the core
of that thread, so both are told: the time on a core (Linux), and by the clock from a result's arrival to waiting for
the next. Frames are those of the page from a question to the end of its answer, the prefill included.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/e2e")]  # the browser of the tests

from frames import Frames, frames_of_answers  # noqa: E402
from playwright.async_api import Browser  # noqa: E402
from reader import visit  # noqa: E402
from site_tab import SiteTab  # noqa: E402

from chromium import running_browser  # noqa: E402
from shaderlm.catalogue import SMOLLM2  # noqa: E402
from site_server import SiteServer, serving  # noqa: E402

RUNS = 3
STEPS = 32
MODEL = f"/models/{SMOLLM2.file}"
PROMPT = "What is the capital of France?"

START = "async () => { prepare(); }"
READY = "async () => { await shaderlm.ready; return { from: shaderlm.from, ms: performance.now() }; }"
TRANSFERRED = "() => performance.getEntriesByType('resource').reduce((sum, { transferSize }) => sum + transferSize, 0)"
KEEP_SNAPSHOT = """async (name) => {
  const cache = await caches.open("shaderlm-snapshot /assets/");
  await cache.add(name);
}"""
LOAD = """async (url) => {
  const started = performance.now();
  globalThis.model = await load(url, { context: 512 });
  return performance.now() - started;
}"""
ASK = """async ([text, max_tokens]) => {
  const started = performance.now();
  let first;
  let completion;
  const options = { max_tokens, temperature: 0, logit_bias: { 2: -100, 0: -100 }, reuse_prefix: false };
  for await (const chunk of model.streamChat([{ role: "user", content: text }], options)) {
    first ??= performance.now() - started;
    completion = chunk.completion;
  }
  return { first, timings: completion.timings, usage: completion.usage };
}"""
STEP_TIMES = "() => [shaderlm.gpu.steps, shaderlm.gpu.hostTime * 1000]"
HEAP = "() => shaderlm.pyodide._module.HEAPU8.length"


def started(tab: SiteTab) -> dict[str, Any]:
    """A visit up to where Python is ready, and what it was started from."""
    tab.visit()
    tab.evaluate(START)
    ready: dict[str, Any] = tab.worker(READY)
    return ready


def start_up(runner: asyncio.Runner, browser: Browser, server: SiteServer, snapshot: str) -> dict[str, Any]:
    """Milliseconds from the worker's start to where Python is ready, at visits of three kinds."""
    found: dict[str, list[float]] = {"cold": [], "warm": [], "snapshot": []}
    for _ in range(RUNS):
        tab = SiteTab.open(runner, browser, server.address)
        found["cold"].append(started(tab)["ms"])
        found["warm"].append(started(tab)["ms"])
        tab.evaluate(KEEP_SNAPSHOT, f"/assets/{snapshot}")
        last = started(tab)
        assert last["from"] == "snapshot", last
        found["snapshot"].append(last["ms"])
        tab.close()
    return {
        kind: {"median": round(statistics.median(ms)), "all": [round(one) for one in ms]} for kind, ms in found.items()
    }


def answering(runner: asyncio.Runner, browser: Browser, server: SiteServer) -> dict[str, Any]:
    """The default model at a first visit and at a second one."""
    tab = SiteTab.open(runner, browser, server.address)
    tab.evaluate(START)
    tab.worker(READY)
    fetched = tab.evaluate(TRANSFERRED) + tab.worker(TRANSFERRED)
    before = tab.worker(HEAP)
    first = {
        "load_ms": round(tab.evaluate(LOAD, MODEL)),
        "first_token_ms": round(tab.evaluate(ASK, [PROMPT, 1])["first"]),
    }
    grown = tab.worker(HEAP) - before
    started(tab)
    second = {"load_ms": round(tab.evaluate(LOAD, MODEL))}
    answer = tab.evaluate(ASK, [PROMPT, 1])
    second["first_token_ms"] = round(answer["first"])
    tab.evaluate(ASK, [PROMPT, STEPS])
    timings, step = steps_of(tab)
    adapter = tab.evaluate("() => model.adapter")
    tab.close()
    return {
        "bytes_transferred_before_the_model": fetched,
        "heap_growth_bytes": grown,
        "first_visit": first,
        "second_visit": second,
        "host_us_per_step": step,
        "decode_tokens_per_second": round(timings["decode_tokens_per_second"], 2),
        "prefill_tokens_per_second": round(timings["prefill_tokens_per_second"], 2),
        "adapter": adapter["name"],
    }


def steps_of(tab: SiteTab) -> tuple[dict[str, float], dict[str, int]]:
    """How fast an answer to a known prompt came, and the host's microseconds for a step of it."""
    computed, (before, clock_before) = worker_microseconds(), tab.worker(STEP_TIMES)
    timings: dict[str, float] = tab.evaluate(ASK, [PROMPT, STEPS])["timings"]
    computed, (steps, clock) = worker_microseconds() - computed, tab.worker(STEP_TIMES)
    by_clock = round((clock - clock_before) / (steps - before))
    return timings, {"on_a_core": round(computed / (steps - before)), "by_the_clock": by_clock}


def worker_microseconds() -> float:
    """What the threads of web workers have computed so far, in all browsers of this machine (proc(5), schedstat)."""
    names = Path("/proc").glob("[0-9]*/task/[0-9]*/comm")
    workers = [name.parent for name in names if name.read_text().startswith("DedicatedWorker")]
    return sum(int((worker / "schedstat").read_text().split()[0]) for worker in workers) / 1000


def in_the_page(runner: asyncio.Runner, browser: Browser, server: SiteServer) -> dict[str, Any]:
    """How smooth the page stays while it shows an answer of the default model."""

    async def answered() -> Frames:
        reader = await visit(browser, server.address)
        await reader.start_default()
        await reader.set_options(temperature="0", max_tokens=str(STEPS))
        frames = await frames_of_answers(reader, PROMPT)
        await reader.context.close()
        return frames

    frames = runner.run(answered())
    longest = max(frames.long_tasks, default=0.0)
    return {"frames": len(frames.times), "frame_ms_p95": round(frames.p95, 1), "longest_task_ms": round(longest)}


def main() -> int:
    site = ROOT / "build/site"
    snapshot = next(site.glob("assets/snapshot-*.bin")).name
    load_before = os.getloadavg()
    with running_browser() as (runner, browser), serving() as server:
        results = {
            "shaderlm": version("shaderlm"),
            "browser": f"Chromium {browser.version}",
            "cores": os.cpu_count(),
            "model": SMOLLM2.file,
            "start_up_ms": start_up(runner, browser, server, snapshot),
            **answering(runner, browser, server),
            **in_the_page(runner, browser, server),
        }
    results |= {"load_average_before": load_before, "load_average_after": os.getloadavg()}
    text = json.dumps(results, indent=1)
    if sys.argv[1:]:
        target = Path(sys.argv[1])
        with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False) as file:
            file.write(text + "\n")
        os.replace(file.name, target)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
