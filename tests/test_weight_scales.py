"""Factors that a file keeps beside its weights, as files in NVFP4 do: they reach the logits, and none is overlooked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agreement import agree
from engines import all_logits, decode_forced, opened
from gguf_writer import TensorSource, llama_metadata, write_gguf
from gpu import Device
from llama_of_blocks import SIZES
from random_llama import prompt, random_llama
from reference import Reference
from shaderlm.engine.blueprint import blueprint
from shaderlm.errors import InvalidFile, TensorMismatch
from shaderlm.formats import read_checkpoint
from shaderlm.hosts.native.files import FileSource
from shaderlm.hosts.native.thread import run_now
from shaderlm.tensors import WEIGHT_TYPES
from weight_blocks import ordinary_blocks

# Of one layer: those of Q and V are alike, as are gate's and up's in the first layer; K's and ffn_down's have none.
SCALES = {
    "blk.0.attn_q": 0.5,
    "blk.0.attn_v": 0.5,
    "blk.0.attn_output": -1.75,
    "blk.0.ffn_gate": 0.8125,
    "blk.0.ffn_up": 0.8125,
    "blk.1.ffn_gate": 1.5,
    "blk.1.ffn_up": 0.6,
    "output": 0.3,
}


def one(number: float) -> TensorSource:
    return np.array([number], np.float32), "F32"


def write(path: Path, extra: Mapping[str, TensorSource]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A Llama with biases and matrices in NVFP4, and tensors besides; its hyperparameters and values."""
    changes = {"attention_bias": True, "output_bias": True, "mlp_bias": True, "tied_output": False}
    hyperparameters, weights = random_llama(3, **changes, **SIZES)
    tensors: dict[str, TensorSource] = {}
    values: dict[str, NDArray[Any]] = {}
    for seed, (name, weight) in enumerate(weights.items()):
        if weight.ndim == 2:
            blocks = ordinary_blocks(WEIGHT_TYPES["NVFP4"], *weight.shape, seed, deviation=float(weight.std()))
            tensors[name], values[name] = (blocks.bytes, "NVFP4"), blocks.decoded()
        else:
            tensors[name], values[name] = (weight, "F32"), weight
    write_gguf(path, "llama", llama_metadata(hyperparameters), tensors | dict(extra))
    return hyperparameters, values


def test_scales_multiply_the_products_of_their_weights(gpu: Device, tmp_path: Path) -> None:
    path = tmp_path / "scaled.gguf"
    scales = {f"{name}.scale": one(number) for name, number in SCALES.items()}
    inputs = {f"{name}.input_scale": one(7.0) for name in (*SCALES, "blk.0.attn_k")}  # are for quantized inputs
    hyperparameters, values = write(path, scales | inputs)
    for name, number in SCALES.items():
        values[f"{name}.weight"] = values[f"{name}.weight"] * float(np.float32(number))
    tokens = prompt(hyperparameters, 40)
    expected = Reference.of(hyperparameters, values).logits(tokens)
    largest = abs(expected).max()
    with opened(gpu.gpu, path) as engine:
        assert "weight:blk.0.attn_q.weight+blk.0.attn_v.weight" in bound_by(engine)
        assert "weight:blk.0.ffn_gate.weight+blk.0.ffn_up.weight" in bound_by(engine)
        agree(all_logits(engine, tokens), expected, abs=1e-4 * largest)
        agree(decode_forced(engine, tokens[:8]), expected[:8], abs=1e-4 * largest)


def bound_by(engine: Any) -> set[str]:
    plan = engine.model.plan(engine.deployment, "decode", 1)
    return {range.buffer for dispatch in plan.dispatches for range in dispatch.buffers}


@pytest.mark.parametrize(
    ("name", "tensor", "says"),
    [
        ("blk.0.attn_q.scale", (np.ones(2, np.float32), "F32"), "blk.0.attn_q.scale in .* must be one F32"),
        ("blk.0.attn_q.scale", (np.ones(1, np.float32), "F16"), "is F16 of shape .* must be one F32"),
        ("blk.0.ffn_up.input_scale", (np.ones(256, np.float32), "F32"), "ffn_up.input_scale .* must be one F32"),
        ("blk.0.attn_q.scale", one(float("nan")), "is nan, but a scale must be finite"),
    ],
)
def test_a_scale_that_is_no_number_is_refused(tmp_path: Path, name: str, tensor: TensorSource, says: str) -> None:
    write(tmp_path / "scaled.gguf", {name: tensor})
    with pytest.raises(InvalidFile, match=says):
        read(tmp_path / "scaled.gguf")


@pytest.mark.parametrize("name", ["token_embd.scale", "blk.0.attn_norm.scale", "blk.9.attn_q.scale", "scale"])
def test_a_scale_of_no_linear_is_not_overlooked(tmp_path: Path, name: str) -> None:
    write(tmp_path / "scaled.gguf", {name: one(2.0)})
    with pytest.raises(TensorMismatch, match=f"unexpected: {name}"):
        read(tmp_path / "scaled.gguf")


def read(path: Path) -> None:
    source = FileSource(path)
    try:
        blueprint(run_now(read_checkpoint(source)))
    finally:
        source.close()
