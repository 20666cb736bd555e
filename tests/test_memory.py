"""The memory that a model takes, told before any is taken, and the context that fits."""

from dataclasses import replace
from typing import Any

import pytest

from plans import GPU, SMOLLM2, config_of, deployment, graph_of, types_of
from shaderlm.engine.kv_cache import LayerShape
from shaderlm.errors import ModelTooLarge
from shaderlm.planner.fuse import Attend
from shaderlm.planner.lower import lower
from shaderlm.planner.memory import (
    LEAST_CONTEXT,
    RING,
    STAGING_BYTES,
    MemoryEstimate,
    estimate,
    fitting_context,
    ran_out,
)
from shaderlm.planner.weights import weight_specs
from shaderlm.tensors import Q4_1, Q8_0

EMBEDDING_IN_Q8 = {"token_embd.weight": Q8_0}


def estimate_of(hyperparameters: dict[str, Any], context: int, **options: Any) -> MemoryEstimate:
    config = config_of(hyperparameters)
    ops, graph = graph_of(config)
    specs = weight_specs(ops, types_of(graph, Q4_1, EMBEDDING_IN_Q8), config.vocab_size, 128 << 20)
    attentions = [op.attention for op in ops if isinstance(op, Attend)]
    layers = [LayerShape(a.layer, a.window, a.n_kv_heads, a.head_dim) for a in attentions]
    d = deployment(config, context=context, **options)
    return estimate(specs.values(), layers, [lower(ops, types_of(graph, Q4_1, EMBEDDING_IN_Q8), d, "decode", 1)], d)


def test_weights_and_cache_are_estimated_to_the_byte() -> None:
    memory = estimate_of(SMOLLM2, 2048)
    matrices = 30 * (576 * 576 * 2 + 192 * 576 * 2 + 3 * 1536 * 576)
    assert memory.weights == matrices // 32 * 20 + 49152 * 576 // 32 * 34 + 4 * 576 * 61
    spare_page = 32 * 2 * 3 * 64 * 2
    assert memory.kv_cache == 30 * (2048 + 32) * 2 * 3 * 64 * 2 + spare_page
    assert memory.total == memory.in_use == memory.weights + memory.kv_cache + memory.activations
    assert estimate_of(SMOLLM2, 2048, kv_dtype="f32").kv_cache == 2 * memory.kv_cache
    assert estimate_of(SMOLLM2, 2048, slots=3).kv_cache - memory.kv_cache == 2 * 30 * 2048 * 2 * 3 * 64 * 2
    assert (memory.largest_binding, memory.largest_name) == (49152 * 576 // 32 * 34, "token_embd.weight")


def test_a_model_smaller_than_the_ring_takes_most_while_it_is_uploaded() -> None:
    memory = estimate_of({**SMOLLM2, "n_layers": 1, "vocab_size": 32}, 64)
    assert memory.total == memory.weights + RING * STAGING_BYTES > memory.in_use


LIMITS = {"max-storage-buffer-binding-size": 128 << 20, "max-buffer-size": 256 << 20}


def fitting(wanted: int, free: int | None, *, shrink: bool, **limits: int) -> int:
    """SmolLM2's context on an adapter with these limits and so many bytes free."""
    adapter = replace(GPU, limits={**LIMITS, **limits})
    return fitting_context(smollm2_at, wanted, adapter, free, "SmolLM2.gguf", shrink=shrink)


def smollm2_at(context: int) -> MemoryEstimate:
    return estimate_of(SMOLLM2, context)


@pytest.mark.parametrize("shrink", [False, True])
def test_a_context_that_fits_is_taken(shrink: bool) -> None:
    assert fitting(2048, 1 << 30, shrink=shrink) == 2048
    assert fitting(2048, None, shrink=shrink) == 2048


def test_a_context_that_nobody_asked_for_is_halved_until_it_fits() -> None:
    free = smollm2_at(2048).total
    assert fitting(8192, free, shrink=True) == 2048
    assert fitting(8192, free - 1, shrink=True) == 1024
    assert fitting(8000, free, shrink=True) == 1984, "in whole pages"


def test_a_context_that_was_asked_for_is_refused_with_one_that_fits() -> None:
    needed, free = smollm2_at(8192), smollm2_at(2048).total
    with pytest.raises(ModelTooLarge) as caught:
        fitting(8192, free, shrink=False)
    assert str(caught.value) == (
        f"SmolLM2.gguf does not fit a GPU: it needs {needed}, and {free / 1e6:,.0f} MB are free. "
        "A context of 2,048 would fit: load(..., context=2048)."
    )
    assert "context of 8,192" in str(needed)


@pytest.mark.parametrize("shrink", [False, True])
def test_a_model_that_fits_with_no_context_is_refused(shrink: bool) -> None:
    with pytest.raises(ModelTooLarge, match="Take a smaller model, or one in a smaller weight type"):
        fitting(8192, 50_000_000, shrink=shrink)


def test_no_context_under_the_least_is_chosen_silently() -> None:
    free = smollm2_at(LEAST_CONTEXT // 2).total
    with pytest.raises(ModelTooLarge):
        fitting(8192, free, shrink=True)


def test_a_cache_over_the_devices_limit_makes_the_context_smaller() -> None:
    small = {"max-buffer-size": 31 << 20}
    wanted = 131_072  # 96 MB of keys and values a layer
    assert fitting(wanted, None, shrink=True, **small) == 32_768
    with pytest.raises(ModelTooLarge, match=r"the KV cache of layer 0 needs .* A context of 32,768 would fit"):
        fitting(wanted, None, shrink=False, **small)


def test_what_ran_out_is_told_with_smaller_choices() -> None:
    text = ran_out("model", "a GPU", smollm2_at(2048), MemoryError("no"))
    assert "a smaller context, load(..., context=1024), a smaller model" in text
    text = ran_out("model", "a GPU", smollm2_at(LEAST_CONTEXT), MemoryError())
    assert "take a smaller model, or one in a smaller weight type. (MemoryError)" in text
