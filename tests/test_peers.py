"""`build.py bench --peers`: rounds alternate, ratios are of neighbours, what fails is told; ours keeps the protocol."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.peers import __main__ as command
from bench.peers import figures, table
from bench.peers.engines import ROOT, Engine, EngineFailed, Process, command_of, peers
from bench.peers.figures import Figures
from bench.peers.report import Absent, Conditions, file_name, report, write
from bench.peers.rounds import STEPS, Seat, Settings, in_turn, measure, run, start, steps_within
from shaderlm.cli.measuring import prompt
from tiny_model import TINY
from tools.site.node import Node
from tools.steps import Stop

OURS, PEER = Engine("ours", "shaderlm"), Engine("peer", "llama.cpp", {"gpu": "vulkan"})
SHORT = Settings(rounds=3, prefill=(16, 128), decode=(16, 256))


class Scripted:
    """An engine that takes the time it was told to take, and writes down what it was asked."""

    def __init__(self, seconds: float, log: list[str], name: str, *, fails_at: int | None = None) -> None:
        self.started = time.perf_counter()
        self.seconds, self.log, self.name, self.fails_at = seconds, log, name, fails_at

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        self.log.append(self.name)
        if self.fails_at is not None and self.log.count(self.name) > self.fails_at:
            raise EngineFailed("the lights went out")
        if do == "load":
            facts = {"adapter": "A (B)", "backend": "Vulkan", "driver": "D", "versions": {self.name: "1"}}
            return {"seconds": self.seconds, **facts}
        if do == "answer":
            n, steps = len(what["tokens"]), what["steps"]
            return {"first_token_seconds": n * self.seconds, "decode_seconds": steps * self.seconds, "drawn": n}
        return {"keep": {"seconds": self.seconds}, "memory": {"gpu_bytes": 1000}}[do]

    def close(self) -> None:
        self.log.append(f"{self.name} closed")


def ids(n: int) -> list[int]:
    return prompt(1000, n)


def started(engine: Engine, process: Scripted, found: Figures, settings: Settings = SHORT) -> Seat:
    seat = Seat(engine, process)
    start(seat, settings, ids, {"model": "m"}, Path("states"), found)
    return seat


# Rounds


def test_contexts_that_are_no_lengths_of_prompts_are_kept():
    usual = Settings()
    assert (usual.prefill, usual.decode) == ((16, 128, 512), (16, 512, 2048))
    assert (usual.kept, usual.longest, usual.first) == ((2048,), 2048, 128)
    assert SHORT.kept == (256,)
    alike = Settings(prefill=(8, 64), decode=(8, 64))
    assert (alike.kept, alike.longest, alike.first) == ((), 64, 64)


def test_each_round_is_begun_by_another_engine():
    seats = [Seat(Engine(name, "llama.cpp"), Scripted(1, [], name)) for name in "abc"]
    orders = ["".join(seat.name for seat in in_turn(seats, number)) for number in range(4)]
    assert orders == ["abc", "bca", "cab", "abc"]


def test_decoding_takes_about_two_seconds_within_bounds():
    assert [steps_within(2.0, rate) for rate in (0.5, 10, 1000)] == [STEPS[0], 20, STEPS[1]]


def test_rounds_alternate_and_give_every_figure_a_sample(monkeypatch):
    monkeypatch.setattr("bench.peers.rounds.PAUSE", 0)
    log: list[str] = []
    found = Figures()
    seats = [
        started(OURS, Scripted(0.001, log, "ours"), found),
        started(PEER, Scripted(0.002, log, "peer"), found),
    ]
    log.clear()
    assert list(run(seats, SHORT, ids, found, lambda *_: None)) == [1, 2, 3]
    asked = 3  # 16, 128 and 256 tokens
    assert log == [
        name for names in ("ours peer", "peer ours", "ours peer") for name in names.split() for _ in range(asked)
    ]
    told = {figure["name"]: figure for figure in found.report(["ours"], ["peer"])}
    assert list(told) == [
        "prefill, 16 tokens",
        "prefill, 128 tokens",
        "decode at 16",
        "decode at 256",
        "first token, 128 tokens",
        "start to first token, 128 tokens",
        "load",
        "GPU bytes at 256",
    ]
    for name in (
        "prefill, 16 tokens",
        "prefill, 128 tokens",
        "decode at 16",
        "decode at 256",
        "first token, 128 tokens",
    ):
        assert {engine: len(samples) for engine, samples in told[name]["samples"].items()} == {"ours": 3, "peer": 3}
        assert told[name]["ratios"]["ours"]["peer"]["median"] == pytest.approx(2)
    assert told["decode at 256"]["spread"]["ours"]["median"] == pytest.approx(1000)
    assert told["load"]["ratios"]["ours"]["peer"] == {"median": 2, "low": 2, "high": 2}
    assert told["GPU bytes at 256"]["ratios"]["ours"]["peer"]["median"] == 1


def test_fast_arithmetic_that_is_exact_on_an_adapter_is_left_out():
    seat = Seat(Engine("shaderlm fast", "shaderlm", {"arithmetic": "fast"}), Scripted(1, [], "fast"))
    seat.facts |= {"adapter": "a CPU", "arithmetic": "fast"}
    command.computes_as_asked(seat)
    seat.facts["arithmetic"] = "exact"
    with pytest.raises(EngineFailed, match="on a CPU fast arithmetic computes by the same kernels as exact"):
        command.computes_as_asked(seat)


def test_an_engine_that_fails_is_out_from_there_on(monkeypatch):
    monkeypatch.setattr("bench.peers.rounds.PAUSE", 0)
    found, log = Figures(), []
    seats = [started(OURS, Scripted(0.001, log, "ours"), found), started(PEER, Scripted(0.002, log, "peer"), found)]
    seats[1].process = Scripted(0.002, [], "peer", fails_at=4)
    told: list[str] = []
    assert list(run(seats, SHORT, ids, found, lambda number, seat, _: told.append(seat.name))) == [1, 2, 3]
    assert told == ["ours", "peer", "peer", "ours", "ours"]
    assert (seats[0].out, seats[1].out) == ("", "the lights went out (in round 2)")
    counts = {name: len(figure.samples["peer"]) for name, figure in found.all.items()}
    assert (counts["decode at 16"], counts["decode at 256"]) == (2, 1)  # what it had measured stays
    made = report(Conditions.now(TINY, SHORT), seats, found, [], rounds_done=3)
    assert made["absent"] == [{"engine": "peer", "why": "the lights went out (in round 2)"}]


# Figures


def test_ratios_are_of_samples_of_the_same_round():
    found = Figures()
    for ours, peer in ((10, 5), (40, 10), (30, 10)):  # the machine was slow at first
        found.add(figures.decode(16), "ours", ours)
        found.add(figures.decode(16), "peer", peer)
        found.add(figures.first_token(16), "ours", ours)
        found.add(figures.first_token(16), "peer", peer)
    rates, times = found.report(["ours"], ["peer", "another"])
    assert rates["ratios"] == {"ours": {"peer": {"median": 3, "low": 2, "high": 4}}}
    assert times["ratios"]["ours"]["peer"] == {"median": 1 / 3, "low": 0.25, "high": 0.5}  # less is better
    assert rates["spread"]["ours"] == {"median": 30, "low": 10, "high": 40}


def test_figures_are_shown_with_three_digits():
    assert [figures.shown(value, "") for value in (12345, 123.4, 12.34, 1.234)] == ["12,345", "123", "12.3", "1.23"]
    assert figures.shown(92_100_000, "bytes") == "92.1 MB"
    assert figures.shown_spread({"median": 2, "low": 1, "high": 30}, "") == "2.00 (1.00 to 30.0)"
    assert figures.shown_spread({"median": 2, "low": 2, "high": 2}, "s") == "2.00"


def test_the_report_says_what_was_measured_with_what(monkeypatch, tmp_path):
    monkeypatch.setattr("bench.peers.rounds.PAUSE", 0)
    found, log = Figures(), []
    seats = [started(OURS, Scripted(0.001, log, "ours"), found), started(PEER, Scripted(0.002, log, "peer"), found)]
    list(run(seats, SHORT, ids, found, lambda *_: None))
    made = report(Conditions.now(TINY, SHORT), seats, found, [Absent("third", "no npm")], rounds_done=3)
    target = tmp_path / "deep" / "figures.json"
    write(target, json.dumps(made))
    made = json.loads(target.read_text())
    assert (made["shaderlm"], made["ours"], made["peers"]) == ("peers", ["ours"], ["peer"])
    assert made["model"] == {"file": "tiny.gguf", "bytes": TINY.stat().st_size}
    assert set(made["load_average"]) == {"before", "after"}
    assert made["settings"] == {"rounds": 3, "prefill": [16, 128], "decode": [16, 256], "kv_dtype": "f16"}
    for engine in made["engines"]:
        assert {"name", "adapter", "driver", "backend", "versions", "decode_steps", "warm_up_seconds"} <= set(engine)
        assert engine["drawn"] == {"16": 16, "128": 128, "256": 256}
    text = table.markdown(made)
    for figure in made["figures"]:
        assert text.count(f"| {figure['name']} |") == 2  # a row of figures, and one of ratios
    assert "Without third: no npm" in text


def test_files_are_called_by_adapter_and_model():
    assert (
        file_name("llvmpipe (LLVM 15.0.6, 256 bits)", Path("m/SmolLM2-135M.Q4_1.gguf")) == "llvmpipe-smollm2-135m-q4_1"
    )


def test_committed_comparisons_can_be_read():
    for path in (ROOT / "bench/results/peers").glob("*.json"):
        made = json.loads(path.read_text(encoding="utf-8"))
        assert path.with_suffix(".md").read_text(encoding="utf-8") == table.markdown(made)
        assert path.with_suffix(".svg").exists()
        assert path.with_suffix(".png").exists()


# Packages


def test_the_peers_are_pinned_by_hash_without_addresses_and_bring_no_other_scripts():
    folder = ROOT / "bench/peers"
    lock = json.loads((folder / "package-lock.json").read_text())
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert not [name for name, entry in packages.items() if "integrity" not in entry]
    assert [name for name, entry in packages.items() if entry.get("hasInstallScript")] == [
        "node_modules/node-llama-cpp"
    ]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    settings = (folder / ".npmrc").read_text().splitlines()
    assert {"omit-lockfile-registry-resolved=true", "omit=optional"} <= set(settings)


def test_without_packages_there_is_nothing_to_measure(monkeypatch, capsys):
    def no_network() -> None:
        raise Stop("npm could not fetch what is needed")

    monkeypatch.setattr(command, "fetch_peers", no_network)
    monkeypatch.setattr(sys, "argv", ["bench.peers", str(TINY)])
    assert command.main() == 1
    assert "npm could not fetch" in capsys.readouterr().err


def test_a_peer_that_does_not_start_is_left_out_and_the_last_one_missed(monkeypatch, capsys):
    def start_of(engine: Engine, node: str, modules: Path) -> list[str]:
        own = command_of(engine, node, modules)
        return own if engine.ours else [sys.executable, "-c", "import sys; sys.exit('no such backend')"]

    monkeypatch.setattr(command, "fetch_peers", lambda: Node("node", ("npm",)))
    monkeypatch.setattr(command, "command_of", start_of)
    monkeypatch.setattr(sys, "argv", ["bench.peers", str(TINY), "--prefill", "8", "--decode", "8"])
    assert command.main() == 1
    said = capsys.readouterr().err
    for name in ("llama.cpp CPU", "llama.cpp Vulkan"):
        assert f"without {name}: ended at 'load': no such backend" in said
    assert "there is no peer to compare with" in said


# Processes


def test_llama_cpp_is_given_its_adapter_by_number():
    cpu, vulkan = peers(2)
    assert (cpu.options, cpu.variables) == ({"gpu": False}, {})
    assert (vulkan.options, vulkan.variables) == ({"gpu": "vulkan"}, {"GGML_VK_VISIBLE_DEVICES": "2"})
    assert command_of(vulkan, "node", Path("modules")) == ["node", str(ROOT / "bench/peers/llama.mjs"), "modules"]


def test_ours_speaks_the_protocol():
    process = Process(command_of(OURS, "node", ROOT), {})
    found = Figures()
    try:
        with pytest.raises(EngineFailed, match="'answer' failed: ValueError: no model was loaded"):
            process.ask("answer", tokens=[1], steps=0, kept=False)
        seat = Seat(OURS, process)
        settings = Settings(rounds=1, prefill=(16, 40), decode=(16, 70))
        start(seat, settings, lambda n: prompt(500, n), {"model": str(TINY)}, Path("states"), found)
        measure(seat, settings, lambda n: prompt(500, n), found)
        again = process.ask("answer", tokens=prompt(500, 70), steps=3, kept=True)
        anew = process.ask("answer", tokens=prompt(500, 70), steps=3, kept=False)
    finally:
        process.close()
    assert (again["reused"], anew["reused"]) == (69, 0)  # all but the last token are found
    assert again["drawn"] == anew["drawn"] == seat.facts["drawn"][70]
    assert (seat.facts["arithmetic"], seat.facts["kv_dtype"]) == ("exact", "f16")
    assert seat.facts["kernels"]["prefill_kernel"].endswith(".wgsl")
    assert set(seat.facts["versions"]) == {"shaderlm", "wgpu"}
    for figure in found.all.values():
        assert all(sample > 0 for sample in figure.samples["ours"]), figure
    assert found.all["GPU bytes at 70"].samples["ours"][0] > 300_000  # the weights


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no adapter')", "ended at 'load': no adapter"),
        ('input(); print(\'{"error": "broken"}\')', "'load' failed: broken"),
        ("input(); print('hello')", "ended at 'load': exit status 0"),
    ],
)
def test_a_process_that_gives_no_answer_says_why(code, said):
    process = Process([sys.executable, "-c", code], {})
    try:
        with pytest.raises(EngineFailed, match=said):
            process.ask("load")
    finally:
        process.close()


def test_a_process_that_is_silent_is_given_up():
    process = Process([sys.executable, "-c", "import sys; sys.stdin.read()"], {})
    try:
        with pytest.raises(EngineFailed, match="no answer to 'load' within 0 s"):
            process.ask("load", limit=0.01)
    finally:
        process.close()


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(EngineFailed, match="nowhere/node does not run"):
        Process(["nowhere/node"], {})
