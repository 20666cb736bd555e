"""The engines that are compared, each a process that takes commands as lines of JSON and answers each with one.

    {"do": "load", "model": PATH, "short": N, "kept": [N, ...], ...}  -> seconds, and what the engine says of itself
    {"do": "answer", "tokens": [...], "steps": N, "kept": false}      -> first_token_seconds, decode_seconds, drawn
    {"do": "keep", "tokens": [...], "state": PATH}                    -> seconds
    {"do": "memory"}                                                  -> gpu_bytes, or null where nobody tells

`short` and `kept` are numbers of positions: of the context for prompts that are computed anew, and of each context that
is computed once by `keep` and then gone on from, again and again. `drawn` is the first token. What goes wrong is
answered with {"error": TEXT}. The end of its input ends a process.
"""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 900.0  # seconds that a command may take: llama.cpp's Vulkan takes over 200 for 2,048 tokens on lavapipe

Answer = dict[str, Any]


@dataclass(frozen=True)
class Engine:
    """What is compared. `options` go into its "load"."""

    name: str
    kind: Literal["shaderlm", "llama.cpp"]
    options: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        return self.kind == "shaderlm"


OURS = (Engine("shaderlm exact", "shaderlm"), Engine("shaderlm fast", "shaderlm", {"arithmetic": "fast"}))


def peers(vulkan_device: int) -> tuple[Engine, ...]:
    """llama.cpp on the CPU, which also computes long contexts for the other, and on a Vulkan device.

    Named by its number the device may be a CPU too, which the build otherwise passes over.
    """
    vulkan = {"GGML_VK_VISIBLE_DEVICES": str(vulkan_device)}
    return (
        Engine("llama.cpp CPU", "llama.cpp", {"gpu": False}),
        Engine("llama.cpp Vulkan", "llama.cpp", {"gpu": "vulkan"}, vulkan),
    )


class EngineFailed(Exception):
    """An engine gave no answer, or an error: the message is its reason."""


class Process:
    """An engine's process."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        """Raises EngineFailed."""
        self.started = time.perf_counter()
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        try:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                bufsize=1,
            )
        except OSError as error:
            self._said.close()
            raise EngineFailed(f"{command[0]} does not run: {error}") from error
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, do: str, *, limit: float = LIMIT, **what: Any) -> Answer:
        """Give a command and wait for its answer. Raises EngineFailed."""
        assert self._process.stdin is not None
        try:
            print(json.dumps({"do": do, **what}), file=self._process.stdin, flush=True)
            answer = json.loads(self._lines.get(timeout=limit))
        except queue.Empty:
            raise EngineFailed(f"no answer to {do!r} within {limit:.0f} s") from None
        except (OSError, ValueError):  # the pipe is broken, or ended: a line that is no JSON
            raise EngineFailed(f"ended at {do!r}: {self._last_words()}") from None
        if "error" in answer:
            raise EngineFailed(f"{do!r} failed: {answer['error']}")
        return dict(answer)

    def close(self) -> None:
        """End the process, or kill it. Idempotent."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except OSError:
                pass
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")  # no JSON: the end

    def _last_words(self) -> str:
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            pass
        self._said.seek(0)
        lines = [line.strip() for line in self._said if line.strip()]
        return " | ".join(lines[-3:]) or f"exit status {self._process.returncode}"


def command_of(engine: Engine, node: str, modules: Path) -> list[str]:
    """How an engine's process is started."""
    if engine.ours:
        return [sys.executable, "-m", "bench.peers.ours"]
    return [node, str(ROOT / "bench/peers/llama.mjs"), str(modules)]
