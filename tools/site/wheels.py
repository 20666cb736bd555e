"""The wheels that go into the site: our own without what a browser cannot use, jinja2, and markupsafe without C."""

import base64
import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from .. import environment
from ..steps import ROOT, Stop, call, say, space_note
from .stages import WORK, digest_of, is_current, making

LIBRARIES = WORK / "libraries"
COMPILERS = WORK / "compilers"
PACKAGE = WORK / "package"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
SOURCES = ("runtime", "shaders", "web", "pyproject.toml", "README.md", "LICENSE")

# What of our own wheel a browser cannot use: the other host, the command line and its server.
NATIVE = re.compile(r"shaderlm/(?:hosts/native/|cli/|server/|__main__\.py|web/policy\.py)|.*/entry_points\.txt")
NOTHING = re.compile(r"(?!)")
DATE = (1980, 1, 1, 0, 0, 0)  # of everything in an archive, so that the same sources give the same bytes
EPOCH = "315532800"  # the same in seconds
PYTHON = "3.14"  # Pyodide's


def fetch_libraries() -> str:
    """Have jinja2 and markupsafe in LIBRARIES, in versions that pyproject.toml allows; what they are made from."""
    wanted = {name: requirement(name) for name in ("jinja2", "markupsafe")}
    state = digest_of(*wanted.values())
    if not is_current(LIBRARIES, state):
        say(f"pip fetches {' and '.join(wanted)} for the site")
        with making(LIBRARIES, state) as folder:
            download(folder, wanted["jinja2"])
            # Without a compiler its set-up goes over to plain Python; the last two say the same to Windows.
            no_compiler = {"CC": "false", "DISTUTILS_USE_SDK": "1", "MSSdk": "1"}
            from_source = ("--no-deps", "--no-binary", "markupsafe", "--no-cache-dir", "--quiet")
            pip("wheel", *from_source, "--wheel-dir", str(folder), wanted["markupsafe"], variables=no_compiler)
            if not list(folder.glob("markupsafe-*-none-any.whl")):
                raise Stop("pip built a markupsafe with C in it, which no browser runs: hide the compiler from it")
    return state


def fetch_compilers() -> str:
    """Have what compiles Python inside Pyodide in COMPILERS; what it is made from."""
    state = digest_of(REQUIREMENTS)
    if not is_current(COMPILERS, state):
        say("pip fetches what compiles Python for the site")
        with making(COMPILERS, state) as folder:
            download(folder, "--requirement", str(REQUIREMENTS))
    return state


def build_package() -> str:
    """Have our own wheel in PACKAGE, without what a browser cannot use; what it is made from."""
    state = digest_of(*(ROOT / name for name in SOURCES), Path(__file__))
    if not is_current(PACKAGE, state):
        with making(PACKAGE, state) as folder:
            whole = folder / "whole"
            build_wheel(whole)
            [wheel] = whole.glob("*.whl")
            rewrite(wheel, folder / wheel.name, dropped=NATIVE)
            shutil.rmtree(whole)
    return state


def build_wheel(target: Path) -> None:
    """Our wheel as setuptools makes it out of the checkout. Raises Stop."""
    shutil.rmtree(ROOT / "build/lib", ignore_errors=True)  # setuptools would pack files that were deleted since
    pip("wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(target), str(ROOT))


def rewrite(
    source: Path, target: Path, *, dropped: re.Pattern[str] = NOTHING, added: Mapping[str, Path] | None = None
) -> None:
    """Copy a wheel without the files whose names match, and with others. The same content gives the same bytes.

    `target` has its name only when it is whole.
    """
    part = target.with_suffix(".part")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as new:
        [record] = (name for name in old.namelist() if name.endswith(".dist-info/RECORD"))
        contents = {name: old.read(name) for name in old.namelist() if name != record and not dropped.match(name)}
        contents |= {name: path.read_bytes() for name, path in (added or {}).items()}
        lines = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in sorted(contents.items())]
        for name, data in sorted(contents.items()):
            packed = name.endswith((".br", ".gz"))
            new.writestr(zipfile.ZipInfo(name, DATE), data, zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED)
        new.writestr(zipfile.ZipInfo(record, DATE), "".join([*lines, f"{record},,\n"]), zipfile.ZIP_DEFLATED)
    os.replace(part, target)


def _digest(data: bytes) -> str:
    """As RECORD spells it."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def requirement(name: str) -> str:
    """The line of pyproject.toml's dependencies for a package."""
    lines: list[str] = environment.project_file()["project"]["dependencies"]
    return next(line for line in lines if environment.plain(re.split(r"[ <>=!~;\[]", line)[0]) == name)


def download(folder: Path, *what: str) -> None:
    """Wheels in plain Python for Pyodide's version of it. Raises Stop."""
    pure = ("--implementation", "py", "--abi", "none", "--platform", "any", "--python-version", PYTHON)
    pip("download", "--quiet", "--no-deps", "--only-binary", ":all:", *pure, "--dest", str(folder), *what)


def pip(*arguments: str, variables: dict[str, str] | None = None) -> None:
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONWARNINGS": "ignore"}
    dated = {"SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", EPOCH)}
    if call(environment.module("pip", *arguments), environment={**quiet, **dated, **(variables or {})}):
        raise Stop(
            f"pip could not bring what the site is made of, for the reason above.{space_note()} If it is the network, "
            "check it and pip's settings (`pip config list`); then start again."
        )
