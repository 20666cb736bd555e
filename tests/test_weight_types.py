"""Models in every weight type have the logits of float64 over the same weights: SmolLM2 written anew in those that the
`gguf` package can write, small Llamas of random blocks in all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import reference
from agreement import agree, agree_on_argmax
from byte_sources import wait
from engines import all_logits, decode_forced, opened
from gguf_writer import TensorSource, encoded, llama_metadata, takes, values, write_gguf
from gpu import Device
from llama_of_blocks import MIXES, ROOM_FOR_A_MIX, write_llama_of_blocks
from random_llama import prompt
from reference import Reference
from shaderlm.formats import read_checkpoint
from shaderlm.hosts.native.files import FileSource
from shaderlm.tensors import WEIGHT_TYPES, WeightType

# What the `gguf` package can write, and what takes the place of types of large blocks where rows are no multiple of
# them, as in llama.cpp.
WRITTEN = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")
FALLBACK = "Q4_0"
QUICK = ("Q5_0",)
TOLERANCE = 2e-3  # of SmolLM2's logits, absolute
IDS = [504, 2365, 282, 4649, 314, 7042, 30, 1094, 314, 253, 3365, 6330]


@pytest.fixture(scope="module")
def original(smollm2: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """SmolLM2's hyperparameters and values."""
    source = FileSource(smollm2)
    hyperparameters = dict(wait(read_checkpoint(source)).hyperparameters)
    source.close()
    return hyperparameters, reference.dequantized(smollm2)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in WRITTEN]
)
def test_smollm2_written_anew_has_the_logits_of_float64(
    gpu: Device, tmp_path: Path, original: tuple[dict[str, Any], dict[str, NDArray[np.float32]]], name: str
) -> None:
    hyperparameters, weights = original
    tensors: dict[str, TensorSource] = {}
    held: dict[str, NDArray[Any]] = {}
    for tensor, weight in weights.items():
        kind = (name if takes(weight, name) else FALLBACK) if weight.ndim == 2 else "F32"
        blocks = encoded(weight, kind)
        tensors[tensor], held[tensor] = (blocks, kind), values(blocks, kind)
    assert {kind for _, kind in tensors.values()} >= {name}
    path = write_gguf(tmp_path / f"{name}.gguf", "llama", llama_metadata(hyperparameters), tensors)
    expected = Reference.of(hyperparameters, held).logits(IDS)
    with opened(gpu.gpu, path) as engine:
        for actual in (all_logits(engine, IDS), decode_forced(engine, IDS)):
            agree(actual, expected, abs=TOLERANCE)
            agree_on_argmax(actual, expected, tolerance=TOLERANCE)


@pytest.mark.parametrize("types", MIXES, ids=lambda types: f"{types[0]}-to-{types[-1]}")
def test_a_llama_with_a_type_for_each_matrix_has_the_logits_of_float64(
    gpu: Device, tmp_path: Path, types: list[WeightType]
) -> None:
    has_logits_of_float64(gpu, tmp_path, *types, **ROOM_FOR_A_MIX)


@pytest.mark.slow
@pytest.mark.parametrize("weight_type", WEIGHT_TYPES.values(), ids=str)
def test_a_llama_in_one_type_has_the_logits_of_float64(gpu: Device, tmp_path: Path, weight_type: WeightType) -> None:
    has_logits_of_float64(gpu, tmp_path, weight_type)


def has_logits_of_float64(gpu: Device, folder: Path, *types: WeightType, **changes: Any) -> None:
    hyperparameters, held = write_llama_of_blocks(folder / "random.gguf", *types, **changes)
    tokens = prompt(hyperparameters, 40)
    expected = Reference.of(hyperparameters, held).logits(tokens)
    largest = abs(expected).max()
    with opened(gpu.gpu, folder / "random.gguf") as engine:
        agree(all_logits(engine, tokens), expected, abs=1e-4 * largest)
        agree(decode_forced(engine, tokens[:8]), expected[:8], abs=1e-4 * largest)
