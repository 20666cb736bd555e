"""Files whose weights have several types: the extra dispatches give the same model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agreement import agree
from engines import all_logits, decode_forced, opened
from gguf_writer import TensorSource, dequantized, encoded, llama_metadata, write_gguf
from gpu import Device
from llama_of_blocks import SIZES
from random_llama import Weights, prompt, random_llama
from reference import Reference
from shaderlm.tensors import WEIGHT_TYPES
from weight_blocks import ordinary_blocks

ATTENTION = {"attn_q": "Q8_0", "attn_k": "F16", "attn_v": "Q4_1"}
MIXES: dict[str, dict[str, str]] = {
    "each-of-qkv": ATTENTION,
    "q-and-v-apart-from-k": {"attn_q": "Q4_0", "attn_k": "Q8_0", "attn_v": "Q4_0"},
    "q-apart-from-k-and-v": {"attn_q": "BF16"},
    "gate-and-up": {"ffn_gate": "Q4_0", "ffn_up": "Q8_0"},
    "everything": {**ATTENTION, "token_embd": "Q8_0", "attn_output": "BF16", "ffn_gate": "F16", "ffn_down": "Q4_0"},
}

# As files of K-quants mix them: larger types where it tells, others where rows are no multiple of 256.
ALL_K = {"attn_q": "Q4_K", "attn_k": "Q4_K", "attn_output": "Q4_K", "ffn_gate": "Q4_K", "ffn_up": "Q4_K"}
MIXES_OF_K: dict[str, dict[str, str]] = {
    "q4-k-m": {**ALL_K, "attn_v": "Q6_K", "ffn_down": "Q6_K", "token_embd": "Q6_K"},
    "gate-and-up-of-k": {**ALL_K, "attn_v": "Q5_0", "ffn_gate": "Q3_K", "ffn_up": "Q2_K", "ffn_down": "Q5_K"},
}


def mixed(weights: Weights, mix: dict[str, str]) -> tuple[dict[str, TensorSource], Weights]:
    """Tensors of a file, each in its type, and the values that they hold; K-quants hold random ones."""
    tensors: dict[str, TensorSource] = {}
    values: Weights = {}
    for name, weight in weights.items():
        kind = mix.get(name.split(".")[-2], "F32") if weight.ndim == 2 else "F32"
        if kind.endswith("_K"):
            blocks = ordinary_blocks(WEIGHT_TYPES[kind], *weight.shape, len(tensors), deviation=float(weight.std()))
            tensors[name], values[name] = (blocks.bytes, kind), blocks.decoded().astype(np.float32)
        else:
            tensors[name] = (encoded(weight, kind), kind)
            values |= dequantized({name: weight}, kind)
    return tensors, values


@pytest.mark.parametrize("biased", [False, True], ids=["", "biased"])
@pytest.mark.parametrize("mix", MIXES)
def test_a_model_of_mixed_types_has_the_logits_of_float64(gpu: Device, tmp_path: Path, mix: str, biased: bool) -> None:
    has_the_logits_of_float64(gpu, tmp_path, MIXES[mix], attention_bias=biased, mlp_bias=biased)


@pytest.mark.parametrize("mix", MIXES_OF_K)
def test_a_model_of_mixed_k_quants_has_the_logits_of_float64(gpu: Device, tmp_path: Path, mix: str) -> None:
    has_the_logits_of_float64(gpu, tmp_path, MIXES_OF_K[mix], attention_bias=True, mlp_bias=True, **SIZES)


def has_the_logits_of_float64(gpu: Device, folder: Path, mix: dict[str, str], **changes: Any) -> None:
    hyperparameters, weights = random_llama(3, **changes)
    tensors, values = mixed(weights, mix)
    path = write_gguf(folder / "mixed.gguf", "llama", llama_metadata(hyperparameters), tensors)
    tokens = prompt(hyperparameters, 40)
    expected = Reference.of(hyperparameters, values).logits(tokens)
    largest = abs(expected).max()
    with opened(gpu.gpu, path) as engine:
        agree(all_logits(engine, tokens), expected, abs=1e-4 * largest)
        agree(decode_forced(engine, tokens[:8]), expected[:8], abs=1e-4 * largest)
