"""Memory that is not there: refused before it is taken where that can be known, given back where it could not."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shaderlm
from engines import living, opened, start
from gguf_writer import Tensor, gguf_bytes, llama_metadata, write_llama
from gpu import Device
from random_llama import random_llama
from shaderlm.errors import OutOfMemory
from shaderlm.hosts.native import gpu as native_gpu
from shaderlm.hosts.native.memory import free_memory
from tiny_model import NO_END, TINY
from watching import NOTHING, held, live_objects, more_than, wgpu_objects

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space as Linux has them")


@pytest.fixture(autouse=True)
def no_test_of_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are counted here, and an adapter's first load would make more of them."""
    monkeypatch.setenv("SHADERLM_SELF_TEST", "off")


class Refusal:
    """Lets the first `allowed` calls of a method pass, and none after."""

    def __init__(self, method: Callable[..., Any], allowed: int) -> None:
        self.method = method
        self.left = allowed
        self.refused = False

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self.left == 0:
            self.refused = True
            raise OutOfMemory("The GPU has no memory left.")
        self.left -= 1
        return self.method(*args, **options)


@pytest.mark.parametrize("method", ["create_buffer", "write_buffer", "create_pipelines"])
def test_a_load_that_fails_at_any_call_leaves_nothing(
    gpu: Device, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    before, calls = living(gpu.gpu), 0
    intact = getattr(gpu.gpu, method)
    while True:
        refusal = Refusal(intact, calls)
        monkeypatch.setattr(gpu.gpu, method, refusal)
        try:
            with opened(gpu.gpu, TINY):
                break
        except OutOfMemory:
            assert refusal.refused
        assert living(gpu.gpu) == before, f"call {calls} of {method} failed"
        calls += 1
    assert not refusal.refused
    assert calls >= {"create_buffer": 30, "write_buffer": 20, "create_pipelines": 1}[method]


@pytest.mark.parametrize(("method", "step"), [("create_buffer", 7), ("create_bind_group", 7), ("create_pipelines", 1)])
def test_an_answer_that_fails_at_any_call_leaves_the_model_well(method: str, step: int) -> None:
    """Plans are made and the cache grows while it answers; in the end, with all that it asked for, it is right."""
    prompt = [7] * 250
    with shaderlm.load(TINY, context=480, kv_dtype="f32") as model:
        gpu, calls = model._core.gpu, 0
        intact = getattr(gpu, method)
        while True:
            setattr(gpu, method, Refusal(intact, calls))
            try:
                answer = model.complete(prompt, max_tokens=12, temperature=0, logit_bias=NO_END, logprobs=1)
                break
            except OutOfMemory:
                assert held(model) == NOTHING
                calls += step
            finally:
                delattr(gpu, method)
        again = model.complete(prompt, max_tokens=12, temperature=0, logit_bias=NO_END, reuse_prefix=False)
        assert answer.tokens == again.tokens
        assert calls > step
        objects = live_objects(model)
    with shaderlm.load(TINY, context=480, kv_dtype="f32") as model:
        model.complete(prompt, max_tokens=12, temperature=0, logit_bias=NO_END, logprobs=1)
        model.complete(prompt, max_tokens=12, temperature=0, logit_bias=NO_END, reuse_prefix=False)
        assert live_objects(model) == objects, "what failed has left something"


def test_a_load_that_fails_closes_its_device_and_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    before = wgpu_objects()
    for allowed in (0, 10, 25):
        with monkeypatch.context() as patch:
            intact = native_gpu.NativeGpu.create_buffer
            refusal = Refusal(intact, allowed)
            patch.setattr(native_gpu.NativeGpu, "create_buffer", lambda *a, _r=refusal, **o: _r(*a, **o))
            with pytest.raises(OutOfMemory):
                shaderlm.load(TINY, context=64)
    assert not more_than(before)


# What does not fit is refused


def sparse_llama(path: Path, **changes: Any) -> Path:
    """A model of zeros that takes no space on the disk."""
    small, weights = random_llama(0, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=16, intermediate_size=32)
    shapes = {name: weight.shape for name, weight in weights.items()}
    sizes = {small["hidden_size"]: changes["hidden_size"], small["vocab_size"]: changes["vocab_size"]}
    tensors, offset = {}, 0
    for name, shape in shapes.items():
        scaled = tuple(sizes.get(extent, extent) for extent in shape)
        tensors[name] = Tensor(scaled, 0, b"", offset)
        size = 4
        for extent in scaled:
            size *= extent
        offset += -(-size // 32) * 32
    header = gguf_bytes({"general.architecture": "llama", **llama_metadata({**small, **changes})}, tensors)
    path.write_bytes(header)
    with path.open("r+b") as file:
        file.truncate(len(header) + offset)
    return path


def test_a_tensor_beyond_the_limit_of_a_binding_is_loaded_in_parts(gpu: Device, tmp_path: Path) -> None:
    path = sparse_llama(tmp_path / "wide.gguf", hidden_size=1024, vocab_size=40_000)
    with opened(gpu.gpu, path) as engine:
        parts = [weight.size for name, weight in engine.weights.items() if name.startswith("token_embd.weight")]
        assert len(parts) == 2
        assert sum(parts) == 163_840_000
        _, _, logits = start(engine, [7, 39_999])
        assert not logits.any(), "all weights are zero"


def test_a_model_takes_the_context_that_fits_where_none_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hyperparameters, weights = random_llama(0, context_length=65_536)
    path = write_llama(tmp_path / "long.gguf", weights, hyperparameters)
    monkeypatch.setattr(native_gpu.NativeGpu, "available_memory", lambda self: 30_000_000)
    with shaderlm.load(path, kv_dtype="f32") as model:
        assert (model.context, model.trained_context) == (32_768, 65_536)
        assert model.memory.total <= 30_000_000
        assert model.complete([5] * 600, max_tokens=2).finish_reason == "length"


# A real limit

CHILD = """
import gc, resource, sys
import shaderlm, wgpu
from shaderlm.errors import ModelTooLarge, OutOfMemory
from shaderlm.hosts.native.gpu import NativeGpu

tiny, large, spare, blind = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "blind"

def told():
    gc.collect()
    return {name: entry["count"] for name, entry in wgpu.diagnostics.object_counts.get_dict().items()}

def answer():
    with shaderlm.load(tiny, context=64) as model:
        return model.complete("One day", max_tokens=3, temperature=0).text

expected = answer()  # libraries are loaded, kernels compiled
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + spare, resource.RLIM_INFINITY))
if blind:
    NativeGpu.available_memory = lambda self: None
before = told()
try:
    shaderlm.load(large)
except (ModelTooLarge, OutOfMemory) as error:
    print(type(error).__name__, error)
assert told() == before, told()
assert answer() == expected
"""


def under_a_limit(large: Path, spare: int, how: str) -> str:
    """What a process says that may take `spare` more bytes and loads a large model, then answers with the tiny one."""
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(TINY), str(large), str(spare), how],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MALLOC_ARENA_MAX": "1"},  # or each thread's heap would take 64 MB of the address space
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return child.stdout


@LINUX
def test_a_model_beyond_the_address_space_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    large = sparse_llama(tmp_path / "large.gguf", hidden_size=1024, vocab_size=25_000)
    said = under_a_limit(large, 180 << 20, "seeing")
    assert said.startswith("ModelTooLarge large.gguf does not fit")
    assert "it needs 11" in said


@LINUX
def test_a_real_allocation_that_fails_leaves_nothing_and_says_what_was_needed(tmp_path: Path) -> None:
    large = sparse_llama(tmp_path / "large.gguf", hidden_size=1024, vocab_size=25_000)
    said = under_a_limit(large, 180 << 20, "blind")
    assert said.startswith("OutOfMemory large.gguf needs 11")
    assert "ran out of memory while it was loaded. Everything was freed." in said


# How much is free


def system(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


MEMINFO = "MemTotal: 16000 kB\nMemAvailable:    9000 kB\n"


def test_free_memory_is_the_least_that_machine_container_and_process_allow(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None
    system(tmp_path, proc__meminfo=MEMINFO)
    assert free_memory(tmp_path) == 9000 * 1024
    system(tmp_path, proc__self__limits="Max address space   8000000   unlimited  bytes\n")
    assert free_memory(tmp_path) == 9000 * 1024, "what is used already is not known"
    system(tmp_path, proc__self__status="Name: x\nVmSize:\t1000 kB\n")
    assert free_memory(tmp_path) == 8_000_000 - 1000 * 1024
    system(tmp_path, proc__self__limits="Max address space   unlimited   unlimited  bytes\n")
    assert free_memory(tmp_path) == 9000 * 1024


@pytest.mark.parametrize("mounted_at_root", [True, False])
def test_free_memory_knows_control_groups_of_version_2(tmp_path: Path, mounted_at_root: bool) -> None:
    folder = "sys__fs__cgroup__" + ("" if mounted_at_root else "box__")
    files = {
        "proc__meminfo": MEMINFO,
        "proc__self__cgroup": "0::/box\n",
        f"{folder}memory.max": "6000000\n",
        f"{folder}memory.current": "5000000\n",
        f"{folder}memory.stat": "anon 1\ninactive_file 250000\n",
    }
    assert free_memory(system(tmp_path, **files)) == 1_250_000
    assert free_memory(system(tmp_path, **{f"{folder}memory.max": "max\n"})) == 9000 * 1024
    assert free_memory(system(tmp_path, **{f"{folder}memory.max": "1000\n"})) == 0


def test_free_memory_knows_control_groups_of_version_1(tmp_path: Path) -> None:
    folder = "sys__fs__cgroup__memory__"
    files = {
        "proc__self__cgroup": "5:cpu:/\n4:memory,hugetlb:/box\n0::/\n",
        f"{folder}memory.limit_in_bytes": "9223372036854771712\n",
        f"{folder}memory.usage_in_bytes": "5000000\n",
        f"{folder}box__memory.limit_in_bytes": "7000000\n",
        f"{folder}box__memory.usage_in_bytes": "5000000\n",
    }
    assert free_memory(system(tmp_path, **files)) == 2_000_000
