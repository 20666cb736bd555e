"""What must not become slow: headers, and the way to the first word. Ceilings are five times what is wanted."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import build
from bench import headers
from byte_sources import BytesSource, wait
from command_line import COMMAND
from shaderlm.formats.gguf import read_gguf

ROOT = Path(__file__).resolve().parent.parent


def test_the_headers_that_are_timed_are_as_large_as_they_say() -> None:
    both = (headers.like_tinyllama, headers.large_vocabulary)
    tinyllama, large = (wait(read_gguf(BytesSource(made()))) for made in both)
    assert (len(tinyllama.tensors), len(tinyllama.metadata)) == (201, 23)
    for found, tokens, merges in ((tinyllama, 32_000, 61_249), (large, 150_000, 150_000)):
        assert found.tokenizer is not None
        assert (len(found.tokenizer.tokens), len(found.tokenizer.merges)) == (tokens, merges)


def test_a_header_is_parsed_and_its_vocabulary_decoded(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, str(ROOT / "bench/headers.py")]
    said = subprocess.run(command, env=unwatched(), capture_output=True, text=True, check=True).stdout
    tell(capsys, said)
    took = re.findall(r"(\d+) ms, and +(\d+) ms", said)
    for (parse, decode), wanted in zip(took, (50, 300), strict=True):
        assert int(parse) + int(decode) < 5 * wanted


def test_a_second_start_soon_gives_its_first_word(smollm2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the question that `build.py run` asks, from the start of the process to the first byte on stdout."""
    took = [seconds_to_the_first_byte() for _ in range(2)]  # the first start may find caches of drivers empty
    tell(capsys, f"the first word of a second start after {took[1]:.1f} s (of the one before: {took[0]:.1f} s)")
    assert took[1] < 5 * 5.0


def seconds_to_the_first_byte() -> float:
    started = time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, *build.asking([])], env=unwatched(), bufsize=0, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.read(1)
        took = time.perf_counter() - started
        process.kill()
        assert first, process.stderr.read().decode()
    return took


def unwatched() -> dict[str, str]:
    """The environment of a process that no measurement of coverage slows."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


def tell(capsys: pytest.CaptureFixture[str], what: str) -> None:
    """Past the capture: a figure is of use when it is seen."""
    with capsys.disabled():
        print(f"\n{what.rstrip()}", file=sys.stderr)
