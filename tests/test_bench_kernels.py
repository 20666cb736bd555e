"""`build.py bench kernels`: what a kernel has to do is counted right, ratios are of one round, files are left."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench import compare
from bench.kernels import __main__ as command
from bench.kernels import figures, table
from bench.kernels.__main__ import Settings, arguments, groups, place_of
from bench.kernels.binding import laid_out
from bench.kernels.ceilings import ceilings
from bench.kernels.subjects import Place, subjects
from bench.kernels.timing import in_turn
from gguf_writer import values
from gpu import Device
from plans import CPU, GPU
from shaderlm.host import Adapter
from shaderlm.planner.choice import candidates
from shaderlm.planner.tuned import LinearShape
from shaderlm.tensors import WEIGHT_TYPES, plane_offsets
from tools.steps import Stop

BOUNDS = {"bytes_per_second": 1e9, "multiply_adds_per_second": 1e10, "empty_dispatch_seconds": 1e-5}


def of(place: Place, *types: str, rows: tuple[int, ...] = (1,), adapter: Adapter = CPU, every: bool = False) -> Any:
    kinds = [WEIGHT_TYPES[name] for name in types]
    return list(subjects([place], kinds, rows, adapter, every_variant=types if every else ()))


def figure(kind: str, seconds: list[float], **changes: Any) -> dict[str, Any]:
    facts = {
        "name": f"here, {kind}, decode 1, a kernel",
        "place": "here",
        "shape": "2x2",
        "type": kind,
        "mode": "decode",
        "rows": 1,
        "variant": "a kernel",
        "kernels": ["a"],
        "dispatches": 1,
        "bytes": 1_000_000,
        "multiply_adds": 2_000_000,
    }
    return figures.figure_of(
        {**facts, **changes}, seconds, {name: [each] * len(seconds) for name, each in BOUNDS.items()}
    )


# What is timed


@pytest.mark.parametrize(
    ("operation", "shape"),
    [
        ("qkv", (960, 576)),
        ("output", (576, 576)),
        ("gate+up", (3072, 576)),
        ("down", (576, 1536)),
        ("logits", (49152, 576)),
    ],
)
def test_shapes_are_those_of_smollm2(operation, shape):
    [found] = of(Place("135M", operation), "Q4_0")
    assert found.size == shape
    assert found.bytes_read == shape[0] * shape[1] // 32 * 18
    assert found.multiply_adds == shape[0] * shape[1]
    assert [each.kernel.source.label for each in found.dispatches] == found.kernels


def test_every_variant_that_may_be_chosen_is_timed_with_the_default_first():
    for adapter, defaults in ((CPU, {"matmul_broadcast.wgsl"}), (GPU, {"matvec, 16 lanes a pair", "matmul_tile.wgsl"})):
        found = of(Place("135M", "qkv"), "Q4_0", rows=(1, 64), adapter=adapter, every=True)
        for step, rows in (("decode", 1), ("prefill", 64)):
            here = [each for each in found if each.rows == (step, rows)]
            asked = tuple(each.variant for each in here)
            assert asked == candidates(adapter, LinearShape(step, "Q4_0", 960, 18))
            assert asked[0] in defaults
            codes = {each.dispatches[0].kernel.source.code for each in here}
            assert len(codes) == len(asked), "a variant was not taken"


def test_attention_reads_keys_and_values_once_and_sees_what_each_row_may():
    decode, prefill = of(Place("135M", "attention", 512), rows=(1, 4, 64))
    assert decode.bytes_read == prefill.bytes_read == 512 * 2 * 3 * 64 * 2
    assert decode.multiply_adds == 2 * 9 * 64 * 512
    assert prefill.multiply_adds == 2 * 9 * 64 * sum(range(512 - 63, 513))
    assert len(decode.dispatches) == 2  # splits, and joining them
    assert of(Place("135M", "attention", 16), rows=(64,)) == []


def test_a_large_weight_counts_in_all_its_parts():
    """28,672 x 4,096 in F32 are more than a binding takes."""
    [found] = of(Place("8B", "gate+up"), "F32")
    assert len(found.dispatches) > 1
    assert found.size == (28672, 4096)


def test_types_whose_blocks_do_not_fill_a_row_are_left_out():
    settings = Settings(types=("Q4_0", "Q4_K"), places=("135M:qkv", "135M:down"))
    found = [[each.weight_type.name for each in group if each.rows == ("decode", 1)] for group in groups(settings, CPU)]
    assert found == [["Q4_0"], ["Q4_0", "Q4_K"]]


def test_by_itself_every_type_is_measured_once():
    first, *others = groups(Settings(), CPU)
    assert {each.weight_type.name for each in first} == set(WEIGHT_TYPES)
    assert {each.variant for each in first} > {"matmul_tile.wgsl", "matmul_broadcast.wgsl"}
    assert [str(each[0].place) for each in others][-2:] == ["135M attention 512", "135M attention 2048"]


@pytest.mark.parametrize("text", ["135M", "2B:qkv", "8B:norm", "8B:attention", "8B:attention:all", "135M:qkv:512"])
def test_a_place_that_there_is_not_is_told(text):
    with pytest.raises(Stop, match="is no place"):
        place_of(text)


@pytest.mark.parametrize("name", WEIGHT_TYPES)
def test_weights_are_ordinary_values_in_planes(name):
    """Put together out of its planes, a weight is what `gguf` decodes to values of a trained weight's size."""
    kind = WEIGHT_TYPES[name]
    [subject] = of(Place("1B", "output"), name)
    spec = subject.blueprint.specs(subject.deployment)["blk.0.attn_output.weight"]
    spec = replace(spec, rows=(8,))
    data = laid_out(spec)
    assert len(data) == spec.resident_bytes
    n = 8 * 2048 // kind.block
    parts = [
        np.frombuffer(data, np.uint8, n * plane.size, start).reshape(n, plane.size)
        for plane, start in zip(kind.planes, plane_offsets(kind, n), strict=False)
    ]
    blocks = np.zeros((n, kind.bytes), np.uint8)
    for plane, part in zip(kind.planes, parts, strict=True):
        blocks[:, plane.offset : plane.offset + plane.size] = part
    found = values(blocks.reshape(8, -1), name)
    assert np.isfinite(found).all()
    assert 0.001 < found.std() < 1


# What the samples say


def test_the_roofline_is_dispatches_and_the_slower_of_bytes_and_arithmetic():
    assert figures.least_seconds(figure("Q4_0", [1.0]), BOUNDS) == pytest.approx(1e-5 + 1e-3)
    busy = figure("Q4_0", [1.0], multiply_adds=10**9, dispatches=3)
    assert figures.least_seconds(busy, BOUNDS) == pytest.approx(3e-5 + 0.1)
    assert figure("Q4_0", [0.00202, 0.0101])["share"] == pytest.approx({"median": 0.3, "low": 0.1, "high": 0.5})
    assert figure("Q4_0", [1.0])["bound_by"] == "bytes"
    assert busy["bound_by"] == "arithmetic"
    assert figure("Q4_0", [1.0], bytes=10, multiply_adds=10)["bound_by"] == "dispatch"


def test_types_are_held_against_q4_0_of_the_same_round():
    standard = figure("Q4_0", [1.0, 10.0, 1.0])
    half = figure("Q2_K", [1.0, 10.0, 1.0], bytes=500_000)
    slow = figure("IQ1_S", [1.2, 12.0, 1.2], bytes=500_000)
    elsewhere = figure("Q2_K", [9.0, 9.0, 9.0], place="there")
    found = {each["type"]: each for each in figures.types_of([standard, half, slow, elsewhere])}
    assert {name: each["slow"] for name, each in found.items()} == {"Q4_0": False, "Q2_K": False, "IQ1_S": True}
    assert found["Q2_K"]["bytes"] == {"median": 0.5, "low": 0.5, "high": 0.5}
    assert found["IQ1_S"]["values"]["median"] == pytest.approx(1 / 1.2)
    assert found["IQ1_S"]["bits"] == 2


def test_on_a_software_adapter_types_are_held_by_the_processors_time():
    standard = {**figure("Q4_0", [1.0, 9.0]), "busy": [1.0, 1.0]}
    disturbed = {**figure("Q2_K", [9.0, 1.0]), "busy": [2.0, 2.0]}
    assert [each["values"]["median"] for each in figures.types_of([standard, disturbed])] == [1.0, 0.5]


def test_each_round_is_begun_by_another():
    assert [in_turn(4, number, 2) for number in range(2)] == [[0, 1, 2, 3], [2, 3, 0, 1]]
    assert {in_turn(30, number, 5)[0] for number in range(5)} == {0, 6, 12, 18, 24}


# On a device


def test_the_bounds_of_an_adapter_are_positive_and_the_sums_are_as_many_as_are_counted(gpu: Device):
    async def measured() -> dict[str, float]:
        return {each.name: await each.sample() for each in await ceilings(gpu.gpu, 0.001, copy_bytes=1 << 20)}

    found = asyncio.run(measured())
    assert found.keys() == BOUNDS.keys()
    assert all(value > 0 for value in found.values())
    text = (command.ROOT / "bench/kernels/multiply_adds.wgsl").read_text()
    assert text.count("fma(") == 2 * 8  # of four values each: SUMS * UNROLLED


def test_a_run_leaves_figures_a_table_and_plots_that_can_be_compared(capsys, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib", reason="plots need the extra `bench`")
    target = tmp_path / "kernels.json"
    words = ["--types=Q4_0,IQ3_S", "--places=135M:down,135M:attention:32", "--rows=1,32", "--rounds=3"]
    asyncio.run(command.measure(arguments([*words, "--milliseconds=1", f"--output={target}"])))
    found = json.loads(target.read_text())
    assert [(each["place"], each["type"], each["rows"]) for each in found["figures"]] == [
        ("135M down", "Q4_0", 1), ("135M down", "Q4_0", 32), ("135M down", "IQ3_S", 1), ("135M down", "IQ3_S", 32),
        ("135M attention 32", "", 1), ("135M attention 32", "", 32),
    ]  # fmt: skip
    assert all(len(each["samples"]) == 3 and each["seconds"]["low"] > 0 for each in found["figures"])
    assert all(("busy" in each) == (found["adapter"]["kind"] == "software") for each in found["figures"])
    assert [(each["type"], each["rows"]) for each in found["types"]] == [
        ("Q4_0", 1), ("Q4_0", 32), ("IQ3_S", 1), ("IQ3_S", 32)
    ]  # fmt: skip
    assert found["adapter"]["name"] in target.with_suffix(".md").read_text()
    assert capsys.readouterr().out == table.markdown(found)
    assert target.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "multiply-adds" in target.with_suffix(".svg").read_text()
    assert compare.main([str(target), str(target)]) == 0
    assert "share of the roofline" in capsys.readouterr().out
    assert list(compare.options_of(found["settings"])) == [
        "--rounds=3", "--milliseconds=1.0", "--rows=1,32", "--types=Q4_0,IQ3_S", "--places=135M:down,135M:attention:32"
    ]  # fmt: skip
