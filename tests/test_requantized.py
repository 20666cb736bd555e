"""Files for comparisons, quantized anew by the `gguf` package: only the linears of the layers change."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, quants

from agreement import agree
from bench.peers import requantized
from engines import all_logits, opened
from gpu import Device
from tiny_model import TINY, golden_logits


@pytest.fixture
def in_q8_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(requantized, "FOLDER", tmp_path)
    return requantized.requantized(TINY, "Q8_0")


def test_linears_of_the_layers_are_quantized_and_nothing_else(in_q8_0: Path) -> None:
    before, after = GGUFReader(TINY), GGUFReader(in_q8_0)
    told = [
        {name: field.contents() for name, field in each.fields.items() if not name.startswith("GGUF.")}
        for each in (before, after)
    ]
    assert told[0] == told[1]
    for old, new in zip(before.tensors, after.tensors, strict=True):
        assert (new.name, list(new.shape)) == (old.name, list(old.shape))
        if old.name.startswith("blk.") and len(old.shape) > 1:
            assert new.tensor_type.name == "Q8_0"
            values = quants.dequantize(old.data, old.tensor_type)
            agree(quants.dequantize(new.data, new.tensor_type), values, abs=np.abs(values).max() / 200)
        else:
            np.testing.assert_array_equal(new.data, old.data)


def test_such_a_file_is_a_model(gpu: Device, in_q8_0: Path) -> None:
    golden = golden_logits()
    with opened(gpu.gpu, in_q8_0) as engine:
        logits = all_logits(engine, golden.prompt_ids)
    agree(logits, golden.logits, abs=0.05 * np.abs(golden.logits).max())


def test_it_is_made_once(in_q8_0: Path) -> None:
    made = in_q8_0.stat().st_mtime_ns
    assert requantized.requantized(TINY, "Q8_0") == in_q8_0
    assert in_q8_0.stat().st_mtime_ns == made
