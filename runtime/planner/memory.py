"""How much memory a model takes, before any is taken; and the context that fits."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import ModelTooLarge
from ..host import Adapter
from .buffers import shared_activations
from .choice import PAGE, Deployment, KvDtype
from .plan import Plan, WeightSpec
from .vocabulary import VocabularyLayout

STAGING_BYTES = 4 << 20  # of one buffer that weights are uploaded through
RING = 2  # such buffers
SEQUENCE_BYTES = 112  # of `Sequence` in sequence.wgsl: what a slot's tokens are drawn by
GUARANTEED_BINDING = 128 << 20  # bytes, of every WebGPU device
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
    activations: int  # and all else that plans and sequences keep
    largest_binding: int
    largest_name: str

    @property
    def in_use(self) -> int:
        """What a loaded model takes once its whole context is in use."""
        return self.weights + self.kv_cache + self.activations

    @property
    def total(self) -> int:
        """The most it takes at any time: while weights are uploaded, a ring for them stands in the others' place."""
        return self.weights + max(self.kv_cache + self.activations, RING * STAGING_BYTES)

    def __str__(self) -> str:
        return (
            f"{self.total / 1e6:,.0f} MB (weights {self.weights / 1e6:,.0f}, KV cache {self.kv_cache / 1e6:,.0f} "
            f"for a context of {self.context:,}, activations {self.activations / 1e6:,.0f})"
        )


def estimate(
    specs: Iterable[WeightSpec], layers: Sequence[CachedLayer], plans: Iterable[Plan], deployment: Deployment
) -> MemoryEstimate:
    """The estimate for a model at a deployment's context; `plans` are those that answers are made with."""
    plans = list(plans)
    sizes = {spec.name: spec.resident_bytes for spec in specs}
    kv = {
        f"the KV cache of layer {i}": deployment.cache_pages * layer.page_bytes(deployment.kv_dtype)
        for i, layer in enumerate(layers)
    }
    spare_page = max(layer.page_bytes(deployment.kv_dtype) for layer in layers)
    shared = shared_sizes(deployment, VocabularyLayout(plans[0].vocab_size))
    activations = shared_activations(plan.sizes for plan in plans)
    own = [size for plan in plans for name, size in plan.sizes.items() if name not in activations]
    largest = max((sizes | kv).items(), key=lambda item: item[1])
    return MemoryEstimate(
        deployment.context,
        sum(sizes.values()),
        sum(kv.values()) + spare_page,
        sum(activations.values()) + sum(own) + sum(shared.values()),
        largest[1],
        largest[0],
    )


def shared_sizes(deployment: Deployment, vocabulary: VocabularyLayout) -> dict[str, int]:
    """Bytes of the buffers that every plan of a model binds, by name."""
    d = deployment
    return {
        "tokens": 4 * d.slots * d.context,
        "pages": 4 * len(d.windows) * d.slots * d.max_pages,
        "vocabulary": 4 * d.slots * vocabulary.slot_words,
        "sequences": SEQUENCE_BYTES * d.slots,
    }


def binding_limit(adapter: Adapter) -> int:
    """Bytes that a kernel may bind of a buffer, where WebGPU guarantees 128 MiB."""
    limits = ("max-storage-buffer-binding-size", "max-buffer-size")
    return min(adapter.limits.get(name, GUARANTEED_BINDING) for name in limits)


def fitting_context(
    memory_at: Callable[[int], MemoryEstimate],
    wanted: int,
    adapter: Adapter,
    available: int | None,
    model: str,
    *,
    shrink: bool,
) -> int:
    """`wanted`, or the largest halving of it that fits the adapter and the bytes available if `shrink`.

    `available` is None where nobody knows. Raises ModelTooLarge.
    """
    limit = binding_limit(adapter)
    context = wanted
    while True:
        memory = memory_at(context)
        problem = _problem(memory, available, limit)
        if problem is None:
            return context
        if not shrink or context // 2 < LEAST_CONTEXT:
            raise ModelTooLarge(
                f"{model} does not fit {adapter.name}: {problem} {_advice(memory_at, context, available, limit)}"
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
