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

    model: str  # as GGUF calls it: "gpt2" (BPE), "llama" (SentencePiece), "t5" (unigram), "bert" (WordPiece), ...
    pre: str  # name of a BPE's pre-tokenizer, "" where the file has none
    tokens: Sequence[str]
    scores: Sequence[float]  # empty for BPE and WordPiece
    token_types: Sequence[int]  # 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; may be empty
    merges: Sequence[str]  # "left right"; of a BPE alone
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()  # every token that ends a turn
    unknown_id: int | None = None
    sep_id: int | None = None  # ends a text of BERT's
    add_bos: bool = False
    add_eos: bool = False
    add_sep: bool = False
    add_space_prefix: bool = True
    remove_extra_whitespaces: bool = False  # at both ends, and all but one between words
    charsmap: bytes = b""  # SentencePiece's precompiled map of characters; empty where there is none
    lower_case: bool = False
    strip_accents: bool = False
    left_stripping: frozenset[int] = frozenset()  # tokens that take the white space before them away, where matched
    right_stripping: frozenset[int] = frozenset()  # the same for the white space behind them
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
