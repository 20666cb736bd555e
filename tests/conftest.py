"""What all tests share: the models and data they read, and an honest word in the summary about what did not run."""

import collections
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shaderlm.catalogue import SMOLLM2
from shaderlm.hosts.native import cache

if TYPE_CHECKING:
    from gpu import Device
    from hub_server import Hub
    from shaderlm import Model

EVERY_MODEL = "test_every_model.py"
NO_ORACLES = "SHADERLM_ORACLES names no folder with the data of other projects"
NO_SMOLLM2 = "SmolLM2 is not in the cache: `python3 build.py setup` fetches it"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--models", metavar="FOLDER", help="also try every model (.gguf) in this folder and those below")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without a folder of models the tests for any model have nothing to say."""
    return True if collection_path.name == EVERY_MODEL and not config.getoption("--models") else None


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl+C; the programs that tests start and interrupt must not.

    Nor must what a test computes hang on timing, but where it says so.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["SHADERLM_TUNING"] = "off"


@pytest.fixture(scope="session")
def oracles() -> Path:
    """The folder of data that others made, named by SHADERLM_ORACLES."""
    folder = os.environ.get("SHADERLM_ORACLES")
    if not folder or not Path(folder).is_dir():
        pytest.skip(NO_ORACLES)
    return Path(folder)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct in Q4_1, the model that `build.py` fetches."""
    path = cache.cached(SMOLLM2)
    if path is None:
        pytest.skip(NO_SMOLLM2)
    return path


@pytest.fixture(scope="session")
def site() -> Path:
    """The site for browsers as the sources are now. It takes minutes to make anew, and nothing where it is current."""
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "build.py", "web"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return root / "build/site"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Hub]":
    """A server that is taken for the Hugging Face Hub, and empty caches."""
    from hub_server import in_place_of_the_hub  # huggingface_hub takes a while to import

    with in_place_of_the_hub(tmp_path, monkeypatch) as hub:
        yield hub


@pytest.fixture(scope="session")
def gpu() -> "Iterator[Device]":
    """A device with no more than WebGPU guarantees, on which a test runs single kernels."""
    from gpu import Device  # wgpu takes half a second to import

    device = Device()
    yield device
    device.close()


@pytest.fixture(scope="session")
def tiny() -> "Iterator[Model]":
    """Our own tiny model with its KV cache in f32. What one test leaves in that cache another may find."""
    import shaderlm
    from tiny_model import TINY

    with shaderlm.load(TINY, kv_dtype="f32") as model:
        yield model


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        slow = sum(item.get_closest_marker("slow") is not None for item in items)
        items[0].config.stash[SLOW] = items[0].config.stash.get(SLOW, 0) + slow


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out, and how to have it."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = (report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr) for report in reports)
    for reason, count in collections.Counter(reasons).items():
        terminalreporter.write_line(f"{count} did not run: {reason.removeprefix('Skipped: ')}", yellow=True)
    slow = config.stash.get(SLOW, 0)
    if slow:
        terminalreporter.write_line(f"{slow} slow ones left out: `python3 build.py test --slow` runs them", yellow=True)


SLOW = pytest.StashKey[int]()
