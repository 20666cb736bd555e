"""The documentation: its page of the API is as the source is, its snippets run, its links lead somewhere."""

import ast
import asyncio
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import shaderlm
from shaderlm.tensors import WEIGHT_TYPES
from tiny_model import TINY
from web.policy import policy

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md")), ROOT / "bench/README.md"]


def snippets() -> list[Any]:
    """Blocks of Python that a reader would type, with a name that says where."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text[: match.start()].count("\n") + 1
            if "import shaderlm" in match[1]:
                found.append(pytest.param(match[1], id=f"{page.name}:{line}"))
    return found


def test_the_page_of_the_api_is_as_the_source_is() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_api.py"))["page"]()
    assert (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8") == made, "run `python docs/make_api.py`"


def test_the_page_of_the_api_has_all_that_is_public() -> None:
    text = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    public = {name for name in shaderlm.__all__ if not re.search(rf"#.*\b{name}\b", text)}
    assert not public
    for face, prefix in ((shaderlm.Model, "model."), (shaderlm.AsyncModel, "model.")):
        names = [name for name in dir(face) if not name.startswith("_")]
        assert [name for name in names if f"`{prefix}{name}`" not in text and f"| `{name}` |" not in text] == []


@pytest.mark.parametrize("code", snippets())
def test_a_snippet_runs(code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the tiny model in place of the one that it names."""
    load, load_async, load_tokenizer = shaderlm.load, shaderlm.load_async, shaderlm.load_tokenizer

    def small(options: dict[str, Any]) -> dict[str, Any]:
        return options | {"context": min(options.get("context") or 512, 512)}

    monkeypatch.setattr(shaderlm, "load", lambda source, **options: load(TINY, **small(options)), raising=False)
    monkeypatch.setattr(
        shaderlm, "load_async", lambda source, **options: load_async(TINY, **small(options)), raising=False
    )
    monkeypatch.setattr(shaderlm, "load_tokenizer", lambda source: load_tokenizer(TINY), raising=False)
    code_object = compile(code, "snippet", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code_object, {"__name__": "snippet"})
    if asyncio.iscoroutine(result):
        asyncio.run(result)
    assert capsys.readouterr().out.strip()


def anchors_of(page: Path) -> set[str]:
    """Those of a page's headings, as GitHub makes them: "-1" and so on where one comes again."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.strip())
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = sum(bool(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", one)) for one in found)
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


def leads_somewhere(page: Path, path: str, anchor: str) -> bool:
    target = page.parent / path if path else page
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors_of(target))


def test_links_between_pages_lead_somewhere() -> None:
    """Files, and headings in them."""
    found = [
        (page, *link) for page in PAGES for link in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8"))
    ]
    links = [(page, path, anchor) for page, path, anchor in found if "://" not in path]
    assert len(links) > 5
    assert any(anchor for _, _, anchor in links)
    missing = [
        f"{page.name}: {path}#{anchor}" for page, path, anchor in links if not leads_somewhere(page, path, anchor)
    ]
    assert not missing


def test_the_servers_example_sends_the_policy() -> None:
    page = (ROOT / "docs" / "hosting.md").read_text("utf-8")
    assert f"add_header Content-Security-Policy \"{policy([])}; frame-ancestors 'self'\";" in page


# Weight types

WEIGHT_TYPES_PAGE = ROOT / "docs" / "weight-types.md"
LARGEST_ERROR = 20  # in 10^-7, as test_linear_kernels.py holds the kernels to


def rows_of_types() -> list[list[str]]:
    """The table of the page: type, block, bits, and errors."""
    lines = WEIGHT_TYPES_PAGE.read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return cells[1:]


def test_the_page_of_weight_types_has_every_row_of_the_table() -> None:
    facts = [[str(t), str(t.block), f"{8 * t.bytes / t.block:.5g}"] for t in WEIGHT_TYPES.values()]
    assert [row[:3] for row in rows_of_types()] == facts, "run `python docs/make_weight_types.py`"


def test_errors_on_the_page_of_weight_types_are_those_of_f32() -> None:
    errors = [float(error) for row in rows_of_types() for error in row[3:]]
    assert len(errors) == 5 * len(WEIGHT_TYPES)
    assert max(errors) <= LARGEST_ERROR
