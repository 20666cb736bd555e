"""A program on a pseudo-terminal of its own, for tests: what it shows, what is typed, Ctrl-C."""

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

CTRL_C, CTRL_D = "\x03", "\x04"
_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")
HANGS = 120  # seconds without an awaited text, after which a test fails instead of hanging forever


class PseudoTerminal:
    """A running command whose stdin, stdout and stderr are one terminal."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=environment | {"TERM": "xterm", "COLUMNS": "200", "LINES": "50"},
        )
        os.close(theirs)
        self.raw = b""  # all that was shown
        self._seen = 0  # characters of `text` that were awaited

    @property
    def text(self) -> str:
        """What was shown, without colours and movements."""
        return _STEERING.sub("", self.raw.decode(errors="replace"))

    def enter(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, text: str) -> str:
        """Wait until `text` is shown behind what was awaited before; returns what came before it."""
        before = self._shown(text, HANGS)
        assert before is not None, f"{text!r} did not come; there was:\n{self.text[self._seen :]}"
        return before

    def interrupt_until(self, text: str) -> None:
        """Press Ctrl-C as a person would, again where nothing happens: Python's readline misses one that comes as it
        begins to wait.
        """
        for _ in range(HANGS):
            self.enter(CTRL_C)
            if self._shown(text, 1.0) is not None:
                return
        raise AssertionError(f"Ctrl-C did not bring {text!r}; there was:\n{self.text[self._seen :]}")

    def wait(self) -> int:
        """Wait for the program's end; returns its exit code."""
        end = time.monotonic() + HANGS
        while self._read(end):
            pass
        return self.process.wait(HANGS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def _shown(self, text: str, seconds: float) -> str | None:
        end = time.monotonic() + seconds
        while (place := self.text.find(text, self._seen)) < 0:
            if not self._read(end):
                return None
        before = self.text[self._seen : place]
        self._seen = place + len(text)
        return before

    def _read(self, end: float) -> bool:
        """Take in what is shown; False at the program's end, or when `end` has come."""
        if not select.select([self._ours], [], [], max(0.0, end - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other side is closed
            return False
        self.raw += data
        return bool(data)
