"""Weights larger than a binding may be: divided by rows, each part with a buffer and a dispatch of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agreement import agree
from engines import all_logits, decode_forced, opened
from gguf_writer import dequantized, write_llama
from gpu import Device
from plans import GPU, LLAMA_3_8B, config_of, deployment, graph_of, types_of
from random_llama import prompt, random_llama
from reference import Reference
from shaderlm.engine import blueprint
from shaderlm.planner.lower import lower
from shaderlm.planner.weights import WHOLE_WORKGROUPS, weight_specs
from shaderlm.tensors import F16, Q8_0

LIMIT = 128 << 20


@pytest.mark.parametrize("kind", [F16, Q8_0], ids=str)
def test_no_weight_of_a_large_model_is_larger_than_what_webgpu_guarantees(kind: Any) -> None:
    """An 8B with an output head of its own in F16 has weights of up to a gigabyte."""
    ops, graph = graph_of(config_of({**LLAMA_3_8B, "n_layers": 1}))
    types = types_of(graph, kind)
    specs = weight_specs(ops, types, 128256, LIMIT)
    assert max(spec.resident_bytes for spec in specs.values()) <= LIMIT
    rows: dict[str, int] = {}
    for spec in specs.values():
        assert spec.first_row % WHOLE_WORKGROUPS == 0
        for name, count in zip(spec.tensors, spec.rows, strict=True):
            assert spec.first_row == rows.get(name, 0), "parts follow each other"
            rows[name] = spec.first_row + count
    assert rows == {name: shape[0] if len(shape) == 2 else 1 for name, shape in graph.weights.items()}


def test_what_fits_is_one_weight() -> None:
    ops, graph = graph_of(config_of({**LLAMA_3_8B, "n_layers": 1}))
    names = list(weight_specs(ops, types_of(graph, Q8_0), 128256, 1 << 30))
    assert "blk.0.attn_q.weight+blk.0.attn_k.weight+blk.0.attn_v.weight" in names
    assert not [name for name in names if "[" in name]


def test_q_k_and_v_come_apart_at_heads() -> None:
    ops, graph = graph_of(config_of({**LLAMA_3_8B, "n_layers": 1, "head_dim": 96, "n_heads": 40}))
    specs = weight_specs(ops, types_of(graph, F16), 128256, 20 << 20)
    parts = [spec for spec in specs.values() if spec.tensors == ("blk.0.attn_q.weight",)]
    assert len(parts) > 1
    assert all(spec.first_row % 96 == 0 for spec in parts)


def test_a_part_is_a_dispatch_more() -> None:
    ops, graph = graph_of(config_of({**LLAMA_3_8B, "n_layers": 1}))
    types = types_of(graph, Q8_0)
    d = deployment(config_of(LLAMA_3_8B), replace(GPU), context=512)
    whole = lower(ops, types, replace(d, binding_limit=1 << 30), "decode", 1)
    divided = lower(ops, types, replace(d, binding_limit=LIMIT), "decode", 1)
    parts = len(weight_specs(ops, types, 128256, LIMIT)) - len(weight_specs(ops, types, 128256, 1 << 30))
    head = sum(dispatch.label == "logits" for dispatch in divided.dispatches)
    embeds = sum(dispatch.label == "embed" for dispatch in divided.dispatches)
    assert head == embeds == 5, "558 MB in bindings of 134 MB"
    assert len(divided.dispatches) - len(whole.dispatches) == parts + embeds - 1, "the table is embedding and head"


MODELS: dict[str, dict[str, Any]] = {
    "half-split": {"rope_interleaved": False},
    "interleaved, biases": {"attention_bias": True, "output_bias": True, "mlp_bias": True},
    "untied, many heads": {"n_heads": 16, "n_kv_heads": 8, "tied_output": False},
}


@pytest.mark.parametrize("weight_type", ["F32", "Q8_0"])
@pytest.mark.parametrize("model", MODELS)
def test_a_model_whose_every_matrix_is_divided_has_the_logits_of_float64(
    gpu: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, weight_type: str
) -> None:
    hyperparameters, weights = random_llama(
        5, **{"hidden_size": 256, "head_dim": 32, "n_heads": 8, "n_kv_heads": 4, "intermediate_size": 512,
              "vocab_size": 333, "n_layers": 1, **MODELS[model]}
    )  # fmt: skip
    path = write_llama(tmp_path / "model.gguf", weights, hyperparameters, weight_type)
    tokens = prompt(hyperparameters, 40)
    expected = Reference.of(hyperparameters, dequantized(weights, weight_type)).logits(tokens)
    limit = {"F32": 1024, "Q8_0": 272}[weight_type] * 150  # bytes of 150 narrow rows: of gate and up 64 each fit
    monkeypatch.setattr(blueprint, "binding_limit", lambda adapter: limit)
    with opened(gpu.gpu, path, context=64) as engine:
        divided = [name for name in engine.weights if "[" in name]
        assert len(divided) > 8, list(engine.weights)
        agree(all_logits(engine, tokens), expected, abs=1e-4 * np.abs(expected).max())
        last = decode_forced(engine, tokens, prefilled=36)
        agree(last, expected[36:], abs=1e-4 * np.abs(expected).max())


def test_a_row_that_no_binding_takes_is_left_whole_for_the_estimate_to_refuse() -> None:
    ops, graph = graph_of(config_of({**LLAMA_3_8B, "n_layers": 1}))
    specs = weight_specs(ops, types_of(graph, Q8_0), 128256, 1000)
    assert max(spec.resident_bytes for spec in specs.values()) > 1000
