"""`shaderlm web`: what it serves, how, and to whom; and that the published wheel has the site in it."""

import gzip
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import CommandLine, run_process
from shaderlm.cli import web as web_command
from shaderlm.server import static
from site_server import SiteServer, serving
from tiny_model import TINY
from tools import environment
from tools.site import making

MODEL = f"/models/{TINY.name}"
HOUR = 3600


@pytest.fixture(scope="module")
def server(site) -> Iterator[SiteServer]:
    with serving("--model", str(TINY)) as running:
        yield running


@pytest.fixture(scope="module")
def wasm(site) -> str:
    [path] = site.glob("assets/pyodide-*/pyodide.asm.wasm")
    return path.relative_to(site).as_posix()


# Files


def test_every_file_is_served_as_it_lies_there(server, site):
    manifest = json.loads((site / "manifest.json").read_text())
    for name, row in manifest.items():
        if name != "site.json":
            got = server.get(f"/{name}")
            assert (got.status, hashlib.sha256(got.body).hexdigest()) == (200, row["sha256"]), name


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (".wasm", "application/wasm"),
        (".mjs", "text/javascript; charset=utf-8"),
        (".js", "text/javascript; charset=utf-8"),
        (".html", "text/html; charset=utf-8"),
        (".css", "text/css; charset=utf-8"),
        (".json", "application/json"),
        (".whl", "application/octet-stream"),
        (".zip", "application/zip"),
    ],
)
def test_types_are_those_that_browsers_want(server, site, ending, kind):
    for path in site.rglob(f"*{ending}"):
        if path.name != "site.json":
            assert server.get(f"/{path.relative_to(site).as_posix()}", method="HEAD").headers["content-type"] == kind


def test_what_has_a_hash_in_its_name_is_kept_for_ever_and_the_rest_asked_for_anew(server, site, wasm):
    assert "immutable" in server.get(f"/{wasm}", method="HEAD").headers["cache-control"]
    [worker] = site.glob("assets/worker-*.js")  # with it comes the policy that holds for it
    for path in ("/manifest.json", "/site.json", MODEL, f"/assets/{worker.name}"):
        assert server.get(path, method="HEAD").headers["cache-control"] == "no-cache", path


def test_compressed_twins_go_to_those_who_accept_them(server, site, wasm):
    plain = (site / wasm).read_bytes()
    for accepted, coding in [
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br;q=0,gzip;q=0", None),
        ("identity", None),
    ]:
        got = server.get(f"/{wasm}", Accept_Encoding=accepted)
        assert got.headers.get("content-encoding") == coding, accepted
        assert got.headers["vary"] == "Accept-Encoding"
        twin = {"br": f"{wasm}.br", "gzip": f"{wasm}.gz", None: wasm}[coding]
        assert got.body == (site / twin).read_bytes()
    assert gzip.decompress(server.get(f"/{wasm}", Accept_Encoding="gzip").body) == plain


def test_a_tag_that_is_known_costs_no_bytes(server, wasm):
    for path in (f"/{wasm}", MODEL):
        first = server.get(path)
        again = server.get(path, If_None_Match=first.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        assert server.get(path, If_None_Match='"another"').status == 200


def test_each_coding_has_a_tag_of_its_own(server, wasm):
    tags = {server.get(f"/{wasm}", Accept_Encoding=coding).headers["etag"] for coding in ("br", "gzip", "identity")}
    assert len(tags) == 3


# Ranges


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [("bytes=0-9", 0, 10), ("bytes=1000-", 1000, None), ("bytes=-7", -7, None), ("bytes=5-99999999999", 5, None)],
)
def test_ranges_of_a_model(server, asked, first, end):
    data = TINY.read_bytes()
    got = server.get(MODEL, Range=asked)
    assert (got.status, got.body) == (206, data[first:end])
    start = first % len(data)
    assert got.headers["content-range"] == f"bytes {start}-{start + len(got.body) - 1}/{len(data)}"


def test_a_range_behind_the_end_is_refused_with_the_size(server):
    got = server.get(MODEL, Range=f"bytes={TINY.stat().st_size}-")
    assert (got.status, got.headers["content-range"]) == (416, f"bytes */{TINY.stat().st_size}")


def test_the_rest_comes_only_of_the_file_that_was_begun(server):
    """If-Range, by the tag and by the date."""
    data, head = TINY.read_bytes(), server.get(MODEL, method="HEAD").headers
    for condition, status in [
        (head["etag"], 206),
        (head["last-modified"], 206),
        ('"another"', 200),
        (f"W/{head['etag']}", 200),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 200),
        ("nonsense", 200),
    ]:
        got = server.get(MODEL, Range="bytes=1000-", If_Range=condition)
        assert (got.status, got.body) == (status, data[1000:] if status == 206 else data), condition


def test_a_model_that_changes_on_the_disk_has_another_tag(site, tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(TINY.read_bytes())
    with serving("--model", str(file)) as running:
        before = running.get("/models/model.gguf").headers["etag"]
        later = file.stat().st_mtime + HOUR
        os.utime(file, (later, later))
        assert running.get("/models/model.gguf", Range="bytes=5-", If_Range=before).status == 200
        assert running.get("/models/model.gguf").headers["etag"] != before


# What is not served, and to whom


@pytest.mark.parametrize(
    "path",
    [
        "/../build.py",
        "/%2e%2e/%2e%2e/build.py",
        "/..%2f..%2fbuild.py",
        "/assets/..%5c..%5c..%5cbuild.py",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/C:/Windows/win.ini",
        "/models/..%2f..%2fpyproject.toml",
        "/models/another.gguf",
        "/models/",
        "/assets",
        "/assets/",
        "/nothing.js",
        "/%00",
    ],
)
def test_nothing_else_is_served(server, path):
    assert server.get(path).status == 404


def test_a_link_does_not_lead_out_of_the_site(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "secret").write_text("1")
    (tmp_path / "site/link").symlink_to(tmp_path / "secret")
    (tmp_path / "site/file").write_text("2")
    assert static.site_file(tmp_path / "site", "file") == tmp_path / "site/file"
    assert static.site_file(tmp_path / "site", "link") is None


def test_only_reading_is_offered(server):
    for method in ("POST", "PUT", "DELETE"):
        assert server.get("/site.json", method=method).status == 405


def test_a_server_of_this_machine_answers_to_its_names_alone(server):
    port = server.address.rstrip("/").rsplit(":", 1)[1]
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert server.get("/site.json", Host=f"{name}:{port}").status == 200, name
    for host in (f"evil.example:{port}", f"10.0.0.1:{port}", "localhost:x/", "::1::"):
        assert server.get("/site.json", Host=host).status == 403, host


def test_headers_of_every_answer(server, site):
    rules = (site / "_headers").read_text()
    for path in ("/site.json", "/nothing", MODEL, "/manifest.json"):
        headers = server.get(path).headers
        assert f"Content-Security-Policy: {headers['content-security-policy']}\n" in rules, path
        assert headers["x-content-type-options"] == "nosniff"
        assert not {"cross-origin-opener-policy", "cross-origin-embedder-policy"} & headers.keys()


# The command


def test_the_model_that_is_named_is_the_pages_default(server, site):
    told = json.loads(server.get("/site.json").body)
    assert told["model"] == TINY.name
    assert told["catalogue"][0] == {"name": TINY.name, "url": MODEL[1:], "size": TINY.stat().st_size}
    assert told["catalogue"][1:] == json.loads((site / "site.json").read_text())["catalogue"]


def test_a_models_address_is_that_of_its_file_whatever_its_name(site, tmp_path):
    file = tmp_path / "a#1 50%?.gguf" if os.name != "nt" else tmp_path / "a#1 50%.gguf"
    file.symlink_to(TINY)
    with serving("--model", str(file)) as running:
        row = json.loads(running.get("/site.json").body)["catalogue"][0]
        assert row["name"] == file.name
        assert running.get(f"/{row['url']}").body == TINY.read_bytes()


def test_without_a_name_it_is_the_catalogues(site, smollm2):
    with serving() as running:
        told = json.loads(running.get("/site.json").body)
        assert told == json.loads((site / "site.json").read_text())
        [row] = (row for row in told["catalogue"] if row["name"] == told["model"])
        assert int(running.get(f"/{row['url']}", method="HEAD").headers["content-length"]) == smollm2.stat().st_size


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_it(site):
    with serving("--model", str(TINY)) as running:
        running.process.send_signal(signal.SIGINT)
        _, err = running.process.communicate(timeout=60)
    assert running.process.returncode == 0
    assert "Traceback" not in err


def test_a_port_that_is_taken_is_named(site):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_process("web", "--model", str(TINY), "--no-open", "--port", port)
    assert (done.code, done.out) == (1, "")
    assert f"Nobody can listen at 127.0.0.1:{port}: " in done.err
    assert "Another --port may be free" in done.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--port", "70000"], 2, "port: must be from 0 to 65535, not 70000"),
        (["--model", "nowhere.gguf"], 1, "There is no model nowhere.gguf"),
        (["page"], 2, "There is a word too many: 'page'"),
    ],
)
def test_what_cannot_be_served_is_refused(site, capsys, monkeypatch, words, code, says):
    done = CommandLine(capsys, monkeypatch).run("web", "--no-open", *words)
    assert (done.code, done.out) == (code, "")
    assert says in done.err


def test_a_browser_is_opened_where_it_can_be_seen(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not web_command.has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert web_command.has_display()
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert web_command.has_display()


def test_settings_that_are_broken_are_named(site, tmp_path, capsys, monkeypatch):
    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.setattr("shaderlm.server.places.INSIDE", tmp_path)
    for text, says in [
        ("{", "Expecting property name"),
        ('{"origins": ["*"]}', "'*' in \"origins\" is no origin"),
        ('{"origins": null}', '"origins" has to be a list, not null'),
        ('{"catalogue": {}}', '"catalogue" has to be a list, not {}'),
        ("[1]", "it has to be an object with fields, not [1]"),
    ]:
        (tmp_path / "site.json").write_text(text)
        done = CommandLine(capsys, monkeypatch).run("web", "--no-open", "--model", str(TINY))
        assert (done.code, done.out) == (2, "")
        assert f"{tmp_path / 'site.json'}: " in done.err
        assert says in done.err


# The wheel

ALONE = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}  # nothing but what is installed there


def installed_in(folder: Path, *what: str) -> tuple[str, Path]:
    """A new environment into which pip has installed `what`: its Python, and where its packages lie."""
    venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(folder)
    program = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    pip = [sys.executable, "-m", "pip", "--python", program, "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", *what], env=os.environ | ALONE, check=True)
    ask = [program, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return program, Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())


def test_the_published_wheel_serves_the_site_from_an_empty_environment(site, tmp_path):
    """The environment has the wheel alone; what the wheel depends on is lent to it."""
    wheel = making.make_wheel(tmp_path / "dist")
    assert wheel.stat().st_size < 30e6
    program, installed = installed_in(tmp_path / "venv", "--no-deps", "--no-index", str(wheel))
    (installed / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with serving("--model", str(TINY), program=program, **ALONE) as running:
        told = json.loads((installed / "shaderlm/web/site/manifest.json").read_text())
        assert told == json.loads((site / "manifest.json").read_text())
        for name in told:
            assert running.get(f"/{name}", Accept_Encoding="br").status == 200, name
    [info] = installed.glob("shaderlm-*.dist-info")
    assert environment.is_whole(info)
    assert not list((installed / "shaderlm/web/site").rglob("*.gguf"))


@pytest.mark.slow
def test_the_published_wheel_brings_all_that_it_needs(site, tmp_path):
    """Into an environment that has nothing, pip fetches what the wheel names, from where the set-up has it."""
    program, _ = installed_in(tmp_path / "venv", str(making.make_wheel(tmp_path / "dist")))
    with serving("--model", str(TINY), program=program, **ALONE) as running:
        assert running.get("/").status == 200
        assert running.get(MODEL).body == TINY.read_bytes()
    ask = [program, "-m", "shaderlm", "complete", str(TINY), "--max-tokens", "3", "Once upon"]
    done = subprocess.run(ask, capture_output=True, text=True, env=os.environ | ALONE, check=False)
    assert (done.returncode, bool(done.stdout)) == (0, True), done.stderr
