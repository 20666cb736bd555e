"""The environment in .venv: made, filled by pip, and stamped when it is complete."""

import csv
import hashlib
import importlib
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .steps import ROOT, Stop, call, need_space, say, space_note
from .system import can_install, has_venv_module, need

VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "shaderlm-setup.json"  # written last: what it tells of is there
SPACE_MB = {"run": 600, "test": 2300}  # what a first set-up may take
PACKAGED = ("runtime", "shaders", "web")


@dataclass(frozen=True)
class Stamp:
    """What a finished set-up brought ("gpu" and extras of pyproject.toml), and from what."""

    brought: frozenset[str] = frozenset()
    state: str = ""


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of the environment."""
    return [str(PYTHON), "-m", name, *arguments]


def is_complete(wanted: Iterable[str]) -> bool:
    found = read_stamp()
    linked = any((ROOT / "build").glob("__editable__*"))
    return linked and PYTHON.exists() and found.brought.issuperset(wanted) and found.state == state()


def begin() -> frozenset[str]:
    """Take the stamp away, so that a start which is killed from here on is known for one; what it said was brought."""
    brought = read_stamp().brought
    STAMP.unlink(missing_ok=True)
    return brought


def complete(brought: Iterable[str]) -> None:
    part = STAMP.with_suffix(".part")
    part.write_text(json.dumps({"brought": sorted(brought), "state": state()}))
    os.replace(part, STAMP)


def read_stamp() -> Stamp:
    try:
        found = json.loads(STAMP.read_text())
        return Stamp(frozenset(found["brought"]), found["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return Stamp()


def state(root: Path = ROOT, python: Path = PYTHON) -> str:
    """A digest of what an installation depends on: pyproject.toml, the packaged files' names, its place, its Python."""
    files = (path for folder in PACKAGED for path in (root / folder).rglob("*") if "__pycache__" not in path.parts)
    names = sorted(path.relative_to(root).as_posix() for path in files if path.is_file())
    parts = ((root / "pyproject.toml").read_text(encoding="utf-8"), *names, str(root), str(python.resolve()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make() -> None:
    """Make .venv, unless it has a Python and a whole pip, which is the last to come into a new one."""
    if PYTHON.exists() and any(map(is_whole, site_packages().glob("pip-*.dist-info"))):
        return
    if not has_venv_module():
        need("venv")
        importlib.invalidate_caches()
        if not has_venv_module():
            raise Stop(f"{sys.executable} has no complete `venv` module: start build.py by another Python that has.")
    say(f"making {VENV}")
    base = getattr(sys, "_base_executable", sys.executable)  # not the environment's own, if we run by that
    command = [base, "-m", "venv", "--clear", str(VENV)]
    if call(command) == 0:
        return
    if can_install():
        need("venv")  # a killed apt-get leaves the module without the wheels that it unpacks
    if not can_install() or call(command):
        raise Stop(f"{VENV} could not be made, for the reason above.{space_note()}")


def site_packages() -> Path:
    return next(VENV.glob("lib/python*/site-packages"), VENV / "Lib/site-packages")


def install_packages(extras: list[str]) -> None:
    """Install the package, editable, with what it needs. No network is used for what is there already."""
    drop_half_installed(site_packages())
    missing = missing_packages(extras)
    if missing:
        need_space(SPACE_MB["test" if "test" in extras else "run"])
        say(f"installing with pip: {', '.join(missing)}")
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    editable = ("--no-build-isolation", "--config-settings", "editable_mode=strict", "--editable", project)
    install = ("install",) if missing else ("install", "--quiet")
    if pip(*install, *project_file()["build-system"]["requires"]) or pip(*install, *editable):
        names = f" ({', '.join(missing)})" if missing else ""
        raise Stop(
            f"pip could not install what is missing{names}, for the reason above.{space_note()} If it is the network, "
            "check it and pip's settings (`pip config list`). Then start again: what is done is kept."
        )


def pip(*arguments: str) -> int:
    # setuptools warns at length that an editable package's folder must stay.
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONWARNINGS": "ignore"}
    return call(module("pip", *arguments), environment=quiet)


def drop_half_installed(folder: Path) -> None:
    """Remove what a stopped pip left, so that the next one installs it: pip itself takes it for installed."""
    for found in folder.glob("*.dist-info"):
        if not is_whole(found):
            shutil.rmtree(found, ignore_errors=True)
    for found in folder.glob("~*"):  # what it had moved aside
        shutil.rmtree(found, ignore_errors=True)


def is_whole(dist_info: Path) -> bool:
    """Whether every file is there that an installed distribution's RECORD names. pip writes that file last."""
    try:
        with open(dist_info / "RECORD", encoding="utf-8", newline="") as record:
            files = [row[0] for row in csv.reader(record) if row and not row[0].endswith(".pyc")]
    except OSError:
        return False
    return all((dist_info.parent / file).exists() for file in files)


def missing_packages(extras: Iterable[str]) -> list[str]:
    """Names of required distributions that are not in the environment."""
    project = project_file()["project"]
    required = [*project["dependencies"], *(line for name in extras for line in project["optional-dependencies"][name])]
    names = dict.fromkeys(plain(re.split(r"[ <>=!~;\[]", line)[0]) for line in required)
    there = {plain(folder.name.split("-")[0]) for folder in site_packages().glob("*.dist-info")}
    return [name for name in names if name not in there]


def project_file() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def plain(name: str) -> str:
    """A distribution's name as the packaging specifications compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
