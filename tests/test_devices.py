"""`shaderlm devices`: the adapters, what each allows, and the kernels that a model would get there."""

import importlib.metadata
import json

import pytest

from command_line import MODEL, CommandLine
from shaderlm.cli import devices
from shaderlm.engine.tuning_finds import ROUNDS, Find, Finds, write_finds
from shaderlm.errors import DeviceLost
from shaderlm.hosts.native import adapters
from shaderlm.hosts.native import host as native
from shaderlm.hosts.native.thread import run_now
from shaderlm.planner.tuned import LinearShape


@pytest.fixture
def shaderlm(capsys, monkeypatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def test_devices_names_each_adapter(shaderlm):
    done = shaderlm.run("devices")
    assert done.code == 0
    for index, one in enumerate(adapters.find_adapters()):
        assert f"{index}  {one.facts.name}" in done.out
        assert one.facts.driver in done.out
        assert one.facts.backend in done.out
        assert "largest buffer" in done.out
    assert "taken unless" in done.out


def test_devices_as_json_holds_what_a_program_needs(shaderlm):
    listed = json.loads(shaderlm.run("devices", "--json").out)["adapters"]
    found = [one.facts for one in adapters.find_adapters()]
    assert [(a["index"], a["name"]) for a in listed] == [(i, facts.name) for i, facts in enumerate(found)]
    assert sum(a["default"] for a in listed) == 1
    assert [a["limits"] for a in listed] == [dict(facts.limits) for facts in found]
    assert all(set(a["features_used"]) <= set(a["features"]) for a in listed)


def test_an_adapter_that_gives_no_device_is_listed_without_kernels(shaderlm, monkeypatch):
    def refuse(found: object) -> None:
        raise DeviceLost("gave no device")

    monkeypatch.setattr(devices.native, "adapter_in_use", refuse)
    assert "kernels   none: it gives no device" in shaderlm.run("devices").out
    assert json.loads(shaderlm.run("devices", "--json").out)["adapters"][0]["kernels"] is None


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_without_an_adapter_devices_says_what_to_install(shaderlm, monkeypatch, arguments):
    monkeypatch.setattr(adapters, "find_adapters", list)
    done = shaderlm.run("devices", *arguments)
    said = json.loads(done.out)["warning"] if arguments else done.err
    assert done.code == 1
    assert "No WebGPU adapter answers" in said


@pytest.mark.parametrize(("value", "shown"), [(1 << 31, "2,147 MB"), (32768, "32,768 bytes"), (1 << 63, "unlimited")])
def test_sizes_are_told_in_words(value, shown):
    assert devices.amount("max-buffer-size", value) == shown


def test_an_answer_tells_the_adapter_and_the_kernels_that_devices_lists(shaderlm):
    answer = json.loads(shaderlm.run("complete", "--json", "--max-tokens", "1", MODEL, "Once").out)
    [adapter] = [a for a in json.loads(shaderlm.run("devices", "--json").out)["adapters"] if a["default"]]
    assert answer["provenance"] == {
        "adapter": adapter["name"],
        "backend": adapter["backend"],
        "driver": adapter["driver"],
        "version": importlib.metadata.version("shaderlm"),
        "kv_dtype": "f16",
        "arithmetic": adapter["arithmetic"],
        "kernels": adapter["kernels"],
    }
    assert f"prefill_kernel {adapter['kernels']['prefill_kernel']}, " in shaderlm.run("devices").out


# Tuning


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Finds:
    """Finds of the adapter that models are loaded on, in a cache of their own."""
    monkeypatch.setenv("SHADERLM_CACHE", str(tmp_path))
    shape = LinearShape("decode", "Q4_K", 4096, 128)
    find = Find(shape, "exact", "one", "one", {}).with_times("other", [2e-5] * ROUNDS, [5e-5] * ROUNDS)
    finds = Finds().with_find(find.with_times("worse", [9e-5], [5e-5])).with_wrong("broken")
    found = adapters.find_adapters()
    run_now(write_finds(native.open_store(), native.adapter_in_use(adapters.choose(found)), finds))
    return finds


def test_tuning_names_for_each_shape_the_variants_with_their_times_and_the_best(shaderlm, kept):
    said = [" ".join(line.split()) for line in shaderlm.run("devices", "--tuning").out.splitlines()]
    begin = said.index("decode Q4_K 4096 x 4096: other")
    assert said[begin + 1 : begin + 5] == [
        "other 20 us (20 to 20) 2.50 x the default's speed",
        "one 50 us (50 to 50) 1.00 x the default's speed",
        "worse 90 us (90 to 90) 0.56 x the default's speed",
        "not used, because it does not compile, computes wrongly or loses the device: broken",
    ]


def test_tuning_as_json_holds_all_that_is_kept(shaderlm, kept):
    listed = json.loads(shaderlm.run("devices", "--tuning", "--json").out)["adapters"]
    [adapter] = [one for one in listed if one["shapes"]]
    assert adapter["name"] == adapters.choose(adapters.find_adapters()).facts.name
    assert adapter["wrong"] == ["broken"]
    [shape] = adapter["shapes"]
    assert shape["shape"] == {"step": "decode", "type": "Q4_K", "rows": 4096, "groups": 128}
    assert (shape["default"], shape["winner"]) == ("one", "other")
    assert shape["times"]["other"] == {"median": 2e-5, "least": 2e-5, "most": 2e-5, "gain": pytest.approx(2.5)}


def test_tuning_can_be_forgotten(shaderlm, kept):
    assert "shapes forgotten: 1" in shaderlm.run("devices", "--forget-tuning").out
    assert "no finds" in shaderlm.run("devices", "--forget-tuning").out
    assert "no finds" in shaderlm.run("devices", "--tuning").out


def test_a_program_is_told_how_many_shapes_were_forgotten(shaderlm, kept):
    for forgotten in (1, 0):
        listed = json.loads(shaderlm.run("devices", "--forget-tuning", "--json").out)["adapters"]
        facts = [one.facts for one in adapters.find_adapters()]
        assert [(one["index"], one["name"]) for one in listed] == [(i, one.name) for i, one in enumerate(facts)]
        assert sum(one["forgotten"] for one in listed) == forgotten


def test_a_variant_that_is_not_used_is_named_though_no_shape_is_known(shaderlm, tmp_path, monkeypatch):
    monkeypatch.setenv("SHADERLM_CACHE", str(tmp_path))
    found = native.adapter_in_use(adapters.choose(adapters.find_adapters()))
    run_now(write_finds(native.open_store(), found, Finds().with_wrong("broken")))
    assert "loses the device: broken" in shaderlm.run("devices", "--tuning").out


def test_an_adapter_that_gives_no_device_has_no_finds(shaderlm, kept, monkeypatch):
    def refuse(found: object) -> None:
        raise DeviceLost("gave no device")

    monkeypatch.setattr(devices.native, "adapter_in_use", refuse)
    assert "it gives no device" in shaderlm.run("devices", "--tuning").out
    assert json.loads(shaderlm.run("devices", "--tuning", "--json").out)["adapters"][0]["shapes"] == []


def test_a_command_that_is_told_not_to_times_nothing(shaderlm, tmp_path, monkeypatch):
    monkeypatch.setenv("SHADERLM_CACHE", str(tmp_path))
    monkeypatch.delenv("SHADERLM_TUNING")
    done = shaderlm.run("complete", "--no-tuning", "--json", "--max-tokens", "1", MODEL, "Once")
    assert json.loads(done.out)["provenance"]["kernels"]["tuned"] == []
    assert not list(tmp_path.glob("finds/tuning-*"))
