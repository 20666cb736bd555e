"""`shaderlm bench`: what it counts is what a step takes, and its figures say where they come from."""

import asyncio
import json
from pathlib import Path

import pytest

import shaderlm as package
from bench.kernels import table as kernels_table
from bench.peers import table
from bench.shapes import table as shapes_table
from command_line import MODEL, CommandLine
from shaderlm.cli import loading, measuring, report, starting
from shaderlm.cli.measuring import Settings, Spread
from shaderlm.core import Core
from shaderlm.engine.counting import counted
from shaderlm.errors import ShaderLMError
from shaderlm.host import Adapter
from shaderlm.tensors import WEIGHT_TYPES
from tiny_model import TINY

RESULTS = Path(__file__).resolve().parent.parent / "bench"
LAYERS = 4
SHORT = ("--prompt-tokens", "20", "--tokens", "4", "--runs", "2")


@pytest.fixture
def shaderlm(capsys, monkeypatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Samples that are too short to be good figures, but say whether they are taken."""
    monkeypatch.setattr(measuring, "COPY_BYTES", 1 << 20)
    monkeypatch.setattr(measuring, "COPY_SECONDS", 0.001)
    monkeypatch.setattr(measuring, "TICKING", 0.1)


def test_the_figures_are_complete_and_say_where_they_come_from(shaderlm):
    done = shaderlm.run("bench", *SHORT, "--json", "-", MODEL)
    found = json.loads(done.out)
    assert done.code == 0
    assert found["model"]["file"] == "tiny.gguf"
    assert found["adapter"]["name"] in done.err
    assert set(found["adapter"]) == {"name", "kind", "backend", "driver"}
    assert set(found["versions"]) == {"shaderlm", "wgpu", "python", "system"}
    assert found["kernels"]["prefill_kernel"].endswith(".wgsl")
    assert found["settings"] == {
        "prompt_tokens": 20,
        "tokens": 4,
        "runs": 2,
        "kv_cache": True,
        "prefix_reuse": True,
    }
    results = found["results"]
    for name in ("time_to_first_token", "prefill_tokens", "decode_tokens", "next_turn_first_token", "copy_bytes"):
        assert 0 < results[name]["low"] <= results[name]["median"] <= results[name]["high"]
    for name in ("load_seconds", "first_answer_seconds", "copy_share", "ticks"):
        assert results[name] > 0
    assert 0 <= results["ticker_late_p99"] <= results["ticker_late_max"]


def test_a_decode_step_is_one_pass_and_a_few_bytes(shaderlm):
    step = json.loads(shaderlm.run("bench", *SHORT, "--json", "-", MODEL).out)["results"]["step"]
    assert (step["passes"], step["submits"], step["bind_groups"]) == (1, 1, 0)
    assert 5 * LAYERS < step["dispatches"] <= 6 * LAYERS + 5
    assert step["bytes_written"] <= 64
    assert step["bytes_read"] == 16
    assert step["host_microseconds"] > 0


def test_without_a_cache_a_token_takes_a_whole_prefill(shaderlm):
    done = shaderlm.run("bench", *SHORT, "--no-kv-cache", "--no-prefix-reuse", MODEL)
    assert done.code == 0
    assert "without a KV cache, without prefix reuse" in done.out
    found = json.loads(shaderlm.run("bench", *SHORT, "--no-kv-cache", "--json", "-", MODEL).out)
    assert found["results"]["step"]["bytes_written"] > 64  # the prompt, every time


def test_the_table_has_a_line_for_each_figure(shaderlm, tmp_path):
    file = tmp_path / "figures.json"
    done = shaderlm.run("bench", *SHORT, "--json", str(file), MODEL)
    rows = list(report.rows(json.loads(file.read_text())))
    assert len(rows) == 18
    for what, figure, _, unit in rows:
        assert any(line.startswith(what) and figure in line and line.endswith(unit) for line in done.out.splitlines())
    assert f"The figures are in {file}" in done.err
    assert done.out.startswith("tiny.gguf on ")


def test_a_start_is_told_stage_by_stage(shaderlm, tmp_path):
    file = tmp_path / "start.json"
    done = shaderlm.run("bench", "--start", "--runs", "1", "--json", str(file), MODEL)
    assert done.code == 0, done.err
    found = json.loads(file.read_text())
    assert {"model", "adapter", "versions", "cpus", "load_average", "settings"} <= found.keys()
    results = found["results"]
    stages = results["stages"]
    assert {"Python", "import", "adapter", "device", "header", "tokenizer", "self-test", "plans", "weights"} < set(
        stages
    )
    parts = ("Python", "import", "load", "first token")
    assert sum(stages[name]["median"] for name in parts) == pytest.approx(results["total"]["median"], rel=0.05)
    for name in ("weights", "read", "upload", "weights_ratio", "weights_cpu_ratio", "everything_else", "cpu"):
        assert results[name]["median"] > 0
    for what, figure, _, unit in starting.rows(results):
        assert any(line.startswith(what) and figure in line and line.endswith(unit) for line in done.out.splitlines())


def test_a_start_that_fails_is_told(monkeypatch):
    monkeypatch.setattr(starting, "CHILD", "raise SystemExit('no memory left')")
    place = loading.Place(str(TINY), Adapter("a", "software", "Vulkan"), 0, None, "f16", "exact", tuning=True)
    with pytest.raises(ShaderLMError, match=r"should have loaded .*tiny.gguf ended: no memory left"):
        starting.measure(place, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--runs", "0"], "--runs: must be at least 1"),
        (["--tokens", "1"], "--tokens: must be at least 2"),
        (["--prompt-tokens", "500"], "the context has 512"),
        ([MODEL], "a word too many"),
    ],
)
def test_what_cannot_be_measured_is_told(shaderlm, arguments, said):
    done = shaderlm.run("bench", MODEL, *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_counters_see_every_call_and_go_away_again(tiny):
    async def gpu_of(core: Core) -> object:
        return core.gpu

    gpu = tiny.run_on_engine(gpu_of)
    with counted(gpu) as calls:
        tiny.complete([1, 2, 3], max_tokens=5, reuse_prefix=False, logit_bias={0: float("-inf"), 2: float("-inf")})
    assert calls.passes >= 5
    assert calls.dispatches > 4 * 5 * LAYERS
    assert calls.bytes_written > 0
    assert calls.submit_seconds >= calls.submit_cpu_seconds * 0.5
    assert not {"submit", "write_buffer", "copy_buffer", "read_buffer", "create_bind_group"} & set(vars(gpu))


def test_a_step_reads_every_weight_and_every_key_and_value(tiny):
    async def engine_of(core: Core) -> object:
        return core.engine

    engine = tiny.run_on_engine(engine_of)
    weights = sum(weight.size for weight in engine.weights.values())
    per_position = sum(2 * 4 * layer.n_kv_heads * layer.head_dim for layer in engine.model.layers)
    assert measuring.bytes_read_by_step(engine, 10) == weights + 10 * per_position


def test_a_second_turn_computes_what_is_not_known():
    async def rows(model: package.AsyncModel, settings: Settings) -> int:
        async def computed(core: Core) -> int:
            return core.engine.rows_computed

        before = await model.run_on_engine(computed)
        await measuring.next_turn(model, settings)
        return await model.run_on_engine(computed) - before

    async def both() -> tuple[int, int]:
        async with await package.load_async(TINY) as model:
            anew = await rows(model, Settings(prompt_tokens=100, tokens=4, prefix_reuse=False))
            return anew, await rows(model, Settings(prompt_tokens=100, tokens=4))

    first = 100 + 4 - 1
    anew, known = asyncio.run(both())
    assert anew == first + 104 + measuring.NEW_TOKENS
    assert known == first + 1 + measuring.NEW_TOKENS  # the answer's last token had not been computed


def test_medians_and_percentiles():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert measuring.percentile([float(i) for i in range(1, 101)], 0.99) == 99.0
    assert measuring.percentile([5.0], 0.99) == 5.0


def is_of_a_browser(found):
    assert {"browser", "cores", "model", "adapter", "load_average_before", "load_average_after"} <= found.keys()
    for row in found["start_up_ms"].values():
        assert min(row["all"]) <= row["median"] <= max(row["all"])
    assert found["frames"] > 100
    assert found["frame_ms_p95"] < 50


def is_beside_peers(found):
    assert table.markdown(found).startswith(f"# {found['model']['file']} on ")
    assert len(found["figures"]) > 0


def is_of_our_own(found):
    assert len(report.conditions(found)) == 4
    assert len(list(report.rows(found))) == 18


def is_of_starts(found):
    assert len(starting.conditions(found)) == 4
    assert len(list(starting.rows(found["results"]))) > 15


def is_of_kernels(found):
    assert kernels_table.markdown(found).startswith(f"# Kernels on {found['adapter']['name']}")
    assert {each["type"] for each in found["types"]} == set(WEIGHT_TYPES)


def is_of_shapes(found):
    assert shapes_table.markdown(found).startswith(f"# Models with random weights on {found['adapter']['name']}")
    assert any("step" in model for model in found["models"])


KINDS = {
    "browser": is_of_a_browser,
    "kernels": is_of_kernels,
    "peers": is_beside_peers,
    "results": is_of_our_own,
    "shapes": is_of_shapes,
    "start": is_of_starts,
}
COMMITTED = sorted(RESULTS.glob("results/**/*.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_figures_can_be_read_and_frames_of_browsers_stay_short(path):
    KINDS[path.parent.name](json.loads(path.read_text(encoding="utf-8")))


def test_browsers_were_measured():
    assert "browser" in {path.parent.name for path in COMMITTED}
