"""The Python API in a Pyodide of one's own, in a page or a worker: what a program does on a desktop it does there."""

import ast
import asyncio
import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from playwright.async_api import Browser, Error
from site_tab import SiteTab

import shaderlm
from site_server import serving
from tiny_model import TINY, goldens

PAGE = Path(__file__).parent.parent.parent / "docs" / "browser.md"
URL = f"/models/{TINY.name}"

# `python(code)` gives what the code printed, in a Pyodide that the site's python-host.js started in the page.
START = """async () => {
  const { startPython } = await import("/python-host.js");
  let printed = "";
  globalThis.pyodide = await startPython({ pyodide: { stdout: (line) => (printed += line + "\\n") } });
  globalThis.python = async (code) => {
    printed = "";
    await pyodide.runPythonAsync(code);
    return printed;
  };
}"""

# A worker that has a Pyodide already, as notebooks do, and runs the code that it is sent.
WORKER = """
const started = (async () => {
  const { loadPyodide } = await import("PYODIDEpyodide.mjs");
  return loadPyodide({ indexURL: "PYODIDE" });
})();
addEventListener("message", async ({ data: { code, add } }) => {
  try {
    const pyodide = await started;
    const { addShaderLM } = await import("/python-host.js");
    add ? await addShaderLM(pyodide) : await pyodide.loadPackage("WHEEL");
    postMessage({ result: await pyodide.runPythonAsync(code) });
  } catch (error) {
    postMessage({ error: error.message });
  }
});
"""
IN_WORKER = """([code, add]) => new Promise((resolve, reject) => {
  const worker = new Worker("/notebook.js", { type: "module" });
  worker.onmessage = ({ data: { result, error } }) => {
    worker.terminate();
    error ? reject(new Error(error)) : resolve(result);
  };
  worker.onerror = ({ message }) => reject(new Error(message));
  worker.postMessage({ code, add });
})"""


@pytest.fixture(scope="module")
def tab(browser: tuple[asyncio.Runner, Browser], site: Path) -> Iterator[SiteTab]:
    with serving("--model", str(TINY)) as server:
        tab = SiteTab.open(*browser, server.address)
        tab.evaluate(START)
        yield tab
        tab.close()


@pytest.fixture(scope="module")
def worker(tab: SiteTab, site: Path) -> SiteTab:
    """The tab, with the worker's file on its server."""
    [folder] = site.glob("assets/pyodide-*/")
    [wheel] = folder.glob("shaderlm-*.whl")
    address = f"{tab.address}assets/{folder.name}/"
    code = WORKER.replace("PYODIDE", address).replace("WHEEL", address + wheel.name)
    answer = {"body": code, "content_type": "text/javascript"}
    tab.runner.run(tab.page.route("**/notebook.js", lambda route: route.fulfill(**answer)))
    return tab


def test_the_example_prints_what_it_prints_on_a_desktop(tab: SiteTab) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    [source] = re.findall(r'"(models/[^"]+)"', code)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        compiled = compile(code.replace(source, str(TINY)), "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        asyncio.run(eval(compiled, {}))
    assert len(printed.getvalue()) > 20
    assert tab.evaluate("(code) => python(code)", code.replace(source, URL)) == printed.getvalue()


def test_a_worker_with_a_pyodide_of_its_own_takes_the_package_up(worker: SiteTab) -> None:
    golden = goldens()["story"]
    code = f"""
import shaderlm
async with await shaderlm.load_async({URL!r}, context=256, kv_dtype="f32") as model:
    answer = await model.complete({golden.prompt!r}, max_tokens=12, temperature=0)
    assert len(await model.logits([1, 5])) == 2
str(list(answer.tokens))
"""
    assert worker.evaluate(IN_WORKER, [code, True]) == str(golden.ids[:12])


def test_kernels_are_timed_where_that_is_asked_for_and_finds_are_kept(tab: SiteTab) -> None:
    """As on a desktop: the first variants of the largest shape are timed, and the store of this browser has them."""
    code = f"""
import json, shaderlm
from shaderlm.engine.tuning import tune
from shaderlm.engine.tuning_finds import read_finds

async def job(core):
    left = iter(range(8))
    complete = await tune(core.engine, core.tuning, lambda: next(left, None) is not None)
    return complete, await read_finds(core.tuning, core.gpu.adapter)

async with await shaderlm.load_async({URL!r}, context=256, tuning=True) as model:
    complete, finds = await model.run_on_engine(job)
    [find, *_] = finds.shapes.values()
print(json.dumps([complete, len(find.times), min(time.least for time in find.times.values())]))
"""
    complete, variants, least = json.loads(tab.evaluate("(code) => python(code)", code))
    assert not complete
    assert variants > 1
    assert least > 0


def test_without_the_javascript_half_it_is_told_what_to_do(worker: SiteTab) -> None:
    with pytest.raises(Error, match=r"addShaderLM\(pyodide\)"):
        worker.evaluate(IN_WORKER, [f"import shaderlm; await shaderlm.load_async({URL!r})", False])


def test_reports_and_tokenizers_are_those_of_a_desktop(tab: SiteTab) -> None:
    text = "Once upon a time, \u00e4 dog"
    code = f"""
import json, dataclasses, shaderlm
report = dataclasses.asdict(await shaderlm.inspect_async({URL!r}))
tokenizer = await shaderlm.load_tokenizer_async({URL!r})
print(json.dumps([report, tokenizer.encode({text!r})]))
"""
    there, tokens = json.loads(tab.evaluate("(code) => python(code)", code))
    here = json.loads(json.dumps(asdict(shaderlm.inspect(TINY))))
    for report in (here, there):
        del report["adapter"], report["memory"]
    assert there == here
    assert tokens == shaderlm.load_tokenizer(TINY).encode(text)


@pytest.mark.parametrize("name", ["load", "load_tokenizer", "inspect"])
def test_what_would_block_names_its_other_form(tab: SiteTab, name: str) -> None:
    with pytest.raises(Error, match=rf"WouldBlock.*await shaderlm\.{name}_async"):
        tab.evaluate("(code) => python(code)", f"import shaderlm; shaderlm.{name}({URL!r})")


def test_errors_are_those_of_a_desktop(tab: SiteTab) -> None:
    with pytest.raises(Error, match=r"shaderlm\.errors\.ModelNotFound"):
        tab.evaluate("(code) => python(code)", "import shaderlm; await shaderlm.load_async('/models/none.gguf')")


def test_the_python_of_another_pyodide_is_refused(tab: SiteTab) -> None:
    """The package is bytecode, which no other version reads."""
    with pytest.raises(Error, match="whose Python is cp312"):
        tab.evaluate("async () => (await import('/python-host.js')).addShaderLM({ runPython: () => 'cp312' })")
