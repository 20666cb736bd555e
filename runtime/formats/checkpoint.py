"""What every file format is read into: hyperparameters, tokenizer data and a table of tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..host import ByteSource
from ..tensors import WeightType


@dataclass(frozen=True)
class TensorInfo:
    """A tensor in a file. `shape` is row-major, outermost first: a linear's weight is [out_features, in_features]."""

    name: str  # canonical: "blk.3.attn_q.weight"
    shape: tuple[int, ...]
    type: WeightType
    offset: int  # bytes from the start of the source
    size: int  # bytes

    @property
    def values(self) -> int:
        """Number of values in the tensor."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count


@dataclass(frozen=True)
class TokenizerData:
    """A tokenizer as its file describes it, before it becomes a `tokenizer.json`."""

    model: str  # "gpt2" (byte BPE) or "llama" (SentencePiece), as GGUF calls them
    pre: str  # name of the pre-tokenizer, "" where the file has none
    tokens: Sequence[str]
    scores: Sequence[float]  # empty for BPE
    token_types: Sequence[int]  # 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; may be empty
    merges: Sequence[str]  # "left right"; empty for SentencePiece
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()  # every token that ends a turn
    unknown_id: int | None = None
    add_bos: bool = False
    add_eos: bool = False
    add_space_prefix: bool = True
    chat_template: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """One model, read but for its weights."""

    name: str  # the name of its file, or of the first of its files, for messages
    source: ByteSource
    architecture: str  # "llama"
    hyperparameters: Mapping[str, object]  # canonical names (n_layers, rope_theta, ...): what models/ reads
    tensors: Mapping[str, TensorInfo]
    tokenizer: TokenizerData | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)  # the (first) file's own keys
    weight_scales: Mapping[str, float] = field(default_factory=dict)  # factors on the products of linears, by weight
