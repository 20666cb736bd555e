"""A file's tokenizer as a `tokenizer.json`, which the `tokenizers` libraries for Rust and for JavaScript read alike.

Both libraries know more pre-tokenizers and normalizers than are used here, but those differ in their details (what a
digit, a space, a control character is). So they are spelled as regexes.
"""

from collections.abc import Callable, Mapping

from ..errors import TokenizerError
from ..formats.checkpoint import TokenizerData
from .bpe import bpe, pre_tokenizer
from .sentence_piece import sentence_piece
from .unigram import unigram
from .vocabulary import (
    SPECIAL,
    WORD_BOUNDARY,
    TokenType,
    Vocabulary,
    added_tokens,
    byte_value,
    token_types,
    vocabulary,
)
from .word_piece import word_piece

__all__ = [
    "KINDS",
    "SPECIAL",
    "UNSUPPORTED",
    "WORD_BOUNDARY",
    "TokenType",
    "adds_space",
    "byte_value",
    "cleans_up",
    "is_byte_level",
    "token_types",
    "tokenizer_json",
]

Kind = Callable[[TokenizerData, Vocabulary], dict[str, object]]

KINDS: Mapping[str, Kind] = {  # by the names that `tokenizer.ggml.model` can have
    "gpt2": bpe,
    "gemma4": bpe,
    "whitespace": bpe,
    "llama": sentence_piece,
    "t5": unigram,
    "bert": word_piece,
}
BPE = [model for model, kind in KINDS.items() if kind is bpe]
UNSUPPORTED = ("hybriddna", "plamo2", "rwkv", "test")  # what else llama.cpp has: no library cuts texts in their way


def tokenizer_json(data: TokenizerData) -> dict[str, object]:
    """The `tokenizer.json` that gives the ids which llama.cpp gives.

    Text that is not meant to be parsed can spell no control token: to the model these have other names.

    Raises TokenizerError for a kind or pre-tokenizer that is not known, and for tables that contradict each other.
    """
    if data.model not in KINDS:
        how = "supported" if data.model in UNSUPPORTED else "known"
        names = ", ".join(f'"{model}"' for model in KINDS)
        raise TokenizerError(f'Tokenizer model "{data.model:.80}" is not {how}; {how} are {names}.')
    tokens = vocabulary(data)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(data, tokens),
        "post_processor": None,
        **KINDS[data.model](data, tokens),
    }


def is_byte_level(data: TokenizerData) -> bool:
    """Whether tokens are written in characters that stand for bytes."""
    return data.model in BPE and pre_tokenizer(data.pre).byte_level


def adds_space(data: TokenizerData) -> bool:
    """Whether a text is given a space in front that is none of it."""
    if data.model in ("llama", "t5"):
        return data.add_space_prefix or data.remove_extra_whitespaces
    return data.model == "bert"


def cleans_up(data: TokenizerData) -> bool:
    """Whether the model's own detokenizer takes out spaces before marks and contractions."""
    return data.model == "bert" or (data.model in BPE and pre_tokenizer(data.pre).clean_up)
