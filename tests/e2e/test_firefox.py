"""Debian's Firefox, on lavapipe: the tiny model's text by shaderlm.js and on the page, kept for the second visit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from firefox import ENTER, Firefox, running_firefox
from site_tab import OPEN

from site_server import SiteServer, serving
from tiny_model import TINY, goldens

CHAT, STORY = goldens()["chat"], goldens()["story"]
URL = f"/models/{TINY.name}"

LOSING = f"""
import js, json, shaderlm
async with await shaderlm.load_async("{URL}", context=256) as model:
    options = dict(max_tokens=60, temperature=0, logit_bias={{0: -100, 2: -100}}, reuse_prefix=False)
    undisturbed = await model.complete("Once upon a time", **options)
    tokens = []
    async for chunk in model.stream("Once upon a time", **options):
        tokens += chunk.tokens
        if len(tokens) == 10:
            js.devices.at(-1).destroy()
json.dumps([undisturbed.tokens, tokens, js.devices.length])
"""


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[SiteServer]:
    with serving("--model", str(TINY)) as server:
        yield server


@pytest.fixture(scope="module")
def firefox(server: SiteServer) -> Iterator[Firefox]:
    with running_firefox() as firefox:
        firefox.visit(f"{server.address}sw.js")  # a text: nothing of the page runs
        why = firefox.evaluate(
            "async () => navigator.gpu?.requestAdapter().then(() => '', String) ?? 'no navigator.gpu'"
        )
        if why:
            pytest.skip(f"Firefox {firefox.version} has no WebGPU on this system ({why}); 153 has it on Linux")
        yield firefox


@pytest.fixture(scope="module")
def tab(firefox: Firefox, server: SiteServer) -> Firefox:
    """A tab in which `model` is the tiny model, loaded."""
    firefox.visit(f"{server.address}sw.js")
    firefox.evaluate(OPEN)
    firefox.evaluate("async (url) => { globalThis.model = await load(url, { context: 256, kv_dtype: 'f32' }); }", URL)
    return firefox


@pytest.mark.parametrize("golden", goldens().values(), ids=list(goldens()))
def test_greedy_text_is_that_of_transformers(tab: Firefox, golden: Any) -> None:
    given = [golden.messages or golden.prompt, {"temperature": 0, "max_tokens": golden.max_tokens}]
    call = "streamChat" if golden.messages else "stream"
    answer = tab.evaluate(f"([input, options]) => said(model.{call}(input, options))", given)
    assert answer["text"] == golden.text
    assert answer["tokens"] == golden.ids[: len(answer["tokens"])]
    assert answer["finish_reason"] == golden.finish_reason


def test_a_local_file_gives_the_same_text(tab: Firefox) -> None:
    code = """async ([url, prompt, max_tokens]) => {
      const file = new File([await (await fetch(url)).blob()], "local.gguf");
      const model = await load(file, { context: 128, store: false });
      const answer = await model.complete(prompt, { temperature: 0, max_tokens });
      await model.unload();
      return answer.text;
    }"""
    assert tab.evaluate(code, [URL, STORY.prompt, STORY.max_tokens]) == STORY.text


def test_a_kept_model_is_listed_until_it_is_deleted(tab: Firefox) -> None:
    listed = "async () => (await listModels()).map(({ url }) => url)"
    assert [urlsplit(url).path for url in tab.evaluate(listed)] == [URL]
    tab.evaluate("(url) => deleteModel(url)", URL)
    assert tab.evaluate(listed) == []


def test_an_aborted_answer_ends(tab: Firefox) -> None:
    code = """async (prompt) => {
      const stop = new AbortController();
      const options = { max_tokens: 200, logit_bias: { 0: -100, 2: -100 }, signal: stop.signal };
      const chunks = [];
      for await (const chunk of model.stream(prompt, options)) {
        chunks.push(chunk);
        stop.abort();
      }
      return chunks.at(-1).completion;
    }"""
    answer = tab.evaluate(code, STORY.prompt)
    assert answer["finish_reason"] == "cancelled"
    assert 1 <= len(answer["tokens"]) < 100


def test_a_lost_device_is_replaced_and_the_answer_goes_on(tab: Firefox) -> None:
    """By Python in the page, because no command reaches a worker."""
    tab.evaluate(
        """async () => {
          const { requestDevice } = GPUAdapter.prototype;
          globalThis.devices = [];
          GPUAdapter.prototype.requestDevice = async function (wishes) {
            devices.push(await requestDevice.call(this, wishes));
            return devices.at(-1);
          };
          const { startPython } = await import("/python-host.js");
          globalThis.pyodide = await startPython();
        }"""
    )
    said = f"""async () => JSON.parse(await pyodide.runPythonAsync(`{LOSING}`))"""
    undisturbed, lost, devices = tab.evaluate(said)
    assert lost == undisturbed
    assert len(lost) == 60
    assert devices == 2


def test_the_page_chats_and_does_without_a_server_the_next_time(firefox: Firefox, site: Path) -> None:
    with serving("--model", str(TINY)) as server:
        firefox.visit(server.address)
        firefox.wait_until("document.getElementById('support').textContent.startsWith('Ready: ')")
        firefox.click("#catalogue button")
        firefox.click("#open-settings")
        firefox.click("#option-temperature")
        firefox.type("0")
        firefox.click("#settings-form [type=submit]")
        assert said_by_the_page(firefox) == CHAT.text
        firefox.evaluate("() => navigator.serviceWorker.ready.then(() => null)")
    firefox.visit(server.address)
    assert said_by_the_page(firefox) == CHAT.text


def said_by_the_page(firefox: Firefox) -> str:
    firefox.click("#prompt")
    firefox.type(CHAT.messages[-1]["content"] + ENTER)
    firefox.wait_until("document.querySelector('.answer .again')?.checkVisibility()")
    return str(firefox.evaluate("() => document.querySelector('.answer > .text').innerText"))


def test_nothing_complains(firefox: Firefox) -> None:
    assert firefox.complaints == []
