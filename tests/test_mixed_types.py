"""Files whose weights have several types: the extra dispatches give the same model."""

from pathlib import Path

import pytest

from agreement import agree
from engines import all_logits, decode_forced, opened
from gguf_writer import TensorSource, dequantized, encoded, llama_metadata, write_gguf
from gpu import Device
from random_llama import Weights, prompt, random_llama
from reference import Reference

ATTENTION = {"attn_q": "Q8_0", "attn_k": "F16", "attn_v": "Q4_1"}
MIXES = {
    "each-of-qkv": ATTENTION,
    "q-and-v-apart-from-k": {"attn_q": "Q4_0", "attn_k": "Q8_0", "attn_v": "Q4_0"},
    "q-apart-from-k-and-v": {"attn_q": "BF16"},
    "gate-and-up": {"ffn_gate": "Q4_0", "ffn_up": "Q8_0"},
    "everything": {**ATTENTION, "token_embd": "Q8_0", "attn_output": "BF16", "ffn_gate": "F16", "ffn_down": "Q4_0"},
}


def mixed(weights: Weights, mix: dict[str, str]) -> tuple[dict[str, TensorSource], Weights]:
    """Tensors of a file, each in its type, and the values that they hold."""
    tensors: dict[str, TensorSource] = {}
    values: Weights = {}
    for name, weight in weights.items():
        kind = mix.get(name.split(".")[-2], "F32") if weight.ndim == 2 else "F32"
        tensors[name] = (encoded(weight, kind), kind)
        values |= dequantized({name: weight}, kind)
    return tensors, values


@pytest.mark.parametrize("biased", [False, True], ids=["", "biased"])
@pytest.mark.parametrize("mix", MIXES)
def test_a_model_of_mixed_types_has_the_logits_of_float64(gpu: Device, tmp_path: Path, mix: str, biased: bool) -> None:
    hyperparameters, weights = random_llama(3, attention_bias=biased, mlp_bias=biased)
    tensors, values = mixed(weights, MIXES[mix])
    path = write_gguf(tmp_path / "mixed.gguf", "llama", llama_metadata(hyperparameters), tensors)
    tokens = prompt(hyperparameters, 40)
    expected = Reference.of(hyperparameters, values).logits(tokens)
    largest = abs(expected).max()
    with opened(gpu.gpu, path) as engine:
        agree(all_logits(engine, tokens), expected, abs=1e-4 * largest)
        agree(decode_forced(engine, tokens[:8]), expected[:8], abs=1e-4 * largest)
