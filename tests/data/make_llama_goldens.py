"""Write what transformers says about the random Llamas of tests/random_llama.py, in float32.

    pip install -e ".[train,test]"
    python tests/data/make_llama_goldens.py

writes, beside this file, llama.goldens.npz: for each variant that transformers can express, its logits after the last
ROWS of TOKENS tokens, float32 [ROWS, vocab]. The tokens are those that `prompt()` of tests/random_llama.py gives.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from train_tiny import GGUF_NAMES
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
from random_llama import LLAMA_3_1, VARIANTS, prompt, random_llama  # noqa: E402

ROWS, TOKENS = 4, 80
INEXPRESSIBLE = {"rope-partial"}  # transformers' Llama turns whole heads


def main() -> None:
    names = [name for name in VARIANTS if name not in INEXPRESSIBLE]
    np.savez_compressed(HERE / "llama.goldens.npz", **{name: logits(name) for name in names})


def logits(variant: str) -> np.ndarray:
    """The last rows of a variant's logits, float32 [ROWS, vocab]."""
    h, weights = random_llama(0, **VARIANTS[variant])
    model = empty_model(h, weights).eval()
    model.load_state_dict(state(h, weights), strict=True)
    tokens = torch.tensor([prompt(h, TOKENS)])
    with torch.no_grad():
        return model(tokens).logits[0, -ROWS:].numpy()


def empty_model(h: dict[str, Any], weights: dict[str, np.ndarray]) -> torch.nn.Module:
    common = {
        "vocab_size": h["vocab_size"],
        "hidden_size": h["hidden_size"],
        "intermediate_size": h["intermediate_size"],
        "num_hidden_layers": h["n_layers"],
        "num_attention_heads": h["n_heads"],
        "num_key_value_heads": h["n_kv_heads"],
        "head_dim": h["head_dim"],
        "max_position_embeddings": h["context_length"],
        "rms_norm_eps": h["norm_eps"],
        "tie_word_embeddings": "output.weight" not in weights,
        "rope_parameters": rope_parameters(h),
    }
    if "sliding_window" in h:
        return MistralForCausalLM(MistralConfig(**common, sliding_window=h["sliding_window"]))
    biases = {"attention_bias": "blk.0.attn_q.bias" in weights, "mlp_bias": "blk.0.ffn_up.bias" in weights}
    return LlamaForCausalLM(LlamaConfig(**common, **biases))


def rope_parameters(h: dict[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {"rope_type": "default", "rope_theta": h["rope_theta"]}
    if "rope_frequency_factors" in h:
        return parameters | {
            "rope_type": "llama3",
            "factor": LLAMA_3_1["factor"],
            "low_freq_factor": LLAMA_3_1["low"],
            "high_freq_factor": LLAMA_3_1["high"],
            "original_max_position_embeddings": LLAMA_3_1["original_context"],
        }
    if "rope_scaling" in h:
        parameters |= {"rope_type": h["rope_scaling"], "factor": h["rope_scaling_factor"]}
    if "rope_original_context" in h:
        parameters |= {"original_max_position_embeddings": h["rope_original_context"]}
    return parameters


def state(h: dict[str, Any], weights: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The weights under transformers' names, with the rows of Q and K in its order (half-split RoPE pairs)."""
    found = {}
    for name, values in weights.items():
        stem, kind = name.rsplit(".", 1)
        part = TRANSFORMERS_NAMES[stem.split(".", 2)[-1]]
        full = f"model.layers.{stem.split('.')[1]}.{part}" if stem.startswith("blk.") else part
        if stem.endswith(("attn_q", "attn_k")) and h["rope_interleaved"]:
            values = half_split(values, h["head_dim"])
        found[f"{full}.{kind}"] = torch.from_numpy(values)
    found.setdefault("lm_head.weight", found["model.embed_tokens.weight"])
    return found


TRANSFORMERS_NAMES = {ours: theirs for theirs, ours in GGUF_NAMES.items()} | {"output": "lm_head"}


def half_split(values: np.ndarray, head_dim: int) -> np.ndarray:
    """Rows of Q or K so that RoPE pairs that were neighbours come to lie half a head apart."""
    heads = values.reshape(-1, head_dim // 2, 2, *values.shape[1:])
    return heads.swapaxes(1, 2).reshape(values.shape)


if __name__ == "__main__":
    main()
