"""docs/browser.md: its snippets of JavaScript run in a page, and its table has every code that an error may have."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser
from site_tab import SiteTab

from shaderlm import errors
from site_server import serving
from tiny_model import TINY

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
IMPORT = re.compile(r'^import (\{[^}]+\}) from "\./([\w-]+\.js)";$', re.MULTILINE)
ON_A_DESKTOP = {"SiteNotFound", "WouldBlock"}  # the second is told to Python alone
OF_JAVASCRIPT = {"Cancelled", "InternalError", "NoWebAssembly"}


def snippets() -> list[Any]:
    blocks = re.finditer(r"^```js\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [
        pytest.param(b[1], id=f"line {PAGE[: b.start()].count(chr(10)) + 1}") for b in blocks if IMPORT.search(b[1])
    ]


@pytest.fixture(scope="module")
def tab(browser: tuple[asyncio.Runner, Browser], site: Path) -> Iterator[SiteTab]:
    with serving("--model", str(TINY)) as server:
        tab = SiteTab.open(*browser, server.address)
        yield tab
        tab.close()


def test_there_are_snippets_to_run() -> None:
    assert len(snippets()) >= 4


@pytest.mark.parametrize("code", snippets())
def test_a_snippet_runs(tab: SiteTab, code: str) -> None:
    """With the tiny model in place of the one that it names."""
    code = IMPORT.sub(r'const \1 = await import("/\2");', code)
    code = re.sub(r'"models/[^"]+"', f'"/models/{TINY.name}"', code)
    assert "import {" not in code
    logged: list[str] = []
    tab.page.on("console", lambda message: logged.append(message.text))
    tab.evaluate(f"async () => {{ {code} }}")
    assert logged


def test_the_table_of_errors_has_every_code() -> None:
    table = PAGE.split("## Errors")[1].split("## Python")[0]
    told = re.findall(r"^\| `([A-Z]\w+)` \|", table, re.MULTILINE)
    known = {name for name, value in vars(errors).items() if isinstance(value, type)} - {"ShaderLMError"}
    assert set(told) == known - ON_A_DESKTOP | OF_JAVASCRIPT
    thrown = set()
    for file in (ROOT / "web").rglob("*.js"):
        text = file.read_text(encoding="utf-8")
        thrown |= set(re.findall(r'(?:\b(?:coded|failure)\(\s*|\bcode: )"([A-Z]\w+)"', text))
    assert len(thrown) > 10
    assert thrown <= set(told)
