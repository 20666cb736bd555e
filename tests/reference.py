"""The float64 reference: each operation as its formula reads, and the whole Llama forward pass.

It shares two things with the runtime, the config's dataclass and the RoPE frequencies (tested on their own), and no
arithmetic. Shapes: x [tokens, hidden], q [tokens, n_heads, head_dim], k and v [positions, n_kv_heads, head_dim].
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray

from shaderlm.graph import Rope
from shaderlm.models.decoder import Fields
from shaderlm.models.llama import LlamaConfig
from shaderlm.models.llama import config as llama_config

Array: TypeAlias = NDArray[np.float64]


# Operations


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis (Zhang and Sennrich 2019)."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x @ weight.T + bias: x [tokens, in], weight [out, in], bias [out]."""
    y = x @ weight.T
    return y if bias is None else y + bias


def rotated(x: Array, positions: NDArray[np.int64], rope: Rope) -> Array:
    """x [tokens, heads, head_dim] with each pair (a, b) of a head turned by position * frequency radians.

    (a, b) -> magnitude * (a cos - b sin, b cos + a sin) (Su et al. 2021, equation 13). Pairs are neighbours if
    interleaved, else a is in the first and b in the second half of the turned part; what lies past it stays.
    """
    n = len(rope.frequencies)
    angle = positions[:, None, None] * np.array(rope.frequencies)  # [tokens, 1, pairs]
    cos, sin = rope.magnitude * np.cos(angle), rope.magnitude * np.sin(angle)
    first = slice(0, 2 * n, 2) if rope.interleaved else slice(0, n)
    second = slice(1, 2 * n, 2) if rope.interleaved else slice(n, 2 * n)
    y = x.copy()
    y[..., first] = x[..., first] * cos - x[..., second] * sin
    y[..., second] = x[..., second] * cos + x[..., first] * sin
    return y


def softmax(x: Array) -> Array:
    """exp(x) / sum(exp(x)) over the last axis, shifted by the maximum."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention(q: Array, k: Array, v: Array, *, scale: float, window: int | None = None) -> Array:
    """Causal grouped-query attention, [tokens, n_heads, head_dim]; the queries are the last of the positions.

    A query sees the last `window` positions up to its own, or all. Each key and value head serves
    n_heads / n_kv_heads query heads in a row.
    """
    tokens, n_heads, head_dim = q.shape
    positions, n_kv_heads, _ = k.shape
    q = q.reshape(tokens, n_kv_heads, -1, head_dim).transpose(1, 2, 0, 3)  # [n_kv_heads, group, tokens, head_dim]
    scores = scale * q @ k.transpose(1, 2, 0)[:, None]  # [n_kv_heads, group, tokens, positions]
    distance = np.arange(positions - tokens, positions)[:, None] - np.arange(positions)  # [tokens, positions]
    visible = (distance >= 0) & (distance < (window or positions))
    y = softmax(np.where(visible, scores, -np.inf)) @ v.transpose(1, 0, 2)[:, None]
    return y.transpose(2, 0, 1, 3).reshape(tokens, n_heads, head_dim)


def swiglu(gate: Array, up: Array) -> Array:
    """silu(gate) * up, silu(x) = x / (1 + exp(-x)) (Shazeer 2020)."""
    with np.errstate(over="ignore"):  # exp(-x) overflows to infinity, and silu to -0, where it should
        return gate / (1 + np.exp(-gate)) * up


# The model


@dataclass
class Cache:
    """Keys (turned) and values of the positions so far, per layer [positions, n_kv_heads, head_dim]."""

    keys: dict[int, Array] = field(default_factory=dict)
    values: dict[int, Array] = field(default_factory=dict)

    def extended(self, layer: int, k: Array, v: Array) -> tuple[Array, Array]:
        """All keys and values of a layer, after those of this step were added."""
        for kept, new in ((self.keys, k), (self.values, v)):
            kept[layer] = np.concatenate([kept[layer], new]) if layer in kept else new
        return self.keys[layer], self.values[layer]

    def __len__(self) -> int:
        return len(self.keys[0]) if self.keys else 0


class Reference:
    """A Llama in float64. `weights` carry the canonical names, outermost axis first, in any number type."""

    def __init__(self, config: LlamaConfig, weights: Mapping[str, NDArray[Any]]) -> None:
        self.config = config
        self.weights = {name: np.asarray(weight, dtype=np.float64) for name, weight in weights.items()}

    @classmethod
    def of(cls, hyperparameters: Mapping[str, object], weights: Mapping[str, NDArray[Any]]) -> "Reference":
        """The reference for canonical hyperparameters; what a model has by having a weight is read off `weights`."""
        return cls(llama_config(Fields(hyperparameters, "the reference"), weights), weights)

    def logits(self, tokens: Sequence[int], cache: Cache | None = None) -> Array:
        """Logits after each of `tokens`, [tokens, vocab]. With a cache they go on from what it holds, and are added."""
        return self._head(self._hidden(tokens, Cache() if cache is None else cache))

    def greedy(self, prompt: Sequence[int], n: int, stop: Collection[int] = ()) -> list[int]:
        """The next `n` most likely tokens, one after the other; the last is in `stop` if the text ended sooner."""
        tokens = []
        for token in self._greedy(prompt, n):
            tokens.append(token)
            if token in stop:
                break
        return tokens

    def _greedy(self, prompt: Sequence[int], n: int) -> Iterator[int]:
        cache, new = Cache(), list(prompt)
        for _ in range(n):
            token = int(self._head(self._hidden(new, cache)[-1:]).argmax())
            yield token
            new = [token]

    def _hidden(self, tokens: Sequence[int], cache: Cache) -> Array:
        c, w = self.config, self.weights
        positions = np.arange(len(cache), len(cache) + len(tokens))
        x = w["token_embd.weight"][np.asarray(tokens)]
        for i in range(c.n_layers):
            x = x + self._attention(i, rms_norm(x, w[f"blk.{i}.attn_norm.weight"], c.norm_eps), positions, cache)
            x = x + self._mlp(i, rms_norm(x, w[f"blk.{i}.ffn_norm.weight"], c.norm_eps))
        return x

    def _head(self, x: Array) -> Array:
        table = self.weights["token_embd.weight" if self.config.tied_output else "output.weight"]
        return linear(rms_norm(x, self.weights["output_norm.weight"], self.config.norm_eps), table)

    def _attention(self, layer: int, x: Array, positions: NDArray[np.int64], cache: Cache) -> Array:
        c = self.config
        q = self._linear(layer, "attn_q", x).reshape(-1, c.n_heads, c.head_dim)
        k = self._linear(layer, "attn_k", x).reshape(-1, c.n_kv_heads, c.head_dim)
        v = self._linear(layer, "attn_v", x).reshape(-1, c.n_kv_heads, c.head_dim)
        k, v = cache.extended(layer, rotated(k, positions, c.rope), v)
        y = attention(rotated(q, positions, c.rope), k, v, scale=c.head_dim**-0.5, window=c.sliding_window)
        return self._linear(layer, "attn_output", y.reshape(len(x), -1))

    def _mlp(self, layer: int, x: Array) -> Array:
        return self._linear(
            layer, "ffn_down", swiglu(self._linear(layer, "ffn_gate", x), self._linear(layer, "ffn_up", x))
        )

    def _linear(self, layer: int, name: str, x: Array) -> Array:
        """A bias is added where the weights have one."""
        weights = self.weights
        return linear(x, weights[f"blk.{layer}.{name}.weight"], weights.get(f"blk.{layer}.{name}.bias"))


# Files


def dequantized(path: Path) -> dict[str, NDArray[np.float32]]:
    """Every tensor of a GGUF file as the `gguf` package decodes it, outermost axis first."""
    return _dequantized(GGUFReader(path))


def reference_of(path: Path) -> Reference:
    """The reference over a llama GGUF file without RoPE scaling or window, read by the `gguf` package alone."""
    reader = GGUFReader(path)
    weights = _dequantized(reader)
    names = [name for name in reader.fields if name.startswith("llama.")]
    unknown = [name for name in names if "scaling" in name or "window" in name or "rope_freqs.weight" in weights]
    assert not unknown, f"reference_of() knows nothing of {unknown}"
    values = {_GGUF_NAMES[name]: reader.fields[name].contents() for name in names if name in _GGUF_NAMES}
    return Reference.of({**values, "vocab_size": len(weights["token_embd.weight"]), "rope_interleaved": True}, weights)


def _dequantized(reader: GGUFReader) -> dict[str, NDArray[np.float32]]:
    return {
        tensor.name: dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1].tolist())
        for tensor in reader.tensors
    }


_GGUF_NAMES = {
    "llama.context_length": "context_length",
    "llama.embedding_length": "hidden_size",
    "llama.block_count": "n_layers",
    "llama.feed_forward_length": "intermediate_size",
    "llama.attention.head_count": "n_heads",
    "llama.attention.head_count_kv": "n_kv_heads",
    "llama.attention.key_length": "head_dim",
    "llama.attention.layer_norm_rms_epsilon": "norm_eps",
    "llama.rope.dimension_count": "rope_dim",
    "llama.rope.freq_base": "rope_theta",
}
