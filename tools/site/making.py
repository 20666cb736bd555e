"""`build.py web`: from the sources to build/site and build/npm, in stages that run where their inputs have changed."""

import shutil
from pathlib import Path

from ..steps import ROOT, one_at_a_time, say
from . import node as nodes
from . import npm, wheels
from .assembly import assemble, print_sizes
from .stages import WORK, digest_of, files_of, is_current, making

SITE = ROOT / "build/site"
NPM = ROOT / "build/npm"
STDLIB = WORK / "stdlib"
PACKAGES = WORK / "packages"
TOOLS = Path(__file__).parent


def make_site() -> Path:
    """Have the site in build/site, and the package for npm beside it, as the sources are now. Raises Stop."""
    with one_at_a_time():
        state = state_of_sources()
        if not is_current(SITE, state):
            build(state)
        if not is_current(NPM, state):
            with making(NPM, state) as folder:
                npm.fill(nodes.find_node(), SITE, folder)
    return SITE


def make_wheel(folder: Path) -> Path:
    """The wheel to publish, in `folder`: the package, with the site as it is now in shaderlm/web/site. Raises Stop."""
    site = make_site()
    whole = WORK / "whole"
    with one_at_a_time():
        shutil.rmtree(whole, ignore_errors=True)
        wheels.build_wheel(whole)
        [wheel] = whole.glob("*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        files = [path for path in files_of(site) if path.suffix != ".gz"]  # today's browsers take .br
        added = {f"shaderlm/web/site/{path.relative_to(site).as_posix()}": path for path in files}
        wheels.rewrite(wheel, folder / wheel.name, added=added)
        shutil.rmtree(whole)
    return folder / wheel.name


def state_of_sources() -> str:
    return digest_of(*(ROOT / name for name in wheels.SOURCES), TOOLS)


def build(state: str) -> None:
    node = nodes.find_node()
    modules = nodes.fetch_modules(node)
    compilers = wheels.fetch_compilers()
    libraries = wheels.fetch_libraries()
    package = wheels.build_package()
    script = digest_of(TOOLS / "compile_python.py", TOOLS / "in_pyodide.mjs")
    compile_python(node, STDLIB, digest_of(modules, compilers, script), [pyodide() / "python_stdlib.zip"])
    archives = [*wheels.LIBRARIES.glob("*.whl"), *wheels.PACKAGE.glob("*.whl")]
    compile_python(node, PACKAGES, digest_of(modules, compilers, script, libraries, package), archives)
    with making(SITE, state) as folder:
        print_sizes(assemble(node, folder, python=[STDLIB, PACKAGES]))


def compile_python(node: nodes.Node, folder: Path, state: str, archives: list[Path]) -> None:
    """Have `archives` in `folder`, compiled by Pyodide's interpreter."""
    if is_current(folder, state):
        return
    say(f"compiling {', '.join(path.name for path in archives)} to bytecode")
    source = WORK / "archives"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for archive in archives:
        shutil.copy(archive, source)
    with making(folder, state) as out:
        run_compiler(node, source, out)
    shutil.rmtree(source)


def run_compiler(node: nodes.Node, source: Path, target: Path) -> None:
    """Compile the archives of one folder into another."""
    mounts = {"/in": source, "/out": target, "/pyodide": pyodide()}
    program = (pyodide(), wheels.COMPILERS, TOOLS / "compile_python.py")
    nodes.run_script(node, "in_pyodide.mjs", *map(str, program), *(f"{name}={path}" for name, path in mounts.items()))


def pyodide() -> Path:
    return nodes.MODULES / "node_modules/pyodide"
