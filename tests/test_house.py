"""The rules of the house: who may import whom, how long a file may be, and what never stands in one."""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = ROOT / "runtime"

FLOORS = {
    "tensors": 1,
    "errors": 1,
    "graph": 1,
    "host": 1,
    "catalogue": 1,
    "codebooks": 1,
    "log": 1,
    "stages": 1,
    "parts": 1,
    "streams": 1,
    "formats": 2,
    "models": 3,
    "planner": 4,
    "engine": 5,
    "drawing": 6,
    "generation": 6,
    "sampling": 6,
    "stops": 6,
    "reasoning": 6,
    "options": 6,
    "tokenizer": 6,
    "tokenizer_json": 6,
    "messages": 7,
    "template_budget": 7,
    "template_filters": 7,
    "template_operators": 7,
    "template_rewrite": 7,
    "template_sandbox": 7,
    "chat": 7,
    "core": 7,
    "opening": 7,
    "inspection": 7,
    "model": 7,
    "api_browser": 7,
    "blocking": 7,
    "api": 7,
    "__init__": 7,
    "web": 8,
    "server": 8,
    "cli": 8,
    "__main__": 8,
}
BESIDE = "hosts"  # imports the ground floor, and is picked by the faces and api.py
MAY_PICK_A_HOST = ("api", "api_browser", "opening", "cli", "hosts")
HOSTS_ONLY = {"wgpu", "tokenizers", "numpy", "mmap", "cffi", "filelock", "platformdirs", "huggingface_hub"}
HOSTS_ONLY |= {"threading", "concurrent"}
NOT_EVEN_THERE = {"requests", "torch", "transformers", "gguf", "scipy"}
LINES = 400
LINES_OF_AN_ARCHITECTURE = 150

SOURCES = [
    path
    for folder in ("runtime", "web", "tools", "tests", "bench", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
KERNELS = sorted((ROOT / "shaders").rglob("*.wgsl"))
PAGES = [path for suffix in ("js", "css") for path in sorted((ROOT / "web").rglob(f"*.{suffix}"))]
PROSE = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.yml"), ROOT / "pyproject.toml"]
ALL = [*SOURCES, ROOT / "build.py", *KERNELS, *PAGES, *PROSE]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room(parts: tuple[str, ...]) -> str:
    """The room of a module under runtime/, by its path without suffix."""
    return parts[0] if parts else "__init__"


@functools.cache
def parsed(path: Path) -> ast.Module:
    text = path.read_text(encoding="utf-8")
    try:
        return ast.parse(text)
    except SystemError:  # CPython before 3.11.5 gets its depth wrong when another parse comes in between (gh-106905)
        return ast.parse(text)


def imports(path: Path) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """(line, "inside", "outside" or "for types only", parts of the module's path) of every import in a file."""
    package = path.relative_to(RUNTIME).parent.parts
    tree = parsed(path)
    for_types = {id(node) for guard in ast.walk(tree) if is_type_checking(guard) for node in ast.walk(guard)}
    for node in ast.walk(tree):
        outside = "outside" if id(node) not in for_types else "for types only"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, outside, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, outside, tuple((node.module or "").split("."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] + tuple(
                (node.module or "").split(".") if node.module else ()
            )
            for alias in node.names:
                yield node.lineno, "inside", base or (alias.name,)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


RUNTIME_FILES = [path for path in SOURCES if path.is_relative_to(RUNTIME)]


def complain(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_every_room_has_a_floor():
    rooms = {room(path.relative_to(RUNTIME).with_suffix("").parts) for path in RUNTIME_FILES}
    complain([f"runtime/{name}: give it a floor in tests/test_house.py" for name in sorted(rooms - {*FLOORS, BESIDE})])


def test_a_room_imports_only_lower_floors():
    problems = []
    for path in RUNTIME_FILES:
        own = room(path.relative_to(RUNTIME).with_suffix("").parts)
        for line, where, parts in imports(path):
            if where == "inside" and not may_import(own, room(parts)):
                problems.append(f"{name_of(path)}:{line}: {own} imports {room(parts)}")
    complain(problems)


def may_import(own: str, other: str) -> bool:
    if own == other:
        return True
    if other == BESIDE:
        return own in MAY_PICK_A_HOST
    if own == BESIDE:
        return FLOORS.get(other) == 1
    return FLOORS.get(other, 0) <= FLOORS.get(own, 0)  # 0: without a floor, as another test says


def test_only_hosts_know_the_libraries_of_a_desktop():
    problems = []
    for path in RUNTIME_FILES:
        own = room(path.relative_to(RUNTIME).with_suffix("").parts)
        forbidden = NOT_EVEN_THERE if own == BESIDE else NOT_EVEN_THERE | HOSTS_ONLY
        for line, where, parts in imports(path):
            if where == "outside" and parts[0] in forbidden:
                problems.append(f"{name_of(path)}:{line}: imports {parts[0]}")
    complain(problems)


def test_imports_inside_the_package_are_relative():
    complain(
        [
            f"{name_of(path)}:{line}: import from `.`, not from {parts[0]}"
            for path in RUNTIME_FILES
            for line, where, parts in imports(path)
            if where == "outside" and parts[0] in ("shaderlm", "runtime")
        ]
    )


def test_importing_the_package_loads_no_heavy_library():
    heavy = ["numpy", "wgpu", "tokenizers", "huggingface_hub", "jinja2", "rich"]
    code = f"import sys, shaderlm; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_are_short():
    limits = dict.fromkeys([*SOURCES, ROOT / "build.py", *KERNELS, *PAGES], LINES)
    limits |= dict.fromkeys((RUNTIME / "models").glob("*.py"), LINES_OF_AN_ARCHITECTURE)
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in limits}
    complain([f"{name_of(p)}: {n} lines, at most {limits[p]}" for p, n in lengths.items() if n > limits[p]])


def test_names_say_what_a_file_is_for():
    complain([name_of(path) for path in ALL if re.search(r"manager|util|helper|misc|common", path.stem)])


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of one person's machine", r"(?<![\w.<])/(?:work|home|root|Users)/\w"),
        ("what lies outside the checkout", r"\.\./" + "shared"),
        ("the host of a package registry", r"(?:pypi|pythonhosted|npmjs)" + r"\.(?:org|com)"),
        ("work that was put off", r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b"),
        ("a number that only a tracker explains", r"\b(?:issue|session|task) #?\d+\b"),
    ],
)
def test_nothing_stands_in_a_file_that_readers_cannot_use(what, pattern):
    problems = []
    for path in ALL:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(pattern, line):
                problems.append(f"{name_of(path)}:{number}: {what}: {line.strip()[:100]}")
    complain(problems)


def test_every_kernel_says_what_it_is_before_its_code():
    complain([name_of(path) for path in KERNELS if not path.read_text(encoding="utf-8").startswith("//")])
