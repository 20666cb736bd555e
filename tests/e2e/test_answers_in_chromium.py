"""Answers of models in Chromium, by the Python core under Pyodide: the native ones, whatever happens meanwhile."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from heaps import heaps_of
from playwright.async_api import Browser, Error, Route
from site_tab import SiteTab

from site_server import serving
from tiny_model import TINY, goldens

GOLDENS = goldens()
NO_END = {"0": -100, "2": -100}  # a bias that lets no answer of the tiny model end


@pytest.fixture(scope="module")
def tab(browser: tuple[asyncio.Runner, Browser], site: Path) -> Iterator[SiteTab]:
    """A tab in which `model` is the tiny model, loaded."""
    with serving("--model", str(TINY)) as server:
        tab = SiteTab.open(*browser, server.address)
        tab.evaluate(LOAD, URL)
        yield tab
        tab.close()


URL = f"/models/{TINY.name}"
LOAD = """async (url) => {
  Object.assign(globalThis, { notices: [], progress: [] });
  const onNotice = (notice) => notices.push(notice);
  const onProgress = (told) => progress.push(told);
  globalThis.model = await load(url, { context: 256, kv_dtype: "f32", onNotice, onProgress });
}"""
NOTICES = "() => notices.map(({ code, message }) => [code, message])"


def options(**given: Any) -> dict[str, Any]:
    return {"temperature": 0, **given}


@pytest.mark.parametrize("golden", GOLDENS.values(), ids=list(GOLDENS))
def test_greedy_text_is_that_of_transformers(tab: SiteTab, golden: Any) -> None:
    given = [golden.messages or golden.prompt, options(max_tokens=golden.max_tokens)]
    call = "streamChat" if golden.messages else "stream"
    answer = tab.evaluate(f"([input, options]) => said(model.{call}(input, options))", given)
    assert answer["text"] == golden.text
    assert answer["finish_reason"] == golden.finish_reason
    assert answer["usage"]["prompt_tokens"] == len(golden.prompt_ids)


def test_a_prompt_of_token_ids_and_its_text_are_one(tab: SiteTab) -> None:
    golden = GOLDENS["story"]
    assert tab.evaluate("(text) => model.tokenize(text)", golden.prompt) == golden.prompt_ids
    assert tab.evaluate("(tokens) => model.detokenize(tokens)", golden.prompt_ids) == golden.prompt
    whole = "([prompt, options]) => model.complete(prompt, options)"
    of_text = tab.evaluate(whole, [golden.prompt, options(max_tokens=12)])
    of_ids = tab.evaluate(whole, [golden.prompt_ids, options(max_tokens=12)])
    assert of_text["tokens"] == of_ids["tokens"] == golden.ids[:12]


def test_a_seed_gives_the_same_answer_again(tab: SiteTab) -> None:
    draw = "(seed) => model.complete('Once', { seed, max_tokens: 20, reuse_prefix: false }).then((a) => a.tokens)"
    assert tab.evaluate(draw, 7) == tab.evaluate(draw, 7)
    assert tab.evaluate(draw, 7) != tab.evaluate(draw, 8)


def test_leaving_the_loop_ends_the_answer_within_two_steps(tab: SiteTab) -> None:
    tab.evaluate(
        """async (bias) => {
          for await (const chunk of model.stream("Once upon a time", { max_tokens: 200, logit_bias: bias })) break;
        }""",
        NO_END,
    )
    before = rows_computed(tab)
    tab.evaluate("() => model.complete('Once', { max_tokens: 1 })")  # waits for its turn
    assert rows_computed(tab) <= before + 5 + 2


def rows_computed(tab: SiteTab) -> int:
    python = "next(iter(__import__('shaderlm.web.worker').web.worker.desk.models.values()))._core.engine.rows_computed"
    return int(tab.worker(f'() => shaderlm.pyodide.runPython("{python}")'))


def test_an_aborted_answer_says_that_it_was_cancelled(tab: SiteTab) -> None:
    answer = tab.evaluate(
        """async (bias) => {
          const aborting = new AbortController();
          const options = { max_tokens: 200, logit_bias: bias, signal: aborting.signal };
          const chunks = [];
          for await (const chunk of model.stream("Once upon a time", options)) {
            chunks.push(chunk);
            aborting.abort();
          }
          return chunks.at(-1).completion;
        }""",
        NO_END,
    )
    assert answer["finish_reason"] == "cancelled"
    assert 1 <= len(answer["tokens"]) < 100


def test_errors_carry_the_name_of_their_class(tab: SiteTab) -> None:
    code = "(work) => work().then(() => '', (error) => [error.name, error.code, error.message])"
    tab.evaluate(f"() => {{ globalThis.code = {code}; }}")
    name, code, message = tab.evaluate("() => code(() => model.complete('Once', { top_p: 7 }))")
    assert (name, code) == ("ShaderLMError", "InvalidOption")
    assert "top_p" in message
    for call in ("load", "inspect"):
        name, code, message = tab.evaluate(f"(url) => code(() => {call}(url, {{ contxt: 5 }}))", URL)
        assert (name, code) == ("ShaderLMError", "InvalidOption")
        assert f"{call} knows no option contxt" in message
    quick = tab.evaluate("(url) => code(() => load(url, { arithmetic: 'quick' }))", URL)
    assert quick[1:] == ["InvalidOption", 'arithmetic: must be "exact" or "fast", not \'quick\'.']
    assert tab.evaluate("() => code(() => model.complete('a '.repeat(2000)))")[1] == "PromptTooLong"
    assert tab.evaluate("() => code(() => load('/models/none.gguf'))")[1] == "ModelNotFound"
    assert tab.evaluate("() => code(() => load('/index.html'))")[1] in ("InvalidFile", "ModelNotFound")
    full = tab.evaluate(
        "(bias) => model.complete('Once', { logit_bias: bias }).then(() => '', ({ code, partial }) => [code, partial])",
        NO_END,
    )
    assert full[0] == "ContextFull"
    assert len(full[1]["tokens"]) > 200


def test_a_lost_device_is_replaced_and_the_answer_goes_on(tab: SiteTab) -> None:
    given = options(max_tokens=60, logit_bias=NO_END, reuse_prefix=False)
    tab.evaluate("() => model.unload()")
    tab.evaluate(LOAD, URL)  # the worker's `shaderlm.gpu` is the device that was opened last
    undisturbed = tab.evaluate("(options) => model.complete('Once upon a time', options)", given)
    tab.evaluate(
        """(options) => {
          notices.length = progress.length = 0;
          globalThis.chunks = [];
          globalThis.answering = said(model.stream("Once upon a time", options), chunks);
        }""",
        given,
    )
    tab.evaluate("async () => { while (chunks.length < 10) await new Promise(requestAnimationFrame); }")
    tab.worker("() => shaderlm.gpu.device.destroy()")
    answer = tab.evaluate("() => answering")
    assert answer["tokens"] == undisturbed["tokens"]
    assert answer["text"] == undisturbed["text"]
    [(code, message)] = tab.evaluate(NOTICES)
    assert code == "DeviceLost"
    assert message.endswith("Answers go on as soon as the model is on another device.")
    assert tab.evaluate("() => progress") == []  # which is told of a load alone


def test_a_device_may_be_lost_between_a_result_and_its_reading(tab: SiteTab) -> None:
    given = options(max_tokens=60, logit_bias=NO_END, reuse_prefix=False)
    answer = "(options) => model.complete('Once upon a time', options).then(({ tokens }) => tokens)"
    undisturbed = tab.evaluate(answer, given)
    tab.evaluate("() => { notices.length = 0; }")
    tab.worker(
        """() => {
          const { mapAsync } = GPUBuffer.prototype;
          let reads = 0;
          GPUBuffer.prototype.mapAsync = async function (...range) {
            await mapAsync.call(this, ...range);
            if (++reads === 10) shaderlm.gpu.device.destroy();
          };
        }"""
    )
    assert tab.evaluate(answer, given) == undisturbed
    assert [code for code, _ in tab.evaluate(NOTICES)] == ["DeviceLost"]


def test_two_hundred_answers_leave_nothing_behind(tab: SiteTab) -> None:
    chat = "({ role: 'user', content: `Hello, this is number ${i % 5}` })"
    ask = f"""async (count) => {{
      for (let i = 0; i < count; i++) await said(model.streamChat([{chat}], {{ seed: i, max_tokens: 12 }}));
      return await model.liveObjects();
    }}"""
    tenth = tab.evaluate(ask, 10)
    tab.evaluate(ask, 90)
    half = heap_bytes(tab)
    last = tab.evaluate(ask, 100)
    assert last == tenth
    grown = {name: size - half[name] for name, size in heap_bytes(tab).items()}
    assert max(grown.values()) < 2e6, grown


def heap_bytes(tab: SiteTab) -> dict[str, int]:
    """What JavaScript and Python hold after a collection, in the page and in the worker."""
    return {**tab.runner.run(heaps_of(tab.page)), **tab.worker(PYTHON_HEAP)}


PYTHON_HEAP = """async () => {
  const { pyodide } = shaderlm;
  const blocks = pyodide.runPython("import gc, sys; gc.collect(); sys.getallocatedblocks()");
  return { wasm: pyodide._module.HEAPU8.length, python: 64 * blocks };
}"""


def test_an_unloaded_model_frees_its_memory_and_another_takes_its_place(tab: SiteTab) -> None:
    held = tab.evaluate(
        """async (url) => {
          globalThis.other = await load(url, { context: 64 });
          return await other.liveObjects();
        }""",
        URL,
    )
    assert held["bytes"] > TINY.stat().st_size / 2
    tab.evaluate("() => other.unload()")
    assert tab.worker("() => [shaderlm.gpu.closed, ...shaderlm.gpu.liveObjects()]") == [True, 0, 0, 0, 0, 0]
    assert tab.worker("async () => (await shaderlm.gpu.device.lost).reason") == "destroyed"
    assert tab.evaluate("() => other.complete('Once').then(() => '', ({ code }) => code)") == "ModelClosed"
    assert tab.evaluate("() => said(model.stream('Once upon a time', { max_tokens: 3 }))")["text"]


OUT_OF_MEMORY = (
    r"tiny\.gguf needs \d+ MB \(weights 1, KV cache 0 for a context of 512, activations \d+\), and google swiftshader "
    r"ran out of memory while it was loaded\. Everything was freed\. Close other programs, or take a smaller model, or "
    r"one in a smaller weight type\. \(The GPU has no memory left for \d+ bytes for [^:]+: no memory left\)"
)


def test_running_out_of_gpu_memory_is_said_with_what_it_would_take(browser: Any, tab: SiteTab) -> None:
    """The browser's answer is put in its mouth: a real one would take the whole machine's memory."""
    short = SiteTab.open(*browser, tab.address)
    short.evaluate("() => { prepare(); }")
    short.worker(
        """async () => {
          await shaderlm.ready;
          const { createBuffer, popErrorScope } = GPUDevice.prototype;
          let [asked, told] = [false, false];
          GPUDevice.prototype.createBuffer = function (buffer) {
            asked ||= buffer.label.startsWith("token_embd") && buffer.size > 50000; // no weight of the self-test
            return createBuffer.call(this, buffer);
          };
          GPUDevice.prototype.popErrorScope = async function () {
            const error = await popErrorScope.call(this);
            return asked && !told ? ((told = true), new GPUOutOfMemoryError("no memory left")) : error;
          };
        }"""
    )
    with pytest.raises(Error, match=OUT_OF_MEMORY):
        short.evaluate("(url) => load(url)", URL)
    assert short.evaluate("(url) => load(url, { context: 64 }).then((model) => model.context)", URL) == 64
    short.close()


NO_WEBASSEMBLY = (
    r"This browser refuses WebAssembly here \(.+\)\. A Content-Security-Policy needs 'wasm-unsafe-eval' in script-src; "
    r"a browser's lockdown or strictest mode has to be left for this page\."
)


def test_refused_webassembly_is_said_with_what_to_do(browser: Any, tab: SiteTab) -> None:
    strict = SiteTab.open(*browser, tab.address)

    async def without_wasm(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, headers=answer.headers | {"content-security-policy": "script-src 'self'"})

    strict.runner.run(strict.context.route("**/assets/worker-*.js", without_wasm))
    with pytest.raises(Error, match=NO_WEBASSEMBLY):
        strict.evaluate("(url) => load(url)", URL)
    strict.close()


NO_WEBGPU = (
    r"This browser offers no WebGPU\. Current versions of Chrome, Edge, Safari and Firefox have it; on Linux, Chrome "
    r"may want chrome://flags/#enable-unsafe-webgpu, Firefox dom\.webgpu\.enabled in about:config\."
)


def test_no_webgpu_is_said_before_anything_is_downloaded(browser: Any, tab: SiteTab) -> None:
    bare = SiteTab.open(*browser, tab.address)
    asked: list[str] = []
    bare.page.on("request", lambda request: asked.append(request.url))
    bare.evaluate("() => { prepare(); }")
    bare.worker("() => { Object.defineProperty(navigator, 'gpu', { value: undefined }); }")
    with pytest.raises(Error, match=NO_WEBGPU):
        bare.evaluate("(url) => load(url)", URL)
    assert not [url for url in asked if "/models/" in url]
    bare.close()
