"""The codebooks of the i-quants are what the `gguf` package has, and count as a part of their weights."""

import runpy
from pathlib import Path

import gguf.quants
import numpy as np
import pytest

from shaderlm.planner.plan import WeightSpec
from shaderlm.tensors import WEIGHT_TYPES, WeightType

ROOT = Path(__file__).resolve().parent.parent
TYPES = [pytest.param(t, id=name) for name, t in WEIGHT_TYPES.items() if t.codebook]


def test_the_module_of_codebooks_is_as_its_script_writes_it() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "make_codebooks.py"))["module"]()
    assert (ROOT / "runtime" / "codebooks.py").read_text(encoding="utf-8") == made, "run tools/make_codebooks.py"


@pytest.mark.parametrize("weight_type", TYPES)
def test_a_codebook_gives_the_values_of_the_gguf_package(weight_type: WeightType) -> None:
    theirs = getattr(gguf.quants, weight_type.name)
    theirs.init_grid()
    entries, values = theirs.grid_shape
    if weight_type.name[:3] != "IQ1":  # magnitudes themselves, in bytes
        magnitudes = np.frombuffer(weight_type.codebook, np.uint8).reshape(entries, values)
        np.testing.assert_array_equal(magnitudes, theirs.grid.reshape(entries, values))
        return
    bits = 16 // values
    packed = np.frombuffer(weight_type.codebook, "<u2")
    codes = (packed[:, np.newaxis] >> np.arange(0, 16, bits, dtype=np.uint16)) & ((1 << bits) - 1)
    assert codes.shape == (entries, values)
    np.testing.assert_array_equal(np.array(theirs.grid_map)[codes], theirs.grid.reshape(entries, values))


@pytest.mark.parametrize("weight_type", TYPES)
def test_a_weight_counts_its_codebook(weight_type: WeightType) -> None:
    spec = WeightSpec("w", ("w",), weight_type, (4,), 2 * weight_type.block, (None,))
    assert spec.resident_bytes >= 8 * weight_type.bytes + len(weight_type.codebook)
