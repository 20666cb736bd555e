"""The memory that a model takes, told before any is taken, and the context that fits."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gpu import Device
from plans import CPU, GPU, LLAMA_3_8B, SMOLLM2, config_of, deployment, graph_of, plan_of, types_of
from shaderlm.engine.kv_cache import LayerShape
from shaderlm.engine.sequence import STATE_BYTES
from shaderlm.errors import ModelTooLarge
from shaderlm.planner.fuse import Attend
from shaderlm.planner.memory import LEAST_CONTEXT, RING_BYTES, MemoryEstimate, estimate, fitting_context, ran_out
from shaderlm.planner.vocabulary import VocabularyLayout
from shaderlm.planner.weights import weight_specs
from shaderlm.tensors import Q4_1, Q8_0

EMBEDDING_IN_Q8 = {"token_embd.weight": Q8_0}


def estimate_of(hyperparameters: dict[str, Any], context: int, **options: Any) -> MemoryEstimate:
    config = config_of(hyperparameters)
    ops, graph = graph_of(config)
    specs = weight_specs(ops, types_of(graph, Q4_1, EMBEDDING_IN_Q8), config.vocab_size)
    attentions = [op.attention for op in ops if isinstance(op, Attend)]
    layers = [LayerShape(a.layer, a.window, a.n_kv_heads, a.head_dim) for a in attentions]
    return estimate(specs.values(), layers, config, deployment(config, context=context, **options))


def test_weights_and_cache_are_estimated_to_the_byte() -> None:
    memory = estimate_of(SMOLLM2, 2048)
    matrices = 30 * (576 * 576 * 2 + 192 * 576 * 2 + 3 * 1536 * 576)
    assert memory.weights == matrices // 32 * 20 + 49152 * 576 // 32 * 34 + 4 * 576 * 61
    assert memory.kv_cache == 30 * 2048 * 2 * 3 * 64 * 2
    assert memory.total == memory.weights + memory.kv_cache + memory.activations
    assert estimate_of(SMOLLM2, 2048, kv_dtype="f32").kv_cache == 2 * memory.kv_cache
    assert estimate_of(SMOLLM2, 2048, slots=3).kv_cache == 3 * memory.kv_cache
    assert (memory.largest_binding, memory.largest_name) == (49152 * 576 // 32 * 34, "token_embd.weight")


@pytest.mark.parametrize("model", [SMOLLM2, LLAMA_3_8B], ids=["smollm2", "llama-3-8b"])
@pytest.mark.parametrize("adapter", [GPU, CPU], ids=["gpu", "cpu"])
@pytest.mark.parametrize("context", [512, 8192])
def test_activations_are_estimated_as_large_as_the_plans_make_them(
    model: dict[str, Any], adapter: Any, context: int
) -> None:
    """Neither less than an answer needs, nor so much more that a model is refused for it."""
    config = config_of(model)
    rows = deployment(config, adapter, context=context).choice.prefill_rows
    plans = [plan_of(model, "decode", 1, adapter=adapter, context=context, matrices=Q4_1),
             plan_of(model, "prefill", rows, adapter=adapter, context=context, matrices=Q4_1)]  # fmt: skip
    shared = 4 * context + 4 * VocabularyLayout(config.vocab_size).slot_words + STATE_BYTES
    taken = sum(sum(plan.sizes.values()) for plan in plans) + shared
    estimated = estimate_of(model, context, adapter=adapter).activations - RING_BYTES
    assert 0.9 * taken <= estimated <= 2 * taken, f"{taken:,} bytes taken, {estimated:,} estimated"


@pytest.fixture
def memory_of(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], Any]:
    """The test device, with so many bytes free."""

    def claim(free: int | None, **limits: int) -> Any:
        monkeypatch.setattr(gpu.gpu, "available_memory", lambda: free)
        adapter = gpu.gpu.adapter
        monkeypatch.setattr(gpu.gpu, "adapter", replace(adapter, limits={**adapter.limits, **limits}))
        return gpu.gpu

    return claim


def smollm2_at(context: int) -> MemoryEstimate:
    return estimate_of(SMOLLM2, context)


@pytest.mark.parametrize("shrink", [False, True])
def test_a_context_that_fits_is_taken(memory_of: Any, shrink: bool) -> None:
    assert fitting_context(smollm2_at, 2048, memory_of(1 << 30), "model", shrink=shrink) == 2048
    assert fitting_context(smollm2_at, 2048, memory_of(None), "model", shrink=shrink) == 2048


def test_a_context_that_nobody_asked_for_is_halved_until_it_fits(memory_of: Any) -> None:
    free = smollm2_at(2048).total
    assert fitting_context(smollm2_at, 8192, memory_of(free), "model", shrink=True) == 2048
    assert fitting_context(smollm2_at, 8192, memory_of(free - 1), "model", shrink=True) == 1024
    assert fitting_context(smollm2_at, 8000, memory_of(free), "model", shrink=True) == 1984, "in whole pages"


def test_a_context_that_was_asked_for_is_refused_with_one_that_fits(memory_of: Any) -> None:
    gpu = memory_of(smollm2_at(2048).total)
    with pytest.raises(ModelTooLarge) as caught:
        fitting_context(smollm2_at, 8192, gpu, "SmolLM2.gguf", shrink=False)
    needed, free = smollm2_at(8192), smollm2_at(2048).total
    assert str(caught.value) == (
        f"SmolLM2.gguf does not fit {gpu.adapter.name}: it needs {needed}, and {free / 1e6:,.0f} MB are free. "
        "A context of 2,048 would fit: load(..., context=2048)."
    )
    assert "context of 8,192" in str(needed)


@pytest.mark.parametrize("shrink", [False, True])
def test_a_model_that_fits_with_no_context_is_refused(memory_of: Any, shrink: bool) -> None:
    with pytest.raises(ModelTooLarge, match="Take a smaller model, or one in a smaller weight type"):
        fitting_context(smollm2_at, 8192, memory_of(50_000_000), "model", shrink=shrink)


def test_no_context_under_the_least_is_chosen_silently(memory_of: Any) -> None:
    free = smollm2_at(LEAST_CONTEXT // 2).total
    with pytest.raises(ModelTooLarge):
        fitting_context(smollm2_at, 8192, memory_of(free), "model", shrink=True)


def test_a_binding_over_the_devices_limit_is_refused_by_name(memory_of: Any) -> None:
    gpu = memory_of(None, **{"max-storage-buffer-binding-size": 20 << 20})
    with pytest.raises(ModelTooLarge, match=r"token_embd\.weight needs 30,081,024 bytes in one binding, .* 20,971,520"):
        fitting_context(smollm2_at, 512, gpu, "model", shrink=True)


def test_a_cache_over_the_devices_limit_makes_the_context_smaller(memory_of: Any) -> None:
    gpu = memory_of(None, **{"max-buffer-size": 31 << 20})
    wanted = 131_072  # 96 MB of keys and values a layer
    assert fitting_context(smollm2_at, wanted, gpu, "model", shrink=True) == 32_768
    with pytest.raises(ModelTooLarge, match=r"the KV cache of layer 0 needs .* A context of 32,768 would fit"):
        fitting_context(smollm2_at, wanted, gpu, "model", shrink=False)


def test_what_ran_out_is_told_with_smaller_choices() -> None:
    text = ran_out("model", "a GPU", smollm2_at(2048), MemoryError("no"))
    assert "a smaller context, load(..., context=1024), a smaller model" in text
    text = ran_out("model", "a GPU", smollm2_at(LEAST_CONTEXT), MemoryError())
    assert "take a smaller model, or one in a smaller weight type. (MemoryError)" in text
