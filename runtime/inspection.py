"""What a model file says of itself and what it would take to run it: from the headers alone, without a device."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .core import MakeCodec, make_tokenizer
from .engine.blueprint import Blueprint, blueprint
from .errors import ShaderLMError
from .formats import read_checkpoint
from .formats.checkpoint import Checkpoint, TokenizerData
from .host import Adapter, ByteSource
from .planner.choice import PAGE, Deployment, KvDtype
from .planner.memory import MemoryEstimate

NOBODY = Adapter(  # in whose place estimates are made where there is no adapter: what every WebGPU device has
    "a device with WebGPU's guaranteed limits",
    "unknown",
    "WebGPU",
    limits={"max-storage-buffer-binding-size": 128 << 20, "max-buffer-size": 256 << 20},
)
KV_TOKENS = 1024  # per which the KV cache is told
KV_DTYPES: tuple[KvDtype, ...] = ("f16", "f32")


@dataclass(frozen=True)
class TypeShare:
    """What of a file is stored in one weight type."""

    type: str
    tensors: int
    values: int
    bytes: int


@dataclass(frozen=True)
class TokenizerSummary:
    """The tokenizer that a file carries."""

    model: str  # "gpt2" (byte BPE), "llama" (SentencePiece), ..., as GGUF calls them
    pre: str  # the pre-tokenizer's name, "" where the file has none
    tokens: int
    bos: str | None
    ends: tuple[str, ...]  # tokens that end a turn
    add_bos: bool


@dataclass(frozen=True)
class MemorySummary:
    """Bytes that a model takes at a context, by part."""

    context: int
    kv_dtype: KvDtype
    weights: int
    kv_cache: int
    kv_per_1k_tokens: Mapping[str, int]  # by the KV cache's dtype, for 1,024 tokens
    activations: int
    total: int
    largest_binding: int
    largest_name: str


@dataclass(frozen=True)
class AdapterSummary:
    """The adapter that a model was held against."""

    name: str
    kind: str
    largest_buffer: int
    largest_binding: int
    free_memory: int | None  # None where memory is the GPU's own, which WebGPU does not tell


@dataclass(frozen=True)
class Inspection:
    """A report of a model's file. `problems` says what keeps it from running, each with what to do."""

    file: str
    bytes: int
    name: str  # the model's own name, "" where the file has none
    architecture: str
    parameters: int  # values in all weights
    types: tuple[TypeShare, ...]  # the largest first
    hyperparameters: Mapping[str, object]
    rope: str  # "theta 100,000, interleaved pairs, linear scaling by 4"
    tokenizer: TokenizerSummary | None
    chat_template: int | None  # characters, None where the file has none
    memory: MemorySummary | None  # None for a model that cannot be planned
    adapter: AdapterSummary | None  # None where there is none
    verdict: Literal["runs", "runs with a smaller context", "does not run"]
    problems: tuple[str, ...] = field(default=())


async def inspect_source(
    source: ByteSource,
    make_codec: MakeCodec,
    *,
    adapter: Adapter | None,
    free_memory: int | None,
    context: int | None = None,
    kv_dtype: KvDtype = "f16",
) -> Inspection:
    """The report of a model file, held against `adapter` if there is one; `free_memory` as `Gpu.available_memory`.

    What keeps the model from running is told in the report; raised is only what keeps it from being read: InvalidFile,
    UnknownWeightType, InvalidConfig, TokenizerError.
    """
    checkpoint = await read_checkpoint(source)
    problems: list[str] = []
    try:
        make_tokenizer(checkpoint, make_codec)
    except ShaderLMError as error:
        problems.append(str(error))
    memory, smaller = None, False
    try:
        model = blueprint(checkpoint)
        memory, smaller = _memory(model, adapter, free_memory, context, kv_dtype, problems)
    except ShaderLMError as error:
        problems.append(str(error))
    return Inspection(
        file=checkpoint.name,
        bytes=source.size,
        name=str(checkpoint.metadata.get("general.name", "")),
        architecture=checkpoint.architecture,
        parameters=sum(tensor.values for tensor in checkpoint.tensors.values()),
        types=_types(checkpoint),
        hyperparameters={key: value for key, value in checkpoint.hyperparameters.items() if _is_plain(value)},
        rope=_rope(checkpoint.hyperparameters),
        tokenizer=_tokenizer(checkpoint.tokenizer),
        chat_template=_template_length(checkpoint.tokenizer),
        memory=memory,
        adapter=_adapter(adapter, free_memory),
        verdict="does not run" if problems else "runs with a smaller context" if smaller else "runs",
        problems=tuple(problems),
    )


def _memory(
    model: Blueprint,
    adapter: Adapter | None,
    free_memory: int | None,
    context: int | None,
    kv_dtype: KvDtype,
    problems: list[str],
) -> tuple[MemorySummary, bool]:
    """What the model takes, and whether it would be with less than its own context. Adds to `problems`."""
    own = model.config.context_length
    if adapter is None:
        deployment = model.deployment(NOBODY, context or own, kv_dtype=kv_dtype)
        return _summary(model, deployment), False
    try:
        deployment = model.fitting(adapter, free_memory, context=context, kv_dtype=kv_dtype)
        model.check_adapter(deployment, adapter)
    except ShaderLMError as error:
        problems.append(str(error))
        deployment = model.deployment(adapter, context or own, kv_dtype=kv_dtype)
    return _summary(model, deployment), context is None and deployment.context < own


def _summary(model: Blueprint, deployment: Deployment) -> MemorySummary:
    memory: MemoryEstimate = model.memory(deployment)
    page = {dtype: sum(layer.page_bytes(dtype) for layer in model.layers) for dtype in KV_DTYPES}
    per_1k: dict[str, int] = {dtype: size * KV_TOKENS // PAGE for dtype, size in page.items()}
    return MemorySummary(
        memory.context,
        deployment.kv_dtype,
        memory.weights,
        memory.kv_cache,
        per_1k,
        memory.activations,
        memory.in_use,
        memory.largest_binding,
        memory.largest_name,
    )


def _types(checkpoint: Checkpoint) -> tuple[TypeShare, ...]:
    shares: dict[str, TypeShare] = {}
    for tensor in checkpoint.tensors.values():
        name = str(tensor.type)
        known = shares.get(name, TypeShare(name, 0, 0, 0))
        shares[name] = TypeShare(name, known.tensors + 1, known.values + tensor.values, known.bytes + tensor.size)
    return tuple(sorted(shares.values(), key=lambda share: -share.bytes))


def _rope(hyperparameters: Mapping[str, object]) -> str:
    """Base, pairs and scaling of the rotary position embedding, in words."""
    parts = [f"theta {_number(hyperparameters.get('rope_theta', 10000.0))}"]
    parts.append("interleaved pairs" if hyperparameters.get("rope_interleaved") else "half-split pairs")
    scaling = hyperparameters.get("rope_scaling", "none")
    if scaling != "none":
        parts.append(f"{scaling!s:.80} scaling by {_number(hyperparameters.get('rope_scaling_factor', 1.0))}")
    if "rope_frequency_factors" in hyperparameters:
        parts.append("frequencies divided by a tensor of the file")
    return ", ".join(parts)


def _number(value: object) -> str:
    """A number, or what a broken file has in its place."""
    return f"{value:,g}" if isinstance(value, int | float) else f"{value!r:.80}"


def _tokenizer(data: TokenizerData | None) -> TokenizerSummary | None:
    if data is None:
        return None
    bos = None if data.bos_id is None else data.tokens[data.bos_id]
    ends = tuple(data.tokens[token] for token in data.eos_ids)
    return TokenizerSummary(data.model, data.pre, len(data.tokens), bos, ends, data.add_bos)


def _template_length(data: TokenizerData | None) -> int | None:
    return None if data is None or data.chat_template is None else len(data.chat_template)


def _adapter(adapter: Adapter | None, free_memory: int | None) -> AdapterSummary | None:
    if adapter is None:
        return None
    return AdapterSummary(
        adapter.name,
        adapter.kind,
        adapter.limits["max-buffer-size"],
        adapter.limits["max-storage-buffer-binding-size"],
        free_memory,
    )


def _is_plain(value: object) -> bool:
    """Whether JSON can say it: no list of factors, and none of the infinities of a broken file."""
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
