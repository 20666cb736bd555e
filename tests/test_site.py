"""The site for browsers, as build.py makes it: what lies in build/site is what was meant to, and works anywhere."""

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shaderlm.server import static
from split_files import split
from tiny_model import TINY
from tools.describe_model import entry
from tools.site import assembly, making, stages, wheels
from tools.site.assembly import ENTRY_POINTS, LIMIT, UNCOMPRESSED
from tools.site.node import Node, find_node, is_new_enough, version_of
from web.policy import policy

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def manifest(site) -> dict[str, dict[str, int | str]]:
    return json.loads((site / "manifest.json").read_text())


@cache
def node() -> Node:
    return find_node()


# What lies there


def test_the_manifest_tells_of_every_file_and_is_true(site, manifest):
    there = {path.relative_to(site).as_posix(): path for path in site.rglob("*") if path.is_file()}
    told = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        | {way: there[f"{name}.{way}"].stat().st_size for way in ("br", "gz") if name not in UNCOMPRESSED}
        for name, data in ((name, path.read_bytes()) for name, path in there.items())
        if not name.endswith((".br", ".gz")) and name != "manifest.json"
    }
    assert manifest == told


UNPACK = """
const { readFileSync } = require("node:fs");
const { brotliDecompressSync } = require("node:zlib");
const unpacked = (file) => brotliDecompressSync(readFileSync(`${file}.br`));
const same = process.argv.slice(1).map((file) => readFileSync(file).equals(unpacked(file)));
process.exit(same.length && same.every(Boolean) ? 0 : 1);
"""


def test_twins_unpack_to_their_files(site, manifest):
    names = [name for name in manifest if name not in UNCOMPRESSED]
    for name in names:
        assert gzip.decompress((site / f"{name}.gz").read_bytes()) == (site / name).read_bytes(), name
    files = [str(site / name) for name in names]
    subprocess.run([node().program, "-e", UNPACK, *files], check=True)


def test_the_site_is_small_enough(manifest):
    sizes = {name: row.get("br", row["size"]) for name, row in manifest.items()}
    snapshot = sum(size for name, size in sizes.items() if "/snapshot-" in name)
    assert 0 < snapshot <= 7e6
    assert sum(sizes.values()) - snapshot <= LIMIT == 7e6


def test_all_but_the_entry_points_have_a_hash_in_their_names(manifest):
    others = {name for name in manifest if name not in {*ENTRY_POINTS, "_headers"}}
    assert others
    assert [name for name in others if not re.match(r"assets/[^/]+-[0-9A-Za-z]{8,16}(?:/|\.\w+$)", name)] == []


def test_every_entry_point_is_there(site):
    assert [name for name in ENTRY_POINTS if not (site / name).is_file()] == []


def test_the_same_sources_give_the_same_bytes(tmp_path, site, manifest):
    """Our wheel and its bytecode: made again they are what they were."""
    wheels.build_wheel(tmp_path / "whole")
    [whole] = (tmp_path / "whole").glob("*.whl")
    (tmp_path / "in").mkdir()
    wheels.rewrite(whole, tmp_path / "in" / whole.name, dropped=wheels.NATIVE)
    for library in wheels.LIBRARIES.glob("*.whl"):
        shutil.copy(library, tmp_path / "in")
    (tmp_path / "out").mkdir()
    making.run_compiler(node(), tmp_path / "in", tmp_path / "out")
    compiled = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out").glob("*.whl")}
    assert len(compiled) == 3
    assert compiled == {Path(name).name: row["sha256"] for name, row in manifest.items() if name.endswith(".whl")}


# Python


def lock(site: Path) -> dict[str, dict[str, Any]]:
    """The packages of the lock file, each with the `file` that it names."""
    [file] = site.glob("assets/pyodide-*/pyodide-lock.json")
    packages = json.loads(file.read_text())["packages"]
    return {name: row | {"file": file.parent / row["file_name"]} for name, row in packages.items()}


def test_the_lock_file_lists_just_what_is_there(site):
    packages = lock(site)
    assert set(packages) == {"shaderlm", "jinja2", "markupsafe"}
    assert set(packages["shaderlm"]["depends"]) == {"jinja2", "markupsafe"}
    for row in packages.values():
        assert hashlib.sha256(row["file"].read_bytes()).hexdigest() == row["sha256"]


def test_archives_are_bytecode_and_stored(site):
    archives = [*site.glob("assets/pyodide-*/*.whl"), *site.glob("assets/pyodide-*/*.zip")]
    assert len(archives) == 4
    for archive in archives:
        entries = zipfile.ZipFile(archive).infolist()
        assert {item.compress_type for item in entries} == {zipfile.ZIP_STORED}
        assert [item.filename for item in entries if item.filename.endswith(".py")] == []
        assert any(item.filename.endswith(".pyc") for item in entries)


def test_our_wheel_has_nothing_that_a_browser_cannot_use(site):
    names = zipfile.ZipFile(lock(site)["shaderlm"]["file"]).namelist()
    assert {"shaderlm/__init__.pyc", "shaderlm/web/__init__.pyc", "shaderlm/shaders/sample.wgsl"} <= {*names}
    assert [name for name in names if re.match(r"shaderlm/(hosts/native|cli|server|web/site)/", name)] == []


IN_PYODIDE = """
import sys
import shaderlm, shaderlm.core, shaderlm.chat, shaderlm.planner.lower, jinja2
assert "__pycache__" not in shaderlm.__file__ and shaderlm.__file__.endswith(".pyc")
native = {"numpy", "wgpu", "tokenizers", "huggingface_hub"} & {*sys.modules}
assert not native, native
"""
LOAD = """
const [folder, code, snapshot] = process.argv.slice(1);
const { readFileSync } = await import("node:fs");
const { loadPyodide } = await import(`file://${folder}/pyodide.mjs`);
const started = snapshot ? { _loadSnapshot: readFileSync(snapshot) } : {};
const pyodide = await loadPyodide({ indexURL: folder, packages: ["shaderlm", "jinja2", "markupsafe"], ...started });
pyodide.runPython(code);
"""


def test_the_package_is_imported_by_the_sites_pyodide(site):
    [file] = site.glob("assets/pyodide-*/pyodide.mjs")
    command = [node().program, "--input-type=module", "-e", LOAD, str(file.parent), IN_PYODIDE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


FROM_SNAPSHOT = """
import sys
assert {"shaderlm.core", "shaderlm.chat", "shaderlm.planner.lower", "jinja2.sandbox", "asyncio"} <= {*sys.modules}
from importlib import resources
assert "fn main" in resources.files("shaderlm.shaders").joinpath("sample.wgsl").read_text()
import shaderlm.inspection, jinja2
assert jinja2.Template("{{ 1 + 1 }}").render() == "2"
"""


def test_pyodide_starts_from_the_snapshot_with_the_package_imported(site):
    [file] = site.glob("assets/pyodide-*/pyodide.mjs")
    [snapshot] = site.glob("assets/snapshot-*.bin")
    command = [node().program, "--input-type=module", "-e", LOAD, str(file.parent), FROM_SNAPSHOT, str(snapshot)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert str(ROOT).encode() not in snapshot.read_bytes(), "it names a place on this machine"


def test_a_site_goes_without_a_snapshot_that_cannot_be_made(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(assembly, "SNAPSHOT", tmp_path / "snapshot")
    monkeypatch.setattr(stages, "WORK", tmp_path)
    assert assembly.place_snapshot(node(), tmp_path, "no-pyodide-here") is None
    said = capfd.readouterr().err
    assert "snapshot.mjs failed" in said
    assert "The site goes without a snapshot" in said
    assert not (tmp_path / "snapshot").exists()


# The page


def our_texts(site: Path) -> list[Path]:
    """Text files that we wrote or bundled: not Pyodide's own."""
    kinds = (".html", ".js", ".css", ".json")
    return [path for path in site.rglob("*") if path.suffix in kinds and "pyodide-" not in path.parent.name]


def test_no_file_names_a_place_on_the_host_or_on_this_machine(site):
    """Under any path prefix: what is asked for is named relative to who asks."""
    for path in our_texts(site):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"""(?:src|href)=["']?/|url\(["']?/|from ?["']/|import\(["']/""", text) == [], path
        assert str(ROOT) not in text, path


def test_the_service_worker_keeps_every_file_that_a_visit_needs(site, manifest):
    """Not what may change (site.json), nor the snapshot: the worker fetches it when nothing else is to be done."""
    told = re.findall(r'path:"([^"]+)",sha256:"sha256-([^"]+)"', (site / "sw.js").read_text(encoding="utf-8"))
    expected = {
        name: base64.b64encode(bytes.fromhex(row["sha256"])).decode()
        for name, row in manifest.items()
        if name not in ("sw.js", "site.json", "_headers") and "/snapshot-" not in name
    }
    assert dict(told) == expected


def test_headers_keep_each_asset_for_ever_but_the_worker_with_its_policy(site):
    rows = re.findall(r"^/(\S*)\n  Cache-Control: (.*)$", (site / "_headers").read_text(), re.MULTILINE)
    caching = dict(rows)
    assert len(caching) == len(rows)  # a header that came twice would be joined
    for path in (site / "assets").iterdir():
        if path.suffix not in (".br", ".gz"):
            told = caching[f"assets/{path.name}{'/*' if path.is_dir() else ''}"]
            assert told == ("no-cache" if path.name.startswith("worker-") else static.FOR_EVER), path.name
    assert caching[""] == caching["index.html"] == caching["site.json"] == "no-cache"


def test_the_policy_lets_in_the_origins_of_models_and_nothing_inline(site):
    origins = json.loads((site / "site.json").read_text())["origins"]
    rules = policy(origins)
    assert "script-src 'self' 'wasm-unsafe-eval'" in rules
    assert "unsafe-inline" not in rules
    assert f"connect-src 'self' {' '.join(origins)};" in rules
    assert f"Content-Security-Policy: {rules}" in (site / "_headers").read_text()
    page = site / "index.html"
    if page.exists():
        assert f'<meta http-equiv="Content-Security-Policy" content="{rules}">' in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "origin", ["https://a.example;script-src *", "'unsafe-inline'", "*", "a.example", "https://a b", 3]
)
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(ValueError, match="is no origin"):
        policy([origin])


@pytest.mark.parametrize("origin", ["https://a.example", "https://*.a.example:8443", "http://localhost:*", "https:"])
def test_origins_go_into_the_policy(origin):
    assert f"connect-src 'self' {origin};" in policy([origin])


def test_the_default_model_is_in_the_catalogue_with_its_hashes(site, smollm2):
    settings = json.loads((site / "site.json").read_text())
    [row] = (row for row in settings["catalogue"] if row["name"] == settings["model"])
    expected = entry(settings["model"], smollm2, f"models/{smollm2.name}")
    assert {name: row[name] for name in expected} == expected


def test_a_model_in_several_files_is_described_by_each(tmp_path):
    parts = split(TINY, tmp_path, 3)
    row = entry("tiny", parts[0], f"models/{parts[0].name}")
    alone = [entry("tiny", part.rename(tmp_path / f"{number}.gguf"), "") for number, part in enumerate(parts)]
    assert row["size"] == sum(one["size"] for one in alone)
    assert row["files"] == [{key: one[key] for key in ("size", "chunk_size", "chunk_sha256")} for one in alone]
    with pytest.raises(FileNotFoundError):
        entry("tiny", parts[0], "")


# Building


@pytest.mark.skipif(os.name == "nt", reason="a script stands for Node.js")
@pytest.mark.parametrize(("says", "version"), [("v20.19.2", (20, 19)), ("v101.2.0", (101, 2)), ("no", (0, 0))])
def test_the_version_of_a_node_is_found_out(tmp_path, says, version):
    program = tmp_path / "node"
    program.write_text(f"#!/bin/sh\necho {says}\n")
    program.chmod(0o755)
    assert version_of(str(program)) == version
    assert version_of(str(tmp_path / "none")) == (0, 0)


def test_a_node_is_new_enough_where_vite_says_so():
    packages = json.loads((ROOT / "tests/e2e/vite_project/package-lock.json").read_text())["packages"]
    assert packages["node_modules/vite"]["engines"]["node"] == "^20.19.0 || >=22.12.0"
    tried = [(0, 0), (18, 20), (20, 18), (20, 19), (20, 20), (21, 7), (22, 11), (22, 12), (23, 0), (24, 1)]
    assert [version for version in tried if is_new_enough(version)] == [*tried[3:5], *tried[7:]]


def test_a_current_site_is_not_made_again(site):
    made = (site / "manifest.json").stat().st_ctime_ns
    done = subprocess.run([sys.executable, "build.py", "web"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (site / "manifest.json").stat().st_ctime_ns == made
    assert "compiling" not in done.stderr


def stop_in(folder: Path) -> None:
    (folder / "a").write_text("2")
    raise KeyboardInterrupt


def test_a_stage_is_there_only_when_it_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "WORK", tmp_path / "work")
    folder = tmp_path / "made"
    with stages.making(folder, "one") as part:
        (part / "a").write_text("1")
        assert not folder.exists()
    assert stages.is_current(folder, "one")
    assert not stages.is_current(folder, "two")
    with pytest.raises(KeyboardInterrupt), stages.making(folder, "two") as part:
        stop_in(part)
    assert (folder / "a").read_text() == "1"
    assert stages.is_current(folder, "one")
    with stages.making(folder, "two") as part:
        assert list(part.iterdir()) == []
    assert list(folder.iterdir()) == []


def test_a_digest_knows_contents_and_names(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("1")
    before = stages.digest_of(tmp_path / "a")
    (tmp_path / "a/__pycache__").mkdir()
    (tmp_path / "a/__pycache__/x.pyc").write_text("2")
    assert stages.digest_of(tmp_path / "a") == before
    (tmp_path / "a/file").rename(tmp_path / "a/other")
    renamed = stages.digest_of(tmp_path / "a")
    (tmp_path / "a/other").write_text("2")
    assert (
        len({before, renamed, stages.digest_of(tmp_path / "a"), stages.digest_of("1"), stages.digest_of("1", "")}) == 5
    )


def test_packages_of_npm_are_pinned_with_their_hashes_and_no_addresses():
    lock_file = json.loads((ROOT / "web/package-lock.json").read_text())
    packages = {name: row for name, row in lock_file["packages"].items() if name}
    assert all("integrity" in row and "resolved" not in row for row in packages.values())
    wanted = json.loads((ROOT / "web/package.json").read_text())
    for name, version in {**wanted["dependencies"], **wanted["devDependencies"]}.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    systems = {name.removeprefix("node_modules/@esbuild/") for name in packages if "@esbuild/" in name}
    assert {"linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64", "win32-x64"} <= systems
