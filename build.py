#!/usr/bin/env python3
"""Set shaderlm up in this folder, and run it. Needs Python 3.11 or newer and nothing else.

  python3 build.py run [question]             answer a question with the default model; options are `complete`'s
  python3 build.py run --web [options]        serve the page for browsers and open it; options are `web`'s
  python3 build.py test [arguments]           lint, check types, test; the arguments are pytest's
  python3 build.py test --slow [arguments]    with the slow tests; without arguments also the coverage, 90 % at least
  python3 build.py test --models FOLDER       load and try every model (.gguf) in FOLDER and those below it
  python3 build.py setup                      make what `run` needs, and run nothing
  python3 build.py lint                       ruff, mypy, and tsc over the JavaScript
  python3 build.py bench [arguments]          measure the default model
  python3 build.py bench headers              measure how fast headers of model files are parsed
  python3 build.py bench browser [FILE.json]  measure starts and steps in Chromium
  python3 build.py bench kernels [options]    measure each kernel by weight type and shape, as a roofline
  python3 build.py bench shapes [options]     measure models of usual sizes with random weights, against their roofline
  python3 build.py bench --peers [options]    measure beside llama.cpp, on the same adapter (`--help` has the options)
  python3 build.py bench --compare BASE.json [NEW.json]
                                              tell what changed between two runs, beyond their spread
  python3 build.py web                        build the site for browsers in build/site, the npm package in build/npm
  python3 build.py wheel                      build a wheel, with the site in it, into dist/

Everything goes into .venv, build/ and the user's cache folder. A set-up that was stopped at any point is completed by
the next start; a complete one costs nothing. Answers go to stdout, all else to stderr.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(f"build: Python 3.11 or newer is needed, and {sys.executable} is {sys.version.split()[0]}")

import argparse
import os
import signal
import subprocess
from pathlib import Path
from types import FrameType

from tools import environment, system
from tools.environment import PYTHON, module
from tools.site import types
from tools.site.making import NPM, make_site, make_wheel
from tools.steps import ROOT, Stop, call, call_in_front, one_at_a_time, say

MODEL = "smollm2"
QUESTION = "What is the capital of France?"
MODELS_TEST = "tests/test_every_model.py"
COVERED = 90  # percent of the package's lines and branches that all tests together must run
COVERED_OF_READERS = 95  # of what reads files that others made
READERS = "*/formats/*,*/tokenizer*"


def main(arguments: list[str]) -> int:
    verbs = {"run": run, "test": test, "setup": setup, "lint": lint, "bench": bench, "web": web, "wheel": wheel}
    if not arguments or arguments[0] not in verbs:
        asked = arguments[:1] in (["-h"], ["--help"], ["help"])
        print(__doc__, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    try:
        return verbs[arguments[0]](arguments[1:])
    except Stop as stop:
        say(str(stop))
        return 1
    except KeyboardInterrupt:
        # A step may have left its line unfinished and the cursor hidden.
        print("\x1b[?25h" if sys.stderr.isatty() else "", file=sys.stderr)
        say("stopped; the next start goes on from here")
        return 130


def run(words: list[str]) -> int:
    prepare()
    if "--web" in words:
        make_site()
        return become("web", *(word for word in words if word != "--web"))
    return become(*asking(words))


def asking(words: list[str]) -> tuple[str, ...]:
    """The command that answers a question: greedy, because a model this small wanders when it draws.

    Options among the words come later and win.
    """
    return ("complete", "--chat", "--model", MODEL, "--temperature", "0", *(words or [QUESTION]))


def setup(words: list[str]) -> int:
    prepare()
    fetch_model()
    say("all is set up: `python3 build.py run` asks the model a question")
    return 0


def bench(words: list[str]) -> int:
    prepare()
    if words == ["headers"]:
        return call_in_front([str(PYTHON), str(ROOT / "bench/headers.py")])
    if words[:1] == ["browser"]:
        prepare("test")
        make_site()
        fetch_model()
        return call_in_front([str(PYTHON), str(ROOT / "bench/browser.py"), *words[1:]])
    modules = {
        "kernels": "bench.kernels",
        "shapes": "bench.shapes",
        "--compare": "bench.compare",
        "--peers": "bench.peers",
    }
    if words and words[0] in modules:
        prepare("bench")
        return call_in_front(module(modules[words[0]], *words[1:]))
    return become("bench", MODEL, *words)


def test(words: list[str]) -> int:
    arguments = pytest_arguments(words)
    prepare("test", "lint")
    fetch_model()
    bad = failing_checks()
    code = check("pytest", *arguments)
    if not code and is_all(words):
        code = check("coverage", "report", f"--include={READERS}", f"--fail-under={COVERED_OF_READERS}")
    if bad:
        say(f"not in order, see before the tests: {', '.join(bad)}")
    return code or int(bool(bad))


def pytest_arguments(words: list[str]) -> list[str]:
    """Coverage is for all tests together, which alone reach what is asked for; it slows them."""
    coverage = ["--cov", f"--cov-fail-under={COVERED}", "--cov-report=term:skip-covered"] if is_all(words) else []
    options, words = models_options(words)
    slow = ["-m", ""] if "--slow" in words else []
    return ["--durations=10", *slow, *coverage, *options, *(word for word in words if word != "--slow")]


def is_all(words: list[str]) -> bool:
    return words == ["--slow"]


def models_options(words: list[str]) -> tuple[list[str], list[str]]:
    """pytest's options for a folder of models, for which the other tests do not run; and the words that are left."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--models", nargs="?", const="")
    found, rest = parser.parse_known_args(words)
    if found.models is None:
        return [], words
    folder = Path(found.models)
    if not found.models or not any(path.suffix.lower() == ".gguf" for path in folder.rglob("*")):
        raise Stop(f"--models: there is no .gguf file in {str(folder)!r}; give the folder that your models lie in")
    return [f"--models={folder.resolve()}", MODELS_TEST], rest


def lint(words: list[str]) -> int:
    prepare("lint", gpu=False)
    bad = failing_checks()
    say(f"not in order: {', '.join(bad)}" if bad else "all in order")
    return int(bool(bad))


def web(words: list[str]) -> int:
    prepare(gpu=False)
    say(f"the site is in {make_site().relative_to(ROOT)}, the package for npm in {NPM.relative_to(ROOT)}")
    return 0


def wheel(words: list[str]) -> int:
    prepare(gpu=False)
    say(f"the wheel is {make_wheel(ROOT / 'dist').relative_to(ROOT)}")
    return 0


def prepare(*extras: str, gpu: bool = True) -> None:
    """Have .venv with the package and its `extras`, and for `gpu` an adapter and the model, unless all is there."""
    wanted = {*extras, "gpu"} if gpu else {*extras}
    if environment.is_complete(wanted):
        return
    with one_at_a_time():
        if environment.is_complete(wanted):  # by another start that we waited for
            return
        wanted |= environment.begin()
        if "gpu" in wanted:
            system.need_vulkan_loader(environment_exists=PYTHON.exists())
        environment.make()
        environment.install_packages(sorted(wanted - {"gpu"}))
        if "gpu" in wanted:
            system.need_adapter(PYTHON)
            fetch_model()
        if "test" in wanted:
            system.need_chromium(PYTHON)
            system.need_firefox()
        environment.complete(wanted)


def fetch_model() -> None:
    if call(module("shaderlm.hosts.native.sources", MODEL)):
        raise Stop(f"the model {MODEL} is missing, for the reason above; then start again")


def failing_checks() -> list[str]:
    checks = {"ruff check": ("ruff", "check"), "ruff format": ("ruff", "format", "--check"), "mypy": ("mypy",)}
    bad = [name for name, command in checks.items() if check(*command)]
    return [*bad, "tsc"] if check_javascript() else bad


def check_javascript() -> int:
    say("tsc")
    with one_at_a_time():
        commands = types.checks()
    return max([call_in_front(command) for command in commands])  # of all of them


def check(*command: str) -> int:
    """Run a tool of the environment; what it says is the answer, so it goes to stdout."""
    say(" ".join(command))
    return call_in_front(module(*command))


def become(*arguments: str) -> int:
    """Go over to the program itself, which then has the terminal and the signals for its own."""
    command = module("shaderlm", *arguments)
    if os.name == "posix":
        os.execv(command[0], command)
    return subprocess.run(command, check=False).returncode


def end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), end)
    sys.exit(main(sys.argv[1:]))
