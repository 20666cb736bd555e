"""`build.py bench --compare`: a change is what lies beyond the spread of both runs."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from bench import compare
from shaderlm.cli.measuring import Spread

BENCH = Path(__file__).resolve().parent.parent / "bench/results/lavapipe-smollm2-q4_1.json"


def spread(median: float, low: float, high: float) -> dict[str, float]:
    return {"median": median, "low": low, "high": high}


def of_peers(ratio: dict[str, float], ours: dict[str, float], *, rounds: int = 3) -> dict[str, Any]:
    """A comparison of one figure, as bench --peers writes it, as far as compare reads it."""
    samples = {"shaderlm exact": [1.0] * rounds, "llama.cpp CPU": [1.0] * rounds}
    return {
        "shaderlm": "peers",
        "model": {"file": "m.gguf", "bytes": 1},
        "adapter": "llvmpipe",
        "settings": {"rounds": rounds, "prefill": [16], "decode": [16]},
        "ours": ["shaderlm exact"],
        "peers": ["llama.cpp CPU"],
        "engines": [{"name": "shaderlm exact", "versions": {"shaderlm": "1"}}],
        "figures": [
            {
                "name": "decode at 16",
                "unit": "tokens/s",
                "better": "more",
                "samples": samples,
                "spread": {"shaderlm exact": ours},
                "ratios": {"shaderlm exact": {"llama.cpp CPU": ratio}},
            }
        ],
    }


@pytest.fixture
def bench() -> dict[str, Any]:
    return dict(json.loads(BENCH.read_text(encoding="utf-8")))


def written(folder: Path, name: str, report: dict[str, Any]) -> str:
    (folder / name).write_text(json.dumps(report))
    return str(folder / name)


@pytest.mark.parametrize(
    ("a", "b", "beyond"),
    [
        ((10, 9, 11), (10, 9, 11), False),
        ((10, 9, 11), (12, 10, 14), False),  # they overlap
        ((10, 9, 11), (12, 11.5, 12.5), False),  # apart, but no further than 9 and 11 are
        ((10, 9, 11), (13, 12, 14), True),
        ((13, 12, 14), (10, 9, 11), True),
        ((10, 10, 10), (10.1, 10.1, 10.1), True),
    ],
)
def test_a_change_lies_beyond_both_spreads(a, b, beyond):
    assert compare.beyond_spread(Spread(*a), Spread(*b)) is beyond


def verdicts(base: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    return {change.name: change.verdict for change in compare.changes(base, new)}


def test_rates_and_times_of_bench_are_judged_counts_are_told(bench):
    new = copy.deepcopy(bench)
    for name in ("decode_tokens", "time_to_first_token"):
        new["results"][name] = {key: 2 * value for key, value in bench["results"][name].items()}
    new["results"]["step"]["dispatches"] *= 1.05
    found = verdicts(bench, new)
    assert found["decode_tokens"] == "better"
    assert found["time_to_first_token"] == "worse"
    assert found["prefill_tokens"] == "within the spread"
    assert found["dispatches per step"] == "not judged"
    text = "\n".join(compare.lines(bench, new, compare.changes(bench, new)))
    assert "dispatches per step" in text
    assert "+5.0 %  (not judged)" in text


def test_two_runs_are_too_few_to_judge_by(bench):
    new = copy.deepcopy(bench)
    new["settings"]["runs"] = 2
    new["results"]["decode_tokens"] = spread(1, 1, 1)
    assert verdicts(bench, new)["decode_tokens"] == "not judged"


def test_of_peers_the_ratios_are_judged_not_the_machine():
    base = of_peers(spread(2, 1.9, 2.1), spread(100, 99, 101))
    busy = of_peers(spread(2, 1.9, 2.1), spread(50, 49, 51))
    slower = of_peers(spread(1, 0.95, 1.05), spread(100, 99, 101))
    name = "decode at 16: shaderlm exact"
    assert verdicts(base, busy) == {f"{name} / llama.cpp CPU": "within the spread", f"{name}, tokens/s": "not judged"}
    assert verdicts(base, slower)[f"{name} / llama.cpp CPU"] == "worse"
    assert verdicts(slower, base)[f"{name} / llama.cpp CPU"] == "better"


def test_the_exit_status_is_1_where_something_became_slower(capsys, tmp_path):
    base = written(tmp_path, "base.json", of_peers(spread(2, 1.9, 2.1), spread(100, 99, 101)))
    slower = written(tmp_path, "slower.json", of_peers(spread(1, 0.95, 1.05), spread(100, 99, 101)))
    assert compare.main([base, base]) == 0
    assert "nothing became worse beyond the spread" in capsys.readouterr().err
    assert compare.main([slower, base]) == 0
    assert compare.main([base, slower]) == 1
    assert "worse beyond the spread: decode at 16: shaderlm exact / llama.cpp CPU" in capsys.readouterr().err


def test_what_changed_around_the_figures_is_told():
    base = of_peers(spread(2, 1.9, 2.1), spread(100, 99, 101))
    new = copy.deepcopy(base)
    new["engines"][0]["versions"]["shaderlm"] = "2"
    new["figures"][0]["ratios"] = {}
    text = "\n".join(compare.lines(base, new, compare.changes(base, new)))
    assert "shaderlm exact.shaderlm: 1 -> 2" in text
    assert "only in the first: decode at 16: shaderlm exact / llama.cpp CPU" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"adapter": "another"}, "they differ in adapter: llvmpipe and another"),
        ({"model": {"file": "n.gguf", "bytes": 1}}, "they differ in model"),
        ({"settings": {"rounds": 3, "prefill": [99], "decode": [16]}}, "they differ in settings"),
    ],
)
def test_runs_of_different_things_are_not_compared(capsys, tmp_path, change, said):
    base = of_peers(spread(2, 1.9, 2.1), spread(100, 99, 101))
    files = written(tmp_path, "base.json", base), written(tmp_path, "new.json", base | change)
    assert compare.main([*files]) == 2
    assert said in capsys.readouterr().err


def test_any_number_of_rounds_compares():
    base = of_peers(spread(2, 1.9, 2.1), spread(100, 99, 101))
    assert compare.changes(base, of_peers(spread(2, 1.9, 2.1), spread(100, 99, 101), rounds=7))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"shaderlm": "bench"}', '{"shaderlm": "0.1.0"}'])
def test_a_file_that_is_no_report_is_told(capsys, tmp_path, text):
    (tmp_path / "odd.json").write_text(text)
    assert compare.main([str(tmp_path / "odd.json"), str(BENCH)]) == 2
    assert "odd.json cannot be read as figures" in capsys.readouterr().err


def test_without_a_second_file_only_the_default_model_is_measured(capsys, tmp_path):
    base = written(tmp_path, "base.json", of_peers(spread(2, 1.9, 2.1), spread(100, 99, 101)))
    assert compare.main([base]) == 2
    assert "the first run is of m.gguf" in capsys.readouterr().err
    assert compare.main([]) == 2
