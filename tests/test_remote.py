"""Models of the Hub: they answer as local ones do, and of what is not fetched only headers are read."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shaderlm
from byte_sources import wait
from gguf_writer import gguf_bytes, llama_metadata, tensor
from hub_server import Hub, sha256
from random_llama import random_llama
from shaderlm.catalogue import hub_name
from shaderlm.errors import InvalidOption, NetworkError, UnknownArchitecture
from shaderlm.hosts.native import hub as native_hub
from shaderlm.hosts.native import sources
from split_files import split
from tiny_model import TINY, goldens

MB = 1_000_000


def test_a_model_of_the_hub_answers(hub: Hub) -> None:
    hub.add("o/r", {"model.gguf": TINY.read_bytes()})
    golden, told = goldens()["cut"], []
    with shaderlm.load("hf:o/r", progress=lambda done, total: told.append((done, total))) as model:
        assert model.complete(golden.prompt, max_tokens=golden.max_tokens, temperature=0).text == golden.text
    size = TINY.stat().st_size
    assert (size, size) in told


def test_a_split_model_of_the_hub_answers_verified(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    hub.add("o/r", {path.name: path.read_bytes() for path in split(TINY, tmp_path / "split", 3)})
    golden = goldens()["cut"]
    with shaderlm.load("hf:o/r", verify=True) as model:
        assert model.complete(golden.prompt, max_tokens=golden.max_tokens, temperature=0).text == golden.text


def remote_bytes(hub: Hub) -> int:
    sent, hub.sent = hub.sent, 0
    return sent


def padded(file: Path) -> bytes:
    """A model's file with 20 MB of weights that nobody needs, so that its header is a small part of it."""
    return file.read_bytes() + bytes(20 * MB)


def test_headers_are_read_where_they_are(hub: Hub) -> None:
    hub.add("o/r", {"model.gguf": padded(TINY)})
    report = shaderlm.inspect("hf:o/r")
    assert (report.file, report.architecture, report.bytes) == ("model.gguf", "llama", TINY.stat().st_size + 20 * MB)
    assert report.parameters == shaderlm.inspect(TINY).parameters
    assert remote_bytes(hub) < 3 * MB
    assert shaderlm.load_tokenizer("hf:o/r").encode("One day") == shaderlm.load_tokenizer(TINY).encode("One day")
    assert remote_bytes(hub) < 3 * MB
    sources.locate("hf:o/r")
    hub.asked.clear()
    shaderlm.load_tokenizer("hf:o/r")
    assert hub.asked == []


def test_headers_of_parts_are_read_where_they_are(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    hub.add("o/r", {path.name: path.read_bytes() for path in split(TINY, tmp_path / "split", 3)})
    assert shaderlm.inspect("hf:o/r").parameters == shaderlm.inspect(TINY).parameters


def test_a_server_without_ranges_serves_headers_too(hub: Hub) -> None:
    hub.add("o/r", {"model.gguf": TINY.read_bytes()})
    hub.knows_ranges = False
    source = native_hub.open_remote(hub_name("hf:o/r"))  # type: ignore[arg-type]
    data = TINY.read_bytes()
    assert wait(source.read(100, 50)) == data[100:150]
    assert wait(source.chunk(len(data) - 5, 5)) == data[-5:]
    assert wait(source.read(len(data) - 5, 50)) == data[-5:]
    assert wait(source.read(len(data), 50)) == b""
    source.close()


def test_a_server_that_gives_less_than_was_asked_for_is_told(hub: Hub) -> None:
    data = TINY.read_bytes()
    hub.add("o/r", {"model.gguf": data})
    hub.lies = {sha256(data): data[:1000]}
    with pytest.raises(NetworkError, match=r"gave 1,000 bytes at byte 0 where [\d,]+ were asked for\. Start again"):
        shaderlm.inspect("hf:o/r")


def test_what_cannot_run_here_is_refused_before_it_is_fetched(hub: Hub) -> None:
    hyperparameters, weights = random_llama(0, n_layers=1)
    tensors = {name: tensor(weight, "F32") for name, weight in weights.items()}
    metadata = {"general.architecture": "mamba9", **llama_metadata(hyperparameters)}
    data = gguf_bytes(metadata, {**tensors, "ballast": tensor(np.zeros(5 * MB), "F32")})
    hub.add("o/r", {"model.gguf": data})
    with pytest.raises(UnknownArchitecture, match=r"model\.gguf holds a model of architecture 'mamba9'"):
        shaderlm.load("hf:o/r")
    assert hub.sent < 3 * MB
    assert not list(native_hub.repository_folder("o/r").rglob("*"))


def test_a_load_that_nobody_waits_for_ends_its_download_and_keeps_what_came(hub: Hub) -> None:
    hub.add("o/r", {"model.gguf": padded(TINY)})
    hub.pause = 0.05

    async def leave() -> None:
        came = asyncio.Event()
        loop = asyncio.get_running_loop()
        loading = asyncio.ensure_future(
            shaderlm.load_async("hf:o/r", progress=lambda done, total: loop.call_soon_threadsafe(came.set) and None)
        )
        await came.wait()
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading

    asyncio.run(leave())
    (partial,) = native_hub.repository_folder("o/r").glob("blobs/*")
    assert 0 < partial.stat().st_size < 20 * MB
    assert partial.suffix == ".incomplete"


def test_options_are_checked_before_anything_is_fetched(hub: Hub) -> None:
    hub.add("o/r", {"model.gguf": TINY.read_bytes()})
    with pytest.raises(InvalidOption, match="kv_dtype"):
        shaderlm.load("hf:o/r", kv_dtype="f8")  # type: ignore[arg-type]
    assert hub.sent == 0


def test_local_models_need_no_hub_library() -> None:
    code = (
        f"import sys, shaderlm; shaderlm.load_tokenizer({str(TINY)!r}); "
        f"shaderlm.load({str(TINY)!r}, context=64).close(); "
        "print('huggingface_hub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_lies_under_the_path_of_a_name_is_reached_by_a_path(hub: Hub, tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "hf:o" / "r"
    folder.mkdir(parents=True)
    shutil.copy(TINY, folder)
    monkeypatch.chdir(tmp_path)
    assert sources.locate("./hf:o/r") == (Path("hf:o/r/tiny.gguf"),)
