"""How much memory a model takes, before any is taken; and the context that fits."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import ModelTooLarge
from ..host import Gpu
from ..models.decoder import DecoderConfig
from .choice import PAGE, Deployment, KvDtype
from .plan import WeightSpec
from .vocabulary import VocabularyLayout

RING_BYTES = 8 << 20  # through which weights are uploaded
LEAST_CONTEXT = 512  # a context smaller than this is not chosen silently


class CachedLayer(Protocol):
    """A layer as the KV cache sees it."""

    @property
    def window(self) -> int | None: ...

    def page_bytes(self, dtype: KvDtype) -> int: ...


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by part, for the whole context."""

    context: int
    weights: int
    kv_cache: int
    activations: int
    largest_binding: int
    largest_name: str

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.activations

    def __str__(self) -> str:
        return (
            f"{self.total / 1e6:,.0f} MB (weights {self.weights / 1e6:,.0f}, KV cache {self.kv_cache / 1e6:,.0f} "
            f"for a context of {self.context:,}, activations {self.activations / 1e6:,.0f})"
        )


def estimate(
    specs: Iterable[WeightSpec], layers: Sequence[CachedLayer], config: DecoderConfig, deployment: Deployment
) -> MemoryEstimate:
    """The estimate for a model at a deployment's context."""
    sizes = {spec.name: spec.resident_bytes for spec in specs}
    kv = {
        f"the KV cache of layer {i}": deployment.slots * deployment.max_pages * layer.page_bytes(deployment.kv_dtype)
        for i, layer in enumerate(layers)
    }
    largest = max((sizes | kv).items(), key=lambda item: item[1])
    return MemoryEstimate(
        deployment.context,
        sum(sizes.values()),
        sum(kv.values()),
        _activations(config, deployment) + RING_BYTES,
        largest[1],
        largest[0],
    )


def fitting_context(
    memory_at: Callable[[int], MemoryEstimate], wanted: int, gpu: Gpu, model: str, *, shrink: bool
) -> int:
    """`wanted`, or the largest halving of it that fits the device if `shrink`. Raises ModelTooLarge."""
    available = gpu.available_memory()
    limit = min(gpu.adapter.limits["max-storage-buffer-binding-size"], gpu.adapter.limits["max-buffer-size"])
    context = wanted
    while True:
        memory = memory_at(context)
        problem = _problem(memory, available, limit)
        if problem is None:
            return context
        if not shrink or context // 2 < LEAST_CONTEXT:
            raise ModelTooLarge(
                f"{model} does not fit {gpu.adapter.name}: {problem} {_advice(memory_at, context, available, limit)}"
            )
        context = context // 2 // PAGE * PAGE


def ran_out(model: str, adapter: str, memory: MemoryEstimate, error: BaseException) -> str:
    """What to tell a person whose device refused what the estimate had let pass."""
    smaller = max(LEAST_CONTEXT, memory.context // 2 // PAGE * PAGE)
    choices = "a smaller model, or one in a smaller weight type"
    if smaller < memory.context:
        choices = f"a smaller context, load(..., context={smaller}), {choices}"
    return (
        f"{model} needs {memory}, and {adapter} ran out of memory while it was loaded. Everything was freed. "
        f"Close other programs, or take {choices}. ({str(error) or type(error).__name__})"
    )


def _problem(memory: MemoryEstimate, available: int | None, limit: int) -> str | None:
    if available is not None and memory.total > available:
        return f"it needs {memory}, and {available / 1e6:,.0f} MB are free."
    if memory.largest_binding > limit:
        name = memory.largest_name
        return f"{name} needs {memory.largest_binding:,} bytes in one binding, and the adapter allows {limit:,}."
    return None


def _advice(memory_at: Callable[[int], MemoryEstimate], context: int, available: int | None, limit: int) -> str:
    while context > LEAST_CONTEXT:
        context = context // 2 // PAGE * PAGE
        if _problem(memory_at(context), available, limit) is None:
            return f"A context of {context:,} would fit: load(..., context={context})."
    return "Take a smaller model, or one in a smaller weight type."


def _activations(config: DecoderConfig, deployment: Deployment) -> int:
    """Buffers of the plans for one decoded row and for a prefill, and the sampling state."""
    widths = 3 * config.hidden_size + 2 * config.n_heads * config.head_dim + config.intermediate_size
    splits = -(-deployment.context // deployment.choice.split)
    parts = config.n_heads * splits * (config.head_dim + 2)
    rows = deployment.choice.prefill_rows + deployment.slots
    vocabulary = VocabularyLayout(config.vocab_size).slot_words * deployment.slots
    logits = 2 * config.vocab_size * (1 + deployment.slots)
    return 4 * (widths * rows + parts * deployment.slots + vocabulary + logits)
