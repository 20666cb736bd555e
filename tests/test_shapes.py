"""`build.py bench shapes`: models of published sizes out of random weights, and what is measured of them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.shapes import __main__ as command
from bench.shapes import models
from bench.shapes.models import SHAPES, Shape, random_llama
from byte_sources import wait
from shaderlm.engine.blueprint import blueprint
from shaderlm.tensors import WEIGHT_TYPES

PARAMETERS = {  # as their publishers count them
    "135M": 134_515_008,
    "1B": 1_235_814_400,
    "TinyLlama": 1_100_048_384,
    "3B": 3_212_749_824,
    "8B": 8_030_261_248,
}
SMALL = Shape(64, 2, 4, 2, 16, 96, 300, True)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_shape_has_its_published_number_of_parameters(name: str) -> None:
    checkpoint = random_llama(name, WEIGHT_TYPES["Q8_0"])
    assert sum(tensor.values for tensor in checkpoint.tensors.values()) == PARAMETERS[name]


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_a_model_that_can_be_planned(name: str) -> None:
    assert blueprint(random_llama(name, WEIGHT_TYPES["Q4_0"])).config.n_layers == SHAPES[name].n_layers


def test_rows_that_are_no_whole_blocks_are_told() -> None:
    assert not SHAPES["135M"].takes(WEIGHT_TYPES["Q4_K"])
    assert all(shape.takes(WEIGHT_TYPES["Q4_0"]) for shape in SHAPES.values())


def test_weights_are_the_same_in_whatever_pieces_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "SHAPES", {"small": SMALL})
    monkeypatch.setattr(models, "DRAWN_BYTES", 500)
    checkpoint = random_llama("small", WEIGHT_TYPES["Q8_0"])
    tensor = checkpoint.tensors["blk.1.ffn_gate.weight"]
    whole = wait(checkpoint.source.read(tensor.offset, tensor.size))
    assert len(whole) == tensor.size
    assert len(set(whole[:34])) > 10, "not random"
    pieces = [
        wait(checkpoint.source.read(tensor.offset + i, min(77, tensor.size - i))) for i in range(0, tensor.size, 77)
    ]
    assert b"".join(pieces) == whole
    gain = checkpoint.tensors["blk.1.ffn_norm.weight"]
    assert wait(checkpoint.source.read(gain.offset, gain.size)) == bytes.fromhex("0000803f") * 64


def test_a_run_measures_what_it_can_and_says_what_it_cannot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.setattr(command, "SHAPES", {"small": SMALL})
    monkeypatch.setattr(models, "SHAPES", {"small": SMALL})
    target = tmp_path / "figures.json"
    given = "--shapes small --types Q4_0,Q4_K --rows 2 --prompt 40 --rounds 1 --seconds 0.01 --output"
    monkeypatch.setattr(sys, "argv", ["shapes", *given.split(), str(target)])
    assert command.main() == 0
    report = json.loads(target.read_text(encoding="utf-8"))
    measured, left_out = report["models"]
    assert set(measured["step"]) == {"1", "2"}
    samples = [*measured["step"].values(), measured["prompt"], measured["first_token"]]
    assert min(map(min, samples)) > 0
    assert measured["roofline_seconds"] > 0
    assert measured["dispatches"] <= 5 * SMALL.n_layers + 4, "short texts join no parts of attention"
    assert left_out["left_out"] == "its rows are no whole blocks of 256"
    shown = capsys.readouterr().out
    assert "| small Q4_0 |" in shown
    assert "Without small in Q4_K: its rows are no whole blocks of 256" in shown
    assert target.with_suffix(".md").read_text(encoding="utf-8") in shown
