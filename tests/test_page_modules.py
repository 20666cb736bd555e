"""What the page's modules compute, apart from a browser: addresses, origins, numbers, speeds, advice."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.site.node import Node, find_node

PAGE = Path(__file__).resolve().parent.parent / "web/page"
BASE = "https://here.example/chat/"
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


@pytest.fixture(scope="module")
def node(site) -> Node:
    """The one that made the site."""
    return find_node()


def evaluate(node: Node, module: str, expression: str) -> Any:
    """What JavaScript gives where everything that a module exports has its name."""
    exports = f"import * as all from {json.dumps((PAGE / module).as_uri())}; Object.assign(globalThis, all);"
    script = f"{exports} console.log(JSON.stringify({expression}))"
    command = [node.program, "--input-type=module", "--eval", script]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "en_US.UTF-8"}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("https://models.example/a.gguf", "https://models.example/a.gguf"),
        (" models/a.gguf ", f"{BASE}models/a.gguf"),
        ("https://models.example/a.gguf?download=true", "https://models.example/a.gguf?download=true"),
        ("https://huggingface.co/who/what/blob/main/a.GGUF", "https://huggingface.co/who/what/resolve/main/a.GGUF"),
        ("https://models.example/a.safetensors", None),
        ("ftp://models.example/a.gguf", None),
        ("https://models.example/", None),
        ("https://", None),
    ],
)
def test_an_address_is_that_of_a_gguf_file(node, typed, address):
    found = evaluate(node, "site.js", f"addressOf({json.dumps(typed)}, {json.dumps(BASE)})?.href ?? null")
    assert found == address


@pytest.mark.parametrize(
    ("address", "origin", "allowed"),
    [
        ("https://here.example/a.gguf", "https://other.example", True),  # its own
        ("https://models.example/a.gguf", "https://models.example", True),
        ("https://models.example:8443/a.gguf", "https://models.example", False),
        ("https://models.example:8443/a.gguf", "https://models.example:*", True),
        ("http://models.example/a.gguf", "https://models.example", False),
        ("https://models.example/a.gguf", "http://models.example", True),  # as a browser has it
        ("https://cdn.models.example/a.gguf", "https://*.models.example", True),
        ("https://models.example/a.gguf", "https://*.models.example", False),
        ("https://any.example/a.gguf", "https:", True),
        ("http://any.example/a.gguf", "https:", False),
    ],
)
def test_origins_are_matched_as_a_browser_matches_them(node, address, origin, allowed):
    call = f"isAllowed(new URL({json.dumps(address)}), [{json.dumps(origin)}], 'https://here.example')"
    assert evaluate(node, "site.js", call) is allowed


def test_the_default_model_comes_first_and_addresses_are_whole(node):
    settings = {
        "model": "second",
        "catalogue": [
            {"name": "first", "url": "https://models.example/first.gguf", "size": 1},
            {"name": "second", "title": "Second", "url": "models/second.gguf", "size": 2, "chunk_size": 4}
            | {"chunk_sha256": ["00"]},
            {"name": "without an address"},
            {"name": "of an address that is none", "url": "https://["},
            {"name": "third", "url": "third-00001-of-00002.gguf", "size": 3, "files": [{"size": 1}, {"size": 2}]},
        ],
    }
    found = evaluate(node, "site.js", f"understood({json.dumps(settings)}, {json.dumps(BASE)})")
    second, first, third = found["catalogue"]
    assert (second["title"], second["url"]) == ("Second", f"{BASE}models/second.gguf")
    assert second["expected"] == {"size": 2, "chunk_size": 4, "chunk_sha256": ["00"]}
    assert (third["size"], third["expected"]) == (3, [{"size": 1}, {"size": 2}])
    assert (first["title"], "expected" in first) == ("first", False)
    assert (found["title"], found["origins"], found["notice"]) == ("shaderlm", [], "")


def test_a_logo_that_has_no_address_leaves_the_models(node):
    settings = {"logo": "//", "catalogue": [{"url": "a.gguf"}]}
    found = evaluate(node, "site.js", f"understood({json.dumps(settings)}, {json.dumps(BASE)})")
    assert (found["logo"], [row["url"] for row in found["catalogue"]]) == ("", [f"{BASE}a.gguf"])


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://a.example/b/c%20d.gguf?x=1", "c d.gguf"),
        ("https://a.example/50%.gguf", "50%.gguf"),
        ("local:what%20else.gguf?7-1", "what else.gguf"),
        ("https://a.example/", "a.example"),
    ],
)
def test_a_models_name_is_the_last_piece_of_its_address(node, address, name):
    assert evaluate(node, "../addresses.js", f"nameOf({json.dumps(address)})") == name


def test_numbers_are_short(node):
    assert evaluate(node, "format.js", "[999, 1500, 98362432, 2e9, 345e6].map(bytes)") == [
        "999 B",
        "2 kB",
        "98.4 MB",
        "2 GB",
        "345 MB",
    ]
    times = "[0.123, 4.25, 59.6, 150, 4800, 7260].map(duration)"
    assert evaluate(node, "format.js", times) == ["0.12 s", "4.3 s", "60 s", "3 min", "80 min", "2 h 1 min"]


def test_a_speed_is_that_of_the_last_seconds(node):
    slow_then_fast = "Array.from({length: 41}, (_, i) => [1000 * i, i < 20 ? i : 20 + 100 * (i - 20)])"
    told = (
        f"(() => {{ const s = new Speed(); {slow_then_fast}.forEach(([t, n]) => s.add(n, t)); return s.perSecond; }})()"
    )
    assert evaluate(node, "speed.js", told) == pytest.approx(100)
    once = "(() => { const s = new Speed(); s.add(5, 0); return s.perSecond; })()"
    assert evaluate(node, "speed.js", once) is None


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (SAFARI, "Safari has WebGPU from version 26"),
        (FIREFOX, "dom.webgpu.enabled to true (and gfx.webgpu.ignore-blocklist"),
        (CHROME.format("X11; Linux x86_64"), "chrome://flags/#enable-unsafe-webgpu"),
        (CHROME.format("Windows NT 10.0; Win64; x64"), "Use graphics acceleration"),
        (CHROME.format("Linux; Android 14; Pixel 8"), "Android 12"),
        ("Something/1.0", "current Chrome"),
    ],
)
def test_advice_is_for_this_browser(node, agent, words):
    for reason in ("noWebGpu", "noAdapter"):
        assert words in evaluate(node, "support.js", f"adviceFor('{reason}', {{ userAgent: {json.dumps(agent)} }})")


def test_the_page_knows_software_adapters_as_the_runtime_does(node):
    runtime = (PAGE.parent.parent / "runtime/hosts/browser/gpu.py").read_text(encoding="utf-8")
    [pattern] = re.findall(r'_SOFTWARE = re.compile\(r"(.*)", re.IGNORECASE\)', runtime)
    assert evaluate(node, "support.js", "[SOFTWARE.source, SOFTWARE.flags]") == [pattern, "i"]


def test_stored_files_that_are_parts_of_one_model_are_one(node):
    there, local = "https://models.example/a/m", "local:m"
    names = [f"{there}-00002-of-00002.gguf", f"{local}-00002-of-00002.gguf?7-1", f"{local}-00001-of-00002.gguf?5-1"]
    names += [f"{BASE}whole.gguf", f"{there}-00003-of-00003.gguf?download=true", f"{local}-00001-of-00002.gguf?5-0"]
    files = [{"url": url, "size": 7, "stored": 7, "complete": True} for url in names]
    found = evaluate(node, "kept_models.js", f"modelsOf({json.dumps(files)})")
    first = {"url": f"{there}-00001-of-00002.gguf", "place": f"{there}-00001-of-00002.gguf", "urls": names[:1]}
    assert found[0] == first | {"size": 0, "stored": 7, "complete": False}
    kept = {"url": names[2], "place": [names[2], names[1]], "urls": [names[2], names[5], names[1]]}
    assert found[1] == kept | {"size": 14, "stored": 21, "complete": True}
    assert found[2] == {
        "url": names[3],
        "place": names[3],
        "urls": [names[3]],
        "size": 7,
        "stored": 7,
        "complete": True,
    }
    assert (found[3]["url"], found[3]["complete"]) == (f"{there}-00001-of-00003.gguf?download=true", False)
