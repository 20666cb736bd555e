"""Byte-pair encoding by the file's own merges: in bytes (GPT-2, and most since), or in characters (Gemma 4)."""

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence

from ..errors import TokenizerError
from ..formats.checkpoint import TokenizerData
from .normalizers import lower_case, replace, sequence
from .pre_tokenizers import PRE_TOKENIZERS, PreTokenizer
from .vocabulary import ADDED, WORD_BOUNDARY, TokenType, Vocabulary, added_tokens

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
CHARACTERS = {
    "type": "Sequence",
    "decoders": [replace(WORD_BOUNDARY, " "), {"type": "ByteFallback"}, {"type": "Fuse"}],
}


def bpe(data: TokenizerData, tokens: Vocabulary) -> dict[str, object]:
    """The parts of a `tokenizer.json`. Raises TokenizerError for an unknown pre-tokenizer, and without merges."""
    if not data.pre:
        warnings.warn(
            'The file names no pre-tokenizer; "default" is used, as llama.cpp does. Answers may be worse than the '
            "model's best: a newer conversion of the model will name its own.",
            stacklevel=2,
        )
    row = pre_tokenizer(data.pre)
    merges = _merges(data.merges, tokens.pieces)
    if not merges and any(len(text) > 1 and tokens.types[id] not in ADDED for text, id in tokens.pieces.items()):
        raise TokenizerError("The tokenizer has tokens of several characters, but no merges (tokenizer.ggml.merges).")
    if row.whole_newlines:
        tokens = _with_whole_newlines(tokens)
    cuts: list[object] = [split(pattern, "Removed" if row.drops_spaces else "Isolated") for pattern in row.patterns]
    return {
        "added_tokens": added_tokens(data, tokens),
        "normalizer": _normalizer(data, row),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*cuts, BYTE_LEVEL] if row.byte_level else cuts},
        "decoder": BYTE_LEVEL if row.byte_level else CHARACTERS,
        "model": bpe_model(tokens, merges, ignore_merges=row.ignore_merges, byte_fallback=not row.byte_level),
    }


def bpe_model(
    tokens: Vocabulary,
    merges: Sequence[list[str]],
    *,
    ignore_merges: bool = False,
    byte_fallback: bool = False,
    unknown_id: int | None = None,
) -> dict[str, object]:
    """The model of a `tokenizer.json`; `merges` are pairs of pieces, the first to be merged first."""
    names = list(tokens.names())
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None if unknown_id is None else names[unknown_id],
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": unknown_id is not None,
        "byte_fallback": byte_fallback,
        "ignore_merges": ignore_merges,
        "vocab": {name: i for i, name in enumerate(names)},
        "merges": merges,
    }


def pre_tokenizer(name: str) -> PreTokenizer:
    """The row of a pre-tokenizer, that of "default" for "". Raises TokenizerError for a name that has none."""
    row = PRE_TOKENIZERS.get(name or "default")
    if row is None:
        known = ", ".join(f'"{known}"' for known in PRE_TOKENIZERS)
        raise TokenizerError(f'Pre-tokenizer "{name:.80}" (tokenizer.ggml.pre) is not known; known are {known}.')
    return row


def split(pattern: str, behavior: str = "Isolated") -> dict[str, object]:
    """Cut before and behind each match; "Removed" leaves the match out."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def _normalizer(data: TokenizerData, row: PreTokenizer) -> dict[str, object] | None:
    if row.byte_level:
        return None
    if row.drops_spaces:
        return sequence(lower_case() if data.lower_case else [])
    return sequence([replace(" ", WORD_BOUNDARY)])


def _merges(merges: Iterable[str], pieces: Mapping[str, int]) -> list[list[str]]:
    """The pairs that make a piece out of pieces, each once: of equal ones the first counts."""
    pairs = (merge.partition(" ")[::2] for merge in dict.fromkeys(merges))
    return [[left, right] for left, right in pairs if left in pieces and right in pieces and left + right in pieces]


def _with_whole_newlines(tokens: Vocabulary) -> Vocabulary:
    """Line feeds matched like user-defined tokens: the longest run that is a token, without regard to merges."""
    types = list(tokens.types)
    for text, id in tokens.pieces.items():
        if not text.strip("\n"):
            types[id] = TokenType.USER_DEFINED
    return dataclasses.replace(tokens, types=types)
