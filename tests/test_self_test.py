"""The test of kernels at load: what is right passes, what is broken is found, dropped and told; none is tried twice."""

import json
import re
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import shaderlm
from byte_sources import wait
from command_line import CommandLine
from gpu import Device
from shaderlm.engine.known_answers import KNOWN
from shaderlm.engine.self_test import dropped_variants, store_key, warning
from shaderlm.errors import UnsuitableAdapter
from shaderlm.hosts.native.store import FileStore
from shaderlm.hosts.native.thread import run_now
from shaderlm.planner import compose
from shaderlm.planner.choice import (
    ATTENTION_BROADCAST,
    ATTENTION_WORKGROUPS,
    BROADCAST,
    TEAMS,
    choose_kernels,
    variants,
)
from shaderlm.tensors import F16, Q4_0, WEIGHT_TYPES
from tiny_model import TINY, goldens

MAKE_ANSWERS = runpy.run_path(str(Path(__file__).parent / "data" / "make_known_answers.py"))


class Memory:
    """A store that remembers what it was asked."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def put(self, key: str, data: bytes) -> None:
        self.kept[key] = data


def dropped(gpu: Device, *types: Any, store: Any = None, kv_dtype: Any = "f32") -> frozenset[str]:
    return run_now(dropped_variants(gpu.gpu, store or Memory(), types, kv_dtype))


# What must be answered


def test_every_weight_type_has_a_known_answer() -> None:
    assert list(KNOWN) == list(WEIGHT_TYPES)


@pytest.mark.parametrize("name", WEIGHT_TYPES)
def test_the_known_answers_are_those_of_the_float64_reference(name: str) -> None:
    assert MAKE_ANSWERS["answer"](WEIGHT_TYPES[name]) == KNOWN[name], "run tests/data/make_known_answers.py"


@pytest.mark.parametrize("name", WEIGHT_TYPES)
def test_the_kernels_of_every_type_pass(gpu: Device, name: str) -> None:
    assert dropped(gpu, WEIGHT_TYPES[name]) == frozenset()


# Broken kernels

BREAKS = {  # a variant, its file, and what a driver might make of a line of it
    BROADCAST: (BROADCAST, "linear.scale * input_scale", "1.01 * linear.scale * input_scale"),
    "matvec, one lane a pair": ("matvec.wgsl", "linear.scale * input_scale",
                                "linear.scale * select(1.0, 1.01, TEAM == 1u) * input_scale"),
    ATTENTION_BROADCAST: ("attention_pages.wgsl", "] * factor;", "] * factor * 1.2;"),
    "attention, 8 lanes": ("attention_decode.wgsl", "heads.scale",
                           "(heads.scale * select(1.0, 1.2, WORKGROUP == 8u))"),
}  # fmt: skip


@pytest.fixture
def break_kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], None]:
    """Change a WGSL file as the driver is shown it."""
    read = compose.read_shader

    def change(file: str, old: str, new: str) -> None:
        seen = compose.read_shader(file)
        assert old in seen, f"{file} has changed: {old!r} is not there"
        changed = seen.replace(old, new)
        others = compose.read_shader
        monkeypatch.setattr(compose, "read_shader", lambda name: changed if name == file else others(name))

    yield change
    monkeypatch.setattr(compose, "read_shader", read)


@pytest.mark.parametrize("variant", BREAKS)
def test_a_variant_that_computes_wrongly_is_found_and_dropped(gpu: Device, break_kernel: Any, variant: str) -> None:
    kind = next((names for names in variants(gpu.gpu.adapter)[::-1] if variant in names[:-1]), ())
    if not kind:
        pytest.skip(f"{variant} is not what {gpu.gpu.adapter.name} would take before another")
    break_kernel(*BREAKS[variant])
    better = frozenset(kind[: kind.index(variant)])  # than this one: dropped before
    store = Memory()
    wait(store.put(store_key(gpu.gpu.adapter), json.dumps({"dropped": [*better]}).encode()))
    assert dropped(gpu, F16, store=store) == better | {variant}
    told = warning(gpu.gpu.adapter, frozenset({variant}))
    assert told is not None
    assert f"compute wrong results and are not used: {variant}." in told


def test_a_variant_that_the_driver_does_not_compile_is_dropped(gpu: Device, break_kernel: Any) -> None:
    first = variants(gpu.gpu.adapter)[0][0]
    if first == "matmul_tile.wgsl":
        pytest.skip(f"{gpu.gpu.adapter.name} has no other prefill kernel")
    break_kernel(first, "@compute", "nonsense")
    assert dropped(gpu, F16) == {first}


def test_an_adapter_on_which_nothing_is_right_is_refused(gpu: Device, break_kernel: Any) -> None:
    break_kernel("embed.wgsl", "value * gain[column];", "value * gain[column] + 0.5;")
    with pytest.raises(UnsuitableAdapter, match=r"weights in F16: after a prompt logit \d+ is .*Update its"):
        dropped(gpu, F16)


@pytest.mark.parametrize("parts", ["one part", "several parts"])
def test_attention_is_tried_in_one_part_and_in_several(gpu: Device, break_kernel: Any, parts: str) -> None:
    if parts == "several parts":
        break_kernel("attention_combine.wgsl", "= sum / total;", "= 1.5 * sum / total;")
        wrong = "after a token logit"
    else:
        break_kernel("attention_decode.wgsl", "sums[s] / total", "1.5 * sums[s] / total")
        break_kernel("attention_decode_broadcast.wgsl", "sum / number_of", "1.5 * sum / number_of")
        wrong = "after a token behind a short prompt logit"
    with pytest.raises(UnsuitableAdapter, match=wrong):
        dropped(gpu, F16)


def test_what_was_dropped_is_never_the_last_of_its_kind(gpu: Device) -> None:
    adapter = gpu.gpu.adapter
    everything_but_one = {name for names in variants(adapter) for name in names[:-1]}
    choice = choose_kernels(adapter, 512, everything_but_one)
    assert (choice.prefill_kernel, choice.team) == ("matmul_tile.wgsl", TEAMS[variants(adapter)[1][-1]][0])
    assert choice.attention_workgroup == ATTENTION_WORKGROUPS[variants(adapter)[2][-1]]


# What is kept


def test_nothing_is_tried_twice(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Memory()
    assert dropped(gpu, F16, store=store) == frozenset()
    assert json.loads(store.kept[store_key(gpu.gpu.adapter)]) == {"passed": ["F16/f32"], "dropped": []}
    tried = []
    compiled = gpu.gpu.create_pipelines
    monkeypatch.setattr(gpu.gpu, "create_pipelines", lambda kernels: (tried.extend(kernels), compiled(kernels))[1])
    assert dropped(gpu, F16, store=store) == frozenset()
    assert not tried
    dropped(gpu, F16, Q4_0, store=store)
    assert tried
    assert json.loads(store.kept[store_key(gpu.gpu.adapter)])["passed"] == ["F16/f32", "Q4_0/f32"]


@pytest.mark.parametrize("kept", [b"", b"{", b"[]", b'{"passed": 7}', b'{"passed": ["F16/f32"]}'])
def test_a_find_that_cannot_be_read_is_found_anew(gpu: Device, kept: bytes) -> None:
    store = Memory()
    store.kept[store_key(gpu.gpu.adapter)] = kept
    assert dropped(gpu, F16, store=store) == frozenset()


def test_finds_hold_for_an_adapter_its_driver_and_the_kernels(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = gpu.gpu.adapter
    keys = {store_key(adapter), store_key(replace(adapter, driver="newer")), store_key(replace(adapter, name="other"))}
    monkeypatch.setattr("shaderlm.engine.self_test.shaders_digest", lambda: "another")
    keys.add(store_key(adapter))
    assert len(keys) == 4


def test_a_folder_keeps_finds_and_a_broken_one_loses_them_quietly(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "finds")
    assert run_now(store.get("a")) is None
    run_now(store.put("a", b"1"))
    run_now(store.put("a", b"2"))
    assert run_now(FileStore(tmp_path / "finds").get("a")) == b"2"
    assert [path.name for path in (tmp_path / "finds").iterdir()] == ["a"]
    (tmp_path / "file").write_text("no folder")
    broken = FileStore(tmp_path / "file")
    run_now(broken.put("a", b"1"))
    assert run_now(broken.get("a")) is None


# Faces


def test_a_model_answers_rightly_on_what_is_left_and_says_so(
    gpu: Device, break_kernel: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    variant = variants(gpu.gpu.adapter)[0][0]
    if variant == "matmul_tile.wgsl":
        pytest.skip(f"{gpu.gpu.adapter.name} has no other prefill kernel")
    monkeypatch.setenv("SHADERLM_CACHE", str(tmp_path))
    break_kernel(variant, "linear.scale * input_scale", "-linear.scale * input_scale")
    case = goldens()["chat"]
    for _ in range(2):  # by a test, then by what the test found
        with shaderlm.load(TINY) as model:
            assert variant in model.warnings[0]
            assert model.chat(case.messages, temperature=0).text == case.text
    said = CommandLine(capsys, monkeypatch).run("complete", str(TINY), "--max-tokens", "2", "One day")
    assert re.search(rf"these kernels compute wrong results and are not used: {re.escape(variant)}", said.err)


def test_the_test_can_be_left_out(break_kernel: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHADERLM_CACHE", str(tmp_path))
    monkeypatch.setenv("SHADERLM_SELF_TEST", "off")
    with shaderlm.load(TINY) as model:
        assert model.warnings == ()
    assert not (tmp_path / "finds").exists()
