"""The package for npm: what programs import of the site, its types, and the files that it fetches."""

import json
import shutil
from pathlib import Path

from .. import environment
from ..steps import ROOT, Stop, call
from . import node as nodes
from .types import COMPILER

SOURCES = nodes.SOURCES / "npm"
PROGRAMS = ("shaderlm.js", "python-host.js")
ASSETS = ("worker-*.js", "pyodide-*", "snapshot-*")  # and not the page's
CONFIGURATIONS = ("tsconfig.json", "tsconfig.python.json")  # of what is checked, and of what is not


def fill(node: nodes.Node, site: Path, folder: Path) -> None:
    """Fill `folder` with the package, made of the built `site`. Raises Stop."""
    declare(node, folder)
    for name in PROGRAMS:
        shutil.copyfile(site / name, folder / name)
    (folder / "assets").mkdir()
    for pattern in ASSETS:
        for found in (site / "assets").glob(pattern):
            copy(found, folder / "assets" / found.name)
    project = environment.project_file()["project"]
    about = json.loads((SOURCES / "package.json").read_text(encoding="utf-8"))
    told = {key: project[key] for key in ("name", "version", "description", "license")}
    (folder / "package.json").write_text(json.dumps({**told, **about}, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(SOURCES / "README.md", folder / "README.md")
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")


def declare(node: nodes.Node, folder: Path) -> None:
    """Write .d.ts files, which the TypeScript compiler makes of JSDoc, and hold the code against its types."""
    target = folder / "types"
    for name in CONFIGURATIONS:
        arguments = ("--project", str(nodes.SOURCES / name), "--outDir", str(target))
        if call([node.program, str(COMPILER), *arguments]):
            raise Stop(f"the types in web/ do not hold, for the reasons above ({name})")
    shutil.rmtree(target / "worker")  # nothing public


def copy(source: Path, target: Path) -> None:
    """Without the compressed twins, which are for servers."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.br", "*.gz"))
    elif source.suffix not in (".br", ".gz"):
        shutil.copyfile(source, target)
