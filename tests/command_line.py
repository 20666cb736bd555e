"""Running `shaderlm` in tests: in this process, or as a process of its own."""

import io
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from shaderlm.cli import main
from tiny_model import TINY

COMMAND = [sys.executable, "-m", "shaderlm"]
MODEL = str(TINY)


@dataclass(frozen=True)
class Done:
    """What a command gave."""

    code: int
    out: str
    err: str


class CommandLine:
    """`run` a command in this process, with stdin, stdout and stderr that are no terminals."""

    def __init__(self, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capture = capture
        self._patch = patch

    def run(self, *arguments: str, stdin: str = "") -> Done:
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        self._capture.readouterr()
        code = main(list(arguments))
        said = self._capture.readouterr()
        return Done(code, said.out, said.err)


def run_process(*arguments: str, stdin: bytes = b"", **environment: str) -> Done:
    """Run a command as a process of its own."""
    done = subprocess.run(
        [*COMMAND, *arguments], input=stdin, capture_output=True, env=os.environ | environment, check=False
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())
