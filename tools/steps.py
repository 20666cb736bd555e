"""Running the steps of a set-up: calling programs, one set-up at a time, and saying what goes on."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STDERR = 2


class Stop(Exception):
    """The set-up cannot go on: the message says what is missing and what to do."""


def say(message: str) -> None:
    print(f"build: {message}", file=sys.stderr, flush=True)


def call(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    keep_lock: bool = True,
    stop: signal.Signals = signal.SIGTERM,
) -> int:
    """Run a step at the project's root, talking to stderr; its exit status. When we are stopped, it is told by `stop`.

    The terminal's Ctrl-C reaches us alone: half of what it would interrupt answers with a traceback.
    """
    options: dict[str, Any] = {} if os.name == "nt" else {"process_group": 0}
    env = {**os.environ, **(environment or {})}
    try:
        step = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=STDERR, env=env, close_fds=not keep_lock, **options
        )
    except FileNotFoundError:
        return 127
    try:
        return step.wait()
    except BaseException:
        step.send_signal(stop)
        step.wait()
        raise


def call_in_front(command: Sequence[str]) -> int:
    """Run a tool at the project's root that has the terminal for itself; its exit status."""
    tool = subprocess.Popen(command, cwd=ROOT)
    try:
        return tool.wait()
    except KeyboardInterrupt:
        tool.wait()  # the terminal told it as well
        raise
    except BaseException:
        tool.terminate()
        tool.wait()
        raise


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the set-up's lock. Steps inherit it, so that one which outlives a killed start is waited for."""
    (ROOT / "build").mkdir(exist_ok=True)
    with open(ROOT / "build/setup.lock", "w") as lock:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            os.set_inheritable(lock.fileno(), True)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say("waiting for another set-up in this folder to end")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def need_space(megabytes: int) -> None:
    free = free_megabytes()
    if free < megabytes:
        raise Stop(f"the disk is full: a first set-up takes up to {megabytes} MB, but {ROOT} has {free} MB left")


def space_note() -> str:
    """A sentence about the disk for messages of failure, where it may be the cause."""
    free = free_megabytes()
    return f" The disk is nearly full: {ROOT} has {free} MB left." if free < 100 else ""


def free_megabytes() -> int:
    return shutil.disk_usage(ROOT).free // 1_000_000
