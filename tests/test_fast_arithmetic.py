"""Fast arithmetic: prefills round what their linears read to bytes. Asked for, never the default, and told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shaderlm
from agreement import agree
from engines import Logits, all_logits, decode_forced, opened
from gpu import Device
from plans import CPU, GPU
from shaderlm.engine.blueprint import blueprint
from shaderlm.engine.engine import Engine
from shaderlm.engine.known_model import known_model
from shaderlm.planner.choice import (
    BROADCAST,
    DECODE_ROWS,
    INT8,
    PACKED_DOT,
    TILE,
    Arithmetic,
    choose_kernels,
    has_bytes,
)
from shaderlm.tensors import WEIGHT_TYPES
from test_smollm2 import PROMPTS
from tiny_model import TINY, golden_logits

WITH_DOT = replace(GPU, features=frozenset({PACKED_DOT}))
EITHER: tuple[Arithmetic, ...] = ("exact", "fast")
OF_BYTES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "TQ1_0", "TQ2_0", "Q1_0"]


def fast(gpu: Device, path: Path, **options: Any) -> Any:
    """An engine that rounds, on any adapter: without the kernel that is faster than rounding on CPUs."""
    return opened(gpu.gpu, path, arithmetic="fast", dropped_variants={BROADCAST}, **options)


def test_it_is_chosen_where_it_is_asked_for_and_can_run() -> None:
    asked = choose_kernels(WITH_DOT, 512, arithmetic="fast")
    assert asked.prefill_kernel == INT8
    for choice in (choose_kernels(WITH_DOT, 512), choose_kernels(GPU, 512, arithmetic="fast")):
        assert choice.prefill_kernel == TILE


def test_a_cpu_keeps_the_kernel_that_is_faster_there() -> None:
    adapter = replace(CPU, features=CPU.features | {PACKED_DOT})
    choice = choose_kernels(adapter, 512, arithmetic="fast")
    assert choice.prefill_kernel == BROADCAST
    assert choose_kernels(adapter, 512, {BROADCAST}, "fast").prefill_kernel == INT8


def test_types_whose_values_are_affine_in_bytes_are_multiplied_as_such() -> None:
    assert {name for name, each in WEIGHT_TYPES.items() if has_bytes(each)} == set(OF_BYTES)
    choice = choose_kernels(WITH_DOT, 512, arithmetic="fast")
    files = {name: choice.many_rows(each).file for name, each in WEIGHT_TYPES.items()}
    assert files == {name: INT8 if name in OF_BYTES else TILE for name in WEIGHT_TYPES}


def test_decoding_rounds_nothing() -> None:
    exact, asked = (choose_kernels(WITH_DOT, 512, arithmetic=arithmetic) for arithmetic in EITHER)
    assert [asked.few_rows(rows) for rows in DECODE_ROWS] == [exact.few_rows(rows) for rows in DECODE_ROWS]


def test_a_rounded_prompt_is_near_the_exact_one(gpu: Device, smollm2: Path) -> None:
    """What is decoded behind it: within 4 % of the largest logit."""
    ids = shaderlm.load_tokenizer(smollm2).encode(PROMPTS["chat"][:120], add_special=False)
    with opened(gpu.gpu, smollm2, context=64) as engine:
        exact = decode_forced(engine, ids, prefilled=len(ids) - 2)
    with fast(gpu, smollm2, context=64) as engine:
        rounded = decode_forced(engine, ids, prefilled=len(ids) - 2)
    size = np.abs(exact).max()
    agree(rounded / size, exact / size, abs=0.04)
    assert not np.array_equal(rounded, exact)


def test_weights_without_bytes_are_computed_exactly(gpu: Device) -> None:
    ids = golden_logits().prompt_ids
    with opened(gpu.gpu, TINY, dropped_variants={BROADCAST}) as engine:
        exact = all_logits(engine, ids)
    with fast(gpu, TINY) as engine:
        np.testing.assert_array_equal(all_logits(engine, ids), exact)


@pytest.mark.parametrize(("weight_type", "told"), [("Q4_0", "fast"), ("IQ2_S", "exact"), ("F16", "exact")])
def test_what_is_told_is_what_runs(weight_type: str, told: str) -> None:
    """Weights without bytes are computed exactly, whatever was asked for."""
    model = blueprint(known_model(WEIGHT_TYPES[weight_type]))
    assert model.arithmetic(model.deployment(WITH_DOT, 64, arithmetic="fast")) == told
    assert model.arithmetic(model.deployment(WITH_DOT, 64)) == "exact"


def test_an_answer_says_which_arithmetic_made_it() -> None:
    with shaderlm.load(TINY, arithmetic="fast") as model:
        assert model.complete("Once", max_tokens=2).provenance.arithmetic == "exact", "the tiny model has no bytes"


@pytest.mark.slow
def test_perplexity_stays_within_half_a_per_cent(gpu: Device, smollm2: Path) -> None:
    tokenizer = shaderlm.load_tokenizer(smollm2)
    texts = [tokenizer.encode(text, add_special=False) for text in PROMPTS.values()]
    with opened(gpu.gpu, smollm2, context=256, kv_dtype="f16") as engine:
        exact = mean_surprise(engine, texts)
    with fast(gpu, smollm2, context=256, kv_dtype="f16") as engine:
        rounded = mean_surprise(engine, texts)
    assert np.exp(rounded - exact) == pytest.approx(1.0, abs=0.005)


def mean_surprise(engine: Engine, texts: list[list[int]]) -> float:
    """Mean negative log likelihood of all tokens but the first of each text."""
    surprises = [surprise(all_logits(engine, text), text) for text in texts]
    return float(np.concatenate(surprises).mean())


def surprise(logits: Logits, text: list[int]) -> Any:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(1))
    return (log_total - shifted[np.arange(len(text)), [*text[1:], 0]])[:-1]
