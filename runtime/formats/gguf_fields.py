"""GGUF's keys for hyperparameters, translated into the names that `models/` reads."""

from collections.abc import Mapping, Sequence

from ..errors import InvalidConfig
from .checkpoint import TensorInfo
from .gguf_arrays import MetadataArray, NumberArray

# Canonical name -> the keys behind "<architecture>.", the first one present counts.
KEYS = {
    "vocab_size": ("vocab_size",),
    "context_length": ("context_length",),
    "hidden_size": ("embedding_length",),
    "n_layers": ("block_count",),
    "intermediate_size": ("feed_forward_length",),
    "n_heads": ("attention.head_count",),
    "n_kv_heads": ("attention.head_count_kv",),
    "n_experts": ("expert_count",),
    "norm_eps": ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"),
    "sliding_window": ("attention.sliding_window",),
    "rope_dim": ("rope.dimension_count",),
    "rope_theta": ("rope.freq_base",),
    "rope_scaling": ("rope.scaling.type",),
    "rope_scaling_factor": ("rope.scaling.factor", "rope.scale_linear"),
    "rope_original_context": ("rope.scaling.original_context_length",),
    "rope_attention_factor": ("rope.scaling.attn_factor",),
    "rope_extrapolation_factor": ("rope.scaling.yarn_ext_factor",),
    "rope_beta_fast": ("rope.scaling.yarn_beta_fast",),
    "rope_beta_slow": ("rope.scaling.yarn_beta_slow",),
}
# Not here: rope.scaling.yarn_attn_factor. Converters put two different quantities there, the whole magnitude or a
# factor on top of YaRN's own, and llama.cpp reads it for no architecture of ours.

MEANS_NONE = {"sliding_window", "rope_scaling_factor", "n_experts"}  # where a zero says "not used"
INTERLEAVED = {"llama"}  # architectures whose converter reorders the rows of Q and K for interleaved pairs


def hyperparameters(
    metadata: Mapping[str, object],
    architecture: str,
    tensors: Mapping[str, TensorInfo],
    frequency_factors: tuple[float, ...] | None,
    file: str,
) -> dict[str, object]:
    """Canonical hyperparameters of a file; those it does not have are absent. Raises InvalidConfig.

    Types and ranges of single values are checked where they are used, in `models/`.
    """
    found: dict[str, object] = {"rope_interleaved": architecture in INTERLEAVED}
    for name, keys in KEYS.items():
        value = _first(metadata, architecture, keys, file)
        if value is not None and not (name in MEANS_NONE and value == 0):
            found[name] = value
    head_dim = _head_dim(metadata, architecture, file)
    if head_dim is not None:
        found["head_dim"] = head_dim
    if "vocab_size" not in found and "token_embd.weight" in tensors:
        found["vocab_size"] = tensors["token_embd.weight"].shape[0]
    if frequency_factors is not None:
        found["rope_frequency_factors"] = frequency_factors
    _complete_scaling(found)
    return found


def _complete_scaling(found: dict[str, object]) -> None:
    """A factor without a type means linear; YaRN without an original context means the model's own."""
    if "rope_scaling_factor" in found:
        found.setdefault("rope_scaling", "linear")
    if found.get("rope_scaling") == "yarn" and "context_length" in found:
        found.setdefault("rope_original_context", found["context_length"])


def _head_dim(metadata: Mapping[str, object], architecture: str, file: str) -> object:
    keys = _first(metadata, architecture, ("attention.key_length",), file)
    values = _first(metadata, architecture, ("attention.value_length",), file)
    if None not in (keys, values) and keys != values:
        raise InvalidConfig(
            f"attention.key_length is {keys!r:.80} and attention.value_length is {values!r:.80} in {file}; "
            "heads of different widths for keys and values are not supported."
        )
    return values if keys is None else keys


def _first(metadata: Mapping[str, object], architecture: str, keys: Sequence[str], file: str) -> object:
    for key in keys:
        value = metadata.get(f"{architecture}.{key}")
        if value is not None:
            return _same_in_all_layers(value, f"{architecture}.{key}", file)
    return None


def _same_in_all_layers(value: object, key: str, file: str) -> object:
    """Some files give a list with an entry for each layer where the layers are alike."""
    if not isinstance(value, MetadataArray):
        return value
    different = list(dict.fromkeys(value)) if isinstance(value, NumberArray) else list(value[:8])
    if len(different) != 1:
        shown = ", ".join(map(str, different[:8]))
        raise InvalidConfig(f"{key} differs from layer to layer in {file} ({shown:.80}), which is not supported.")
    return different[0]
