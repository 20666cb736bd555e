"""Readers of the models in the oracles' folder: hyperparameters and weights under our canonical names."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shaderlm.models.decoder import Fields
from shaderlm.models.llama import LlamaConfig, config

Weights: TypeAlias = dict[str, NDArray[np.float32]]


class Stories260K(NamedTuple):
    """A Llama trained on short stories, and its SentencePiece vocabulary (0 unknown, 1 BOS, 2 EOS, 3 to 258 bytes)."""

    config: LlamaConfig
    weights: Weights
    vocabulary: list[bytes]
    scores: list[float]


class TinyLlamaInterleaved(NamedTuple):
    """A random Llama and its logits after each token of the prompt, then after each decode token, [tokens, vocab]."""

    config: LlamaConfig
    weights: Weights
    prompt: list[int]
    decode_tokens: list[int]
    logits: NDArray[np.float32]


# stories260K: llama2.c's layout, seven int32 and then float32 tensors, each for all layers at once


def stories260k_hyperparameters(oracles: Path) -> dict[str, object]:
    """Canonical hyperparameters, as `write_llama` and `Fields` take them."""
    names = ("hidden_size", "intermediate_size", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "context_length")
    header = np.fromfile(oracles / "models/stories260K.bin", dtype="<i4", count=len(names)).tolist()
    return {**dict(zip(names, header, strict=True)), **_INTERLEAVED}


def stories260k(oracles: Path) -> Stories260K:
    h = stories260k_hyperparameters(oracles)
    data = np.fromfile(oracles / "models/stories260K.bin", dtype="<f4", offset=7 * 4)
    weights, start = {}, 0
    for name, shape in _llama2c_tensors(h):
        size = int(np.prod(shape))
        weights[name] = data[start : start + size].reshape(shape)
        start += size
    vocabulary, scores = _llama2c_vocabulary((oracles / "models/tok512.bin").read_bytes())
    split = _split_layers(weights)
    return Stories260K(config(Fields(h, "stories260K.bin"), split), split, vocabulary, scores)


def stories260k_text(model: Stories260K, tokens: list[int]) -> bytes:
    """The text of tokens that follow BOS: the space that starts a sentence falls away, "<0x0A>" is a byte."""
    pieces = [model.vocabulary[token] for token in tokens]
    pieces[0] = pieces[0].removeprefix(b" ")
    return b"".join(bytes([int(p[3:5], 16)]) if p.startswith(b"<0x") else p for p in pieces)


def _llama2c_tensors(h: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    n, d, f = h["n_layers"], h["hidden_size"], h["intermediate_size"]
    kv = d // h["n_heads"] * h["n_kv_heads"]
    yield "token_embd.weight", (h["vocab_size"], d)
    yield "attn_norm", (n, d)
    yield "attn_q", (n, d, d)
    yield "attn_k", (n, kv, d)
    yield "attn_v", (n, kv, d)
    yield "attn_output", (n, d, d)
    yield "ffn_norm", (n, d)
    yield "ffn_gate", (n, f, d)  # w1
    yield "ffn_down", (n, d, f)  # w2
    yield "ffn_up", (n, f, d)  # w3
    yield "output_norm.weight", (d,)


def _split_layers(weights: Weights) -> Weights:
    split = {}
    for name, weight in weights.items():
        if name.endswith(".weight"):
            split[name] = weight
        else:
            split |= {f"blk.{i}.{name}.weight": layer for i, layer in enumerate(weight)}
    return split


def _llama2c_vocabulary(data: bytes) -> tuple[list[bytes], list[float]]:
    """int32 longest piece; then per token float32 score, int32 length, bytes."""
    vocabulary, scores, at = [], [], 4
    while at < len(data):
        score, length = np.frombuffer(data, "<f4", 1, at), int(np.frombuffer(data, "<i4", 1, at + 4)[0])
        vocabulary.append(data[at + 8 : at + 8 + length])
        scores.append(float(score[0]))
        at += 8 + length
    return vocabulary, scores


# tiny-llama-interleaved: float32 tensors and logits at offsets (in values) that a manifest lists


def tiny_llama_interleaved_hyperparameters(oracles: Path) -> dict[str, object]:
    """Canonical hyperparameters, as `write_llama` and `Fields` take them."""
    c = _manifest(oracles)["config"]
    return {
        "vocab_size": c["vocabSize"],
        "context_length": 64,  # the manifest names none
        "hidden_size": c["hiddenSize"],
        "n_layers": c["numLayers"],
        "n_heads": c["numHeads"],
        "n_kv_heads": c["numKvHeads"],
        "head_dim": c["headDim"],
        "intermediate_size": c["ffnHidden"],
        **_INTERLEAVED,
        "norm_eps": c["rmsNormEps"],
        "rope_theta": c["ropeTheta"],
    }


def tiny_llama_interleaved(oracles: Path) -> TinyLlamaInterleaved:
    manifest = _manifest(oracles)
    data = np.fromfile(oracles / "models/tiny-llama-interleaved.weights.bin", dtype="<f4")
    weights = {_canonical(entry["name"]): _part(data, entry) for entry in manifest["weights"]}
    logits = np.fromfile(oracles / "models/tiny-llama-interleaved.logits.bin", dtype="<f4")
    prefill, decode = (_part(logits, manifest["logits"][part]) for part in ("prefill", "decode"))
    # The manifest lists the token that each decode step chose. It was fed the one that the step before had chosen.
    decode_tokens = [int(prefill[-1].argmax()), *manifest["decodeTokens"][:-1]]
    fields = Fields(tiny_llama_interleaved_hyperparameters(oracles), "tiny-llama-interleaved")
    return TinyLlamaInterleaved(
        config(fields, weights), weights, manifest["promptTokens"], decode_tokens, np.concatenate([prefill, decode])
    )


def _manifest(oracles: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((oracles / "models/tiny-llama-interleaved.manifest.json").read_text())
    return manifest


def _part(data: NDArray[np.float32], entry: Mapping[str, Any]) -> NDArray[np.float32]:
    return data[entry["offset"] :][: int(np.prod(entry["shape"]))].reshape(entry["shape"])


def _canonical(name: str) -> str:
    if not name.startswith("layers."):
        return f"{_NAMES[name]}.weight"
    _, layer, part = name.split(".")
    return f"blk.{layer}.{_NAMES[part]}.weight"


_NAMES = {
    "embedTokens": "token_embd",
    "attnNorm": "attn_norm",
    "wq": "attn_q",
    "wk": "attn_k",
    "wv": "attn_v",
    "wo": "attn_output",
    "ffnNorm": "ffn_norm",
    "wGate": "ffn_gate",
    "wUp": "ffn_up",
    "wDown": "ffn_down",
    "finalNorm": "output_norm",
    "lmHead": "output",
}
_INTERLEAVED: dict[str, object] = {"norm_eps": 1e-5, "rope_theta": 10000.0, "rope_interleaved": True}
