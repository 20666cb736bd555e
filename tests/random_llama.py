"""Small random Llamas: one for each thing in which the files of real ones differ."""

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Weights: TypeAlias = dict[str, NDArray[np.float32]]


def random_llama(
    seed: int,
    *,
    attention_bias: bool = False,
    output_bias: bool = False,
    mlp_bias: bool = False,
    tied_output: bool = True,
    **changes: object,
) -> tuple[dict[str, Any], Weights]:
    """Canonical hyperparameters, `changes` among them, and float32 weights under canonical names.

    The weights are scaled so that attention looks at some positions more than at others, each layer adds about as much
    to the residual stream as is there, and the logits have a standard deviation of two to three.
    """
    h = {**_SMALL, **changes}
    rng = np.random.default_rng(seed)
    width, hidden, inner = h["n_heads"] * h["head_dim"], h["hidden_size"], h["intermediate_size"]
    kv_width = h["n_kv_heads"] * h["head_dim"]
    weights: Weights = {}

    def matrix(name: str, rows: int, columns: int, *, spread: float = 1.0, bias: bool = False) -> None:
        """A linear whose outputs have the standard deviation `spread` for inputs that have 1."""
        weights[f"{name}.weight"] = rng.normal(0, spread / math.sqrt(columns), (rows, columns)).astype(np.float32)
        if bias:
            weights[f"{name}.bias"] = rng.normal(0, 0.3, rows).astype(np.float32)

    def gain(name: str) -> None:
        weights[f"{name}.weight"] = rng.normal(1, 0.2, hidden).astype(np.float32)

    matrix("token_embd", h["vocab_size"], hidden, spread=2.5)
    for i in range(h["n_layers"]):
        gain(f"blk.{i}.attn_norm")
        matrix(f"blk.{i}.attn_q", width, hidden, spread=1.3, bias=attention_bias)
        matrix(f"blk.{i}.attn_k", kv_width, hidden, spread=1.3, bias=attention_bias)
        matrix(f"blk.{i}.attn_v", kv_width, hidden, bias=attention_bias)
        matrix(f"blk.{i}.attn_output", hidden, width, bias=output_bias)
        gain(f"blk.{i}.ffn_norm")
        matrix(f"blk.{i}.ffn_gate", inner, hidden, bias=mlp_bias)
        matrix(f"blk.{i}.ffn_up", inner, hidden, bias=mlp_bias)
        matrix(f"blk.{i}.ffn_down", hidden, inner, bias=mlp_bias)
    gain("output_norm")
    if not tied_output:
        matrix("output", h["vocab_size"], hidden, spread=2.5)
    return h, weights


def prompt(hyperparameters: dict[str, Any], tokens: int) -> list[int]:
    """Some token ids for a model."""
    return np.random.default_rng(7).integers(hyperparameters["vocab_size"], size=tokens).tolist()


def llama_3_1_factors(
    head_dim: int, theta: float, *, original_context: int, factor: float, low: float, high: float
) -> tuple[float, ...]:
    """What Llama 3.1 divides each pair's frequency by (Meta's model card; Hugging Face calls it rope_type "llama3").

    Pairs that turn more than `high` times within the original context keep their frequency, those that turn less than
    `low` times are slowed `factor` times, and those between are blended linearly in the number of turns.
    """
    factors = []
    for i in range(head_dim // 2):
        turns = original_context * theta ** (-2 * i / head_dim) / (2 * math.pi)
        kept = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(float(np.float32(1 / (kept + (1 - kept) / factor))))
    return tuple(factors)


_SMALL: dict[str, Any] = {
    "vocab_size": 160,
    "context_length": 512,
    "hidden_size": 96,
    "n_layers": 2,
    "n_heads": 6,
    "n_kv_heads": 2,
    "head_dim": 16,
    "intermediate_size": 160,
    "norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_interleaved": True,
}

# The contexts are short, so that each scaling tells within the first hundred positions.
LLAMA_3_1: dict[str, Any] = {"original_context": 32, "factor": 8.0, "low": 1.0, "high": 4.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rope-half-split": {"rope_interleaved": False},
    "rope-partial": {"rope_dim": 8},
    "rope-linear": {"rope_scaling": "linear", "rope_scaling_factor": 4.0},
    "rope-llama-3.1": {"rope_frequency_factors": llama_3_1_factors(16, 10000.0, **LLAMA_3_1)},
    "rope-yarn": {"rope_scaling": "yarn", "rope_scaling_factor": 4.0, "rope_original_context": 128},
    "biases": {"attention_bias": True, "output_bias": True, "mlp_bias": True},
    "untied-output": {"tied_output": False},
    "sliding-window": {"sliding_window": 13},
    "multi-head": {"n_heads": 6, "n_kv_heads": 6},
    "multi-query": {"n_heads": 8, "n_kv_heads": 1},
    "head-dim-32": {"n_heads": 3, "n_kv_heads": 1, "head_dim": 32},
    "head-dim-64": {"hidden_size": 192, "n_heads": 3, "n_kv_heads": 1, "head_dim": 64},
    "head-dim-80": {"hidden_size": 160, "n_heads": 2, "n_kv_heads": 1, "head_dim": 80},
    "head-dim-128": {"hidden_size": 128, "n_heads": 2, "n_kv_heads": 1, "head_dim": 128, "n_layers": 1},
    "odd-sizes": {
        "hidden_size": 72,
        "n_heads": 3,
        "n_kv_heads": 1,
        "head_dim": 24,
        "intermediate_size": 100,
        "vocab_size": 101,
    },
}
