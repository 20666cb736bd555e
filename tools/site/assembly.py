"""Putting the site together: files under names with their hashes, compressed twins, and a manifest of it all."""

import json
import shutil
from pathlib import Path
from typing import Any

from web.policy import policy

from ..steps import Stop, say
from . import node as nodes
from .stages import WORK, digest_of, files_of, is_current, making, sha256_of

COMPRESSED = WORK / "compressed"
LIMIT = 7_000_000  # bytes, compressed by Brotli, of the memory snapshot, and of all else together
SNAPSHOT = WORK / "snapshot"
SNAPSHOT_SOURCES = ("snapshot.mjs", "import_package.py")
PYODIDE_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
MANIFEST = "manifest.json"
WORKER = "assets/worker-"
# Under the same names in every version.
ENTRY_POINTS = ("index.html", "shaderlm.js", "python-host.js", "sw.js", "site.json", MANIFEST)
UNCOMPRESSED = {MANIFEST, "_headers", "site.json"}  # people edit the last two, and a twin would stay as it was

Manifest = dict[str, dict[str, Any]]


def assemble(node: nodes.Node, folder: Path, *, python: list[Path]) -> Manifest:
    """Fill `folder` with the site; `python` are folders of compiled Python. Raises Stop."""
    settings = read_settings(nodes.SOURCES / "site.json")
    pyodide = place_pyodide(folder, python)
    rules = policy(settings["origins"])
    shutil.copy(nodes.SOURCES / "site.json", folder)
    packages = sorted(json.loads((folder / "assets" / pyodide / "pyodide-lock.json").read_text())["packages"])
    snapshot = place_snapshot(node, folder / "assets", pyodide)
    bundle(node, folder, {"pyodide": f"{pyodide}/", "packages": packages, "snapshot": snapshot}, rules)
    (folder / "_headers").write_text(headers(rules, folder / "assets"))
    manifest = add_twins(node, folder)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def read_settings(file: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        policy(settings["origins"])
    except (ValueError, KeyError, TypeError) as error:
        raise Stop(f"{file}: {error}") from error
    return settings


def place_pyodide(folder: Path, python: list[Path]) -> str:
    """Pyodide, its standard library and the packages in a folder whose name has the hash of them all; that name."""
    module = nodes.MODULES / "node_modules/pyodide"
    files = [*(module / name for name in PYODIDE_FILES), *(path for part in python for path in files_of(part))]
    name = f"pyodide-{digest_of(*files)[:10]}"
    target = folder / "assets" / name
    target.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, target / file.name)
    return name


def place_snapshot(node: nodes.Node, assets: Path, pyodide: str) -> str | None:
    """A memory snapshot of Pyodide with our package imported; its name. None where none can be made: it is told."""
    state = digest_of(pyodide, *(Path(__file__).parent / name for name in SNAPSHOT_SOURCES))
    if not is_current(SNAPSHOT, state):
        say("making a memory snapshot")
        try:
            with making(SNAPSHOT, state) as folder:
                arguments = (assets / pyodide, Path(__file__).parent / "import_package.py", folder / "snapshot.bin")
                nodes.run_script(node, "snapshot.mjs", *map(str, arguments))
        except Stop as stop:
            say(f"{stop} The site goes without a snapshot: every start is as slow as the first.")
            return None
    name = f"snapshot-{sha256_of(SNAPSHOT / 'snapshot.bin')[:10]}.bin"
    shutil.copyfile(SNAPSHOT / "snapshot.bin", assets / name)
    return name


def bundle(node: nodes.Node, folder: Path, assets: dict[str, Any], rules: str) -> None:
    settings = WORK / "bundle.json"
    where = {"sources": str(nodes.SOURCES), "modules": str(nodes.MODULES), "out": str(folder)}
    settings.write_text(json.dumps({**where, "assets": assets, "policy": rules}))
    nodes.run_script(node, "bundle.mjs", str(settings))


def headers(rules: str, assets: Path) -> str:
    """For hosts that read such a file: what the server of `shaderlm web` says. No header comes twice.

    The worker's script is asked for anew: its answer carries the policy that holds for the worker.
    """
    paths = [f"assets/{path.name}{'/*' if path.is_dir() else ''}" for path in sorted(assets.iterdir())]
    lasting = [path for path in paths if not path.startswith(WORKER)]
    others = ("", *ENTRY_POINTS, *(path for path in paths if path.startswith(WORKER)))
    anew = "".join(f"/{path}\n  Cache-Control: no-cache\n" for path in others)
    kept = "".join(f"/{path}\n  Cache-Control: public, max-age=31536000, immutable\n" for path in lasting)
    return (
        "/*\n"
        f"  Content-Security-Policy: {rules}; frame-ancestors 'self'\n"
        "  X-Content-Type-Options: nosniff\n"
        "  Referrer-Policy: no-referrer\n"
        f"{anew}{kept}"
    )


def add_twins(node: nodes.Node, folder: Path) -> Manifest:
    """A .br and a .gz beside each file; sizes and hashes of all."""
    files = {path.relative_to(folder).as_posix(): path for path in files_of(folder)}
    hashes = {name: sha256_of(path) for name, path in files.items()}
    compressible = {hashes[name]: str(path) for name, path in files.items() if name not in UNCOMPRESSED}
    listing = WORK / "compress.json"
    listing.write_text(json.dumps(compressible))
    missing = [name for name in files if hashes[name] in compressible and not is_compressed(hashes[name])]
    if missing:
        say(f"compressing {len(missing)} files")
    nodes.run_script(node, "compress.mjs", str(COMPRESSED), str(listing))
    manifest: Manifest = {}
    for name, path in files.items():
        row: dict[str, Any] = {"size": path.stat().st_size, "sha256": hashes[name]}
        for way in ("br", "gz") if name not in UNCOMPRESSED else ():
            twin = path.with_name(f"{path.name}.{way}")
            shutil.copyfile(COMPRESSED / f"{hashes[name]}.{way}", twin)
            row[way] = twin.stat().st_size
        manifest[name] = row
    return manifest


def is_compressed(sha256: str) -> bool:
    return all((COMPRESSED / f"{sha256}.{way}").exists() for way in ("br", "gz"))


def print_sizes(manifest: Manifest) -> None:
    """A table on stderr. Raises Stop for a site that is too large."""
    width = max(map(len, manifest))
    say(f"{'bytes of the site':{width}} {'plain':>12} {'gzip':>12} {'brotli':>12}")
    sums = {"the memory snapshot": [0, 0, 0], "all else": [0, 0, 0]}
    for name, row in manifest.items():
        sizes = [row[way if way in row else "size"] for way in ("size", "gz", "br")]
        say(f"{name:{width}} " + " ".join(f"{size:>12,}" for size in sizes))
        kind = "the memory snapshot" if "/snapshot-" in name else "all else"
        sums[kind] = [a + b for a, b in zip(sums[kind], sizes, strict=True)]
    for kind, total in sums.items():
        say(f"{kind:{width}} " + " ".join(f"{size:>12,}" for size in total))
    for kind, total in sums.items():
        if total[2] > LIMIT:
            raise Stop(f"{kind} is {total[2]:,} bytes when compressed, and {LIMIT:,} are the limit")
