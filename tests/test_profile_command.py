"""`shaderlm bench --profile`: its tables, its JSON, and a page that needs nothing from anywhere."""

import contextlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from command_line import MODEL, CommandLine
from shaderlm.cli import bench, main, profile_charts, profile_page, profile_table
from shaderlm.hosts.native import host as native
from shaderlm.hosts.native.adapters import FoundAdapter

LAYERS = 4
SHORT = ("--prompt-tokens", "70", "--steps", "5", "--runs", "2")
VOID = {"meta"}


@pytest.fixture
def shaderlm(capsys, monkeypatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    """A profile of the tiny model, as --json has it; "page" is what was written beside it, "table" what was shown."""
    folder = tmp_path_factory.mktemp("profile")
    figures, page = folder / "figures.json", folder / "page.html"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["bench", "--profile", str(page), "--json", str(figures), *SHORT, MODEL]) == 0
    report = json.loads(figures.read_text(encoding="utf-8"))
    return {"report": report, "page": page.read_text(encoding="utf-8"), "table": out.getvalue()}


class Page(HTMLParser):
    """Tags of a page, their attributes, its texts; that they are nested properly is checked while it is read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def text_of(self, tag: str) -> list[str]:
        return [text for inside, text in self.texts if inside == tag]


@pytest.mark.parametrize("part", ["decode", "prefill"])
def test_sums_by_op_kernel_and_layer_are_of_the_same_time(found, part):
    section = found["report"]["profile"][part]
    for name in ("by_op", "by_kernel", "by_layer"):
        assert sum(row["share"] for row in section[name]) == pytest.approx(1)
        assert sum(row["ms"] for row in section[name]) == pytest.approx(profile_table.mean_ms(section))
        assert sum(row["dispatches"] for row in section[name]) > 5 * LAYERS
    assert len(section["by_layer"]) == LAYERS + 1
    assert 0 < section["gpu_ms"]["low"] <= section["gpu_ms"]["median"] <= section["gpu_ms"]["high"]


def test_the_dispatches_of_a_decode_step_are_nine_tenths_of_it_at_least(found):
    decode = found["report"]["profile"]["decode"]
    assert decode["share"]["median"] >= 0.9
    assert len(decode["timeline"]) == decode["dispatches"] > 5 * LAYERS
    ends = [event["begin_us"] + event["us"] for event in decode["timeline"]]
    assert ends == sorted(ends)
    assert (decode["position"], decode["steps"]) == (70, 5)
    for name in ("one_pass_ms", "normal_clock_ms", "clock_ms", "empty_pass_us"):
        assert decode[name]["median"] > 0


def test_what_the_device_s_clock_tells_is_within_what_the_host_s_does(found):
    decode = found["report"]["profile"]["decode"]
    for of in ("low", "median", "high"):
        assert decode["clock_ms"][of] / 1000 < decode["gpu_ms"][of] <= decode["clock_ms"][of]


def test_a_prefill_is_told_by_chunks(found):
    report = found["report"]
    prefill = report["profile"]["prefill"]
    rows = [chunk["rows"] for chunk in prefill["chunks"]]
    assert sum(rows) == 70
    assert [chunk["first"] for chunk in prefill["chunks"]] == [sum(rows[:i]) for i in range(len(rows))]
    assert rows[0] == min(70, report["kernels"]["prefill_rows"])
    assert sum(row["dispatches"] for row in prefill["by_op"] if row["name"] == "logits") * len(rows) == 1


def test_the_table_names_every_op_kernel_and_layer_and_what_the_passes_cost(found):
    decode = found["report"]["profile"]["decode"]
    lines = found["table"].splitlines()
    assert "Decode step at position 70" in lines
    assert "Prefill of 70 tokens" in lines
    for name in ("by_op", "by_kernel", "by_layer"):
        for row in decode[name]:
            assert any(line.startswith(row["name"]) and f"{row['ms']:.3f}" in line for line in lines), row["name"]
    told = "\n".join(lines)
    assert f"{100 * decode['share']['median']:.1f} % of the time from a step's first begin to its last end" in told
    assert f"{decode['gpu_ms']['median'] / decode['one_pass_ms']['median']:.2f} times" in told
    assert re.search(r"an empty one takes [\d.]+ us: [\d.]+ ms a step", told)
    assert re.search(r"By the host's clock a profiled step takes [\d.]+ ms, [\d.]+ times a normal one's [\d.]+\.", told)


def test_the_page_is_whole_html_that_asks_for_nothing(found):
    page = Page(found["page"])
    assert found["page"].startswith("<!doctype html>")
    assert not [attrs for _, attrs in page.tags if {"src", "href", "srcset", "data", "action"} & attrs.keys()]
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "img", "object", "base"}
    assert not re.search(r"url\(|@import|https?:", found["page"])
    assert "prefers-color-scheme: dark" in found["page"]


def test_the_page_shows_every_op_and_every_dispatch(found):
    profile = found["report"]["profile"]
    page = Page(found["page"])
    for section in (profile["decode"], profile["prefill"]):
        for row in (*section["by_op"], *section["by_kernel"], *section["by_layer"]):
            assert row["name"] in page.text_of("th")
        for event in section["timeline"]:
            assert any(title.startswith(f"{event['label']}: {event['us']:.1f} us") for title in page.text_of("title"))


def test_what_a_file_says_of_itself_is_no_markup(found):
    report = json.loads(json.dumps(found["report"]))
    evil = "<script>alert('&')</script>"
    report["model"]["file"] = report["adapter"]["name"] = evil
    for section in report["profile"].values():
        for event in section["timeline"]:
            event["label"] = event["kernel"] = evil
        for rows in (section["by_op"], section["by_kernel"], section["by_layer"]):
            for row in rows:
                row["name"] = row["name"] + evil
        for cell in section["by_layer_and_op"]:
            cell["layer"], cell["op"] = cell["layer"] + evil, cell["op"] + evil
        for event in section["timeline"]:
            event["op"] += evil
    page = Page(profile_page.page(report))
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert f"gated{evil}" in page.text_of("th")


def test_a_dispatch_goes_on_in_the_next_line_of_time_and_none_is_lost(found):
    decode = found["report"]["profile"]["decode"]
    of = profile_charts.colours([decode])
    whole = profile_charts.WIDTH - profile_charts.LEFT
    assert list(profile_charts._cut(whole - 10, 30)) == [(whole - 10, 0, 10), (0, 1, 20)]
    assert list(profile_charts._cut(0, whole)) == [(0, 0, whole)]
    chart = Page(profile_charts.timeline(decode, of))
    assert len(chart.text_of("title")) >= decode["dispatches"]
    for _, attrs in chart.tags:
        if "width" in attrs:
            assert float(attrs["x"]) + float(attrs["width"]) <= profile_charts.WIDTH + 1


@pytest.mark.parametrize(("largest", "axis"), [(9.0, (10.0, 5.0)), (2.6, (3.0, 1.0)), (0.04, (0.04, 0.01))])
def test_an_axis_has_round_numbers(largest, axis):
    assert profile_charts._axis(largest) == pytest.approx(axis)


def test_the_page_goes_to_a_file_of_its_own_name_and_a_word_behind_the_option_is_the_model(
    shaderlm, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    done = shaderlm.run("bench", "--prompt-tokens", "4", "--steps", "1", "--runs", "1", "--profile", MODEL)
    assert done.code == 0
    assert f"The charts are in {bench.PROFILE}" in done.err
    assert "tiny.gguf on " in done.out
    assert [path.name for path in tmp_path.iterdir()] == [bench.PROFILE]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "0"], "--steps: must be at least 1"),
        (["--no-kv-cache"], "leave --no-kv-cache out"),
        (["--prompt-tokens", "511"], "take 513 positions, but the context has 512"),
        (["--profile", "nowhere/page.html"], "there is no folder nowhere for page.html"),
        ([MODEL], "a word too many"),
    ],
)
def test_what_cannot_be_profiled_is_told(shaderlm, tmp_path, arguments, said):
    page = tmp_path / "page.html"
    done = shaderlm.run("bench", MODEL, "--profile", str(page), *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not page.exists()


def test_an_adapter_without_timestamps_is_told_before_the_model_is_loaded(shaderlm, tmp_path, monkeypatch):
    choose = native.choose_adapter

    def without(wanted: str | None) -> Any:
        chosen = choose(wanted)
        facts = replace(chosen.adapter.facts, features=chosen.adapter.facts.features - {"timestamp-query"})
        plain = FoundAdapter(facts, chosen.adapter.handle, chosen.adapter.ids)
        return replace(chosen, adapter=plain, found=[plain])

    monkeypatch.setattr(native, "choose_adapter", without)
    done = shaderlm.run("bench", MODEL, "--profile", str(tmp_path / "page.html"))
    assert (done.code, done.out) == (1, "")
    assert "it lacks WebGPU's timestamp-query" in done.err
    assert "loaded in" not in done.err
