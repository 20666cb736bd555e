"""The package for npm, installed into somebody's Vite project: its types hold, it builds, the built page answers."""

import asyncio
import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser

from tiny_model import TINY, goldens
from tools.site import making, node, stages

HERE = Path(__file__).parent / "vite_project"
LISTS = ("package.json", "package-lock.json")
PROJECT = stages.WORK / "vite_project"
DOCS = HERE.parent.parent.parent / "docs" / "browser.md"
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"  # as the page calls it; the tiny one lies there
PATIENCE = 300  # seconds
# What the type checker takes for granted is what Vite's own template for TypeScript does.
CHECKS = ("--noEmit", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler")


@pytest.fixture(scope="module")
def project(site: Path) -> Path:
    """Somebody's project with Vite, and with our package as npm packs it."""
    program = node.find_node()
    state = stages.digest_of(*(HERE / name for name in LISTS))
    if not stages.is_current(PROJECT, state):
        with stages.making(PROJECT, state) as folder:
            for name in LISTS:
                shutil.copy(HERE / name, folder)
            node.install(program, folder)
    for file in HERE.iterdir():
        shutil.copy(file, PROJECT)
    for made in ("dist", "public", "node_modules/shaderlm"):
        shutil.rmtree(PROJECT / made, ignore_errors=True)
    assert node.npm(program, "pack", "--silent", "--pack-destination", str(PROJECT), str(making.NPM)) == 0
    [archive] = PROJECT.glob("shaderlm-*.tgz")
    assert node.npm(program, "install", "--no-save", "--offline", "--prefix", str(PROJECT), str(archive)) == 0
    archive.unlink()
    return PROJECT


@pytest.fixture(scope="module")
def built(project: Path) -> Path:
    """What `vite build` made of it, with the assets and the model beside it."""
    shutil.copytree(project / "node_modules/shaderlm/assets", project / "public/shaderlm/assets")
    program = node.find_node()
    assert node.npm(program, "run", "build", "--prefix", str(project)) == 0
    (project / "dist/models").mkdir()
    shutil.copy(TINY, project / "dist/models" / MODEL)
    return project / "dist"


class _Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing: what was asked for is no news."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server of plain files, as Python has one, from which all may read."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_package_holds_what_its_list_names(project: Path) -> None:
    package = project / "node_modules/shaderlm"
    about = json.loads((package / "package.json").read_text())
    named = [
        about["main"],
        about["types"],
        *about["exports"]["."].values(),
        *about["exports"]["./python-host.js"].values(),
    ]
    assert [name for name in named if not (package / name).is_file()] == []
    assert {path.name for path in package.iterdir()} == {*about["files"], "package.json", "README.md", "LICENSE"}
    [worker] = (package / "assets").glob("worker-*.js")
    assert worker.name in (package / "shaderlm.js").read_text()
    assert not list(package.rglob("*.br"))


def complaints(project: Path, *programs: str) -> str:
    """What the TypeScript compiler says of programs that use the package."""
    compiler = node.MODULES / "node_modules/typescript/bin/tsc"
    command = [node.find_node().program, str(compiler), *CHECKS, "--lib", "es2022,dom,dom.iterable", *programs]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False).stdout


def test_types_hold_in_programs_also_against_those_of_openai(project: Path) -> None:
    assert complaints(project, "main.ts", "as_openai.ts") == ""


def test_types_refuse_what_is_wrong(project: Path) -> None:
    wrong = (project / "main.ts").read_text().replace("max_tokens: 4 }", 'max_tokens: "4" }')
    (project / "wrong.ts").write_text(wrong)
    assert "not assignable to type 'number'" in complaints(project, "wrong.ts")


def test_the_built_page_streams_an_answer(browser: tuple[asyncio.Runner, Browser], built: Path) -> None:
    golden = goldens()["story"]
    asked = urlencode({"prompt": golden.prompt, "max_tokens": golden.max_tokens})
    with serving(built) as address:
        title, text = browser[0].run(asyncio.wait_for(_visit(browser[1], f"{address}/?{asked}"), PATIENCE))
    assert text == golden.text
    assert title == f"{golden.finish_reason}, true, 4"


async def _visit(browser: Browser, address: str) -> tuple[str, str]:
    page = await browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.goto(address)
    try:
        await page.wait_for_function("() => document.title.includes(',')", timeout=0)
    finally:
        assert not wrong, wrong
    answer = (await page.title(), await page.inner_text("pre"))
    await page.close()
    return answer


def test_a_page_of_another_origin_can_use_the_package(
    browser: tuple[asyncio.Runner, Browser], project: Path, built: Path
) -> None:
    """Where its server allows it; the worker is then the page's, and what it imports that server's."""
    golden = goldens()["story"]
    code = """async ([address, prompt]) => {
      const { load } = await import(`${address}/shaderlm.js`);
      const model = await load("/models/MODEL", { context: 128 });
      return (await model.complete(prompt, { temperature: 0, max_tokens: 6 })).tokens;
    }"""

    async def visit(page_address: str, address: str) -> list[int]:
        page = await browser[1].new_page()
        await page.goto(f"{page_address}/shaderlm/assets/")
        tokens: list[int] = await page.evaluate(code.replace("MODEL", MODEL), [address, golden.prompt])
        await page.close()
        return tokens

    with serving(built) as page_address, serving(project / "node_modules/shaderlm") as address:
        tokens = browser[0].run(asyncio.wait_for(visit(page_address, address), PATIENCE))
    assert tokens == golden.ids[:6]


def test_the_page_is_the_one_of_the_documentation() -> None:
    [shown] = [block for block in DOCS.read_text("utf-8").split("```") if 'from "shaderlm"' in block]
    assert shown.removeprefix("js\n") in (HERE / "main.ts").read_text()
