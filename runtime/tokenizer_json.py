"""A file's tokenizer as a `tokenizer.json`, which the `tokenizers` libraries for Rust and for JavaScript read alike.

Both libraries know more pre-tokenizers than are used here, but their `Digits` and their built-in byte-level regex
differ on some Unicode digits and white space. So every pre-tokenizer is spelled as regexes, and white space is written
out: the two regex engines disagree on what `\\s` is (U+0085, U+FEFF).
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from .errors import TokenizerError
from .formats.checkpoint import TokenizerData

WORD_BOUNDARY = "\u2581"  # SentencePiece writes a space as this


class TokenType(IntEnum):
    """What a token is, in GGUF's numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


SPECIAL = (TokenType.UNKNOWN, TokenType.CONTROL)  # their text is never shown, and matched only where asked for


@dataclass(frozen=True)
class PreTokenizer:
    """How a byte BPE cuts a text into words before it merges: by each pattern in turn, matches and gaps alike."""

    patterns: tuple[str, ...]
    ignore_merges: bool = False  # a word that is itself a token is taken whole


_SPACE = r"\t-\r \u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000"
_OTHER = rf"[^{_SPACE}\p{{L}}\p{{N}}]"  # neither space, letter nor number
_TRAILING_SPACE = rf"[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"  # the last space before a word stays with the word

_GPT2 = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?{_OTHER}+|{_TRAILING_SPACE}"
_LLAMA3 = (
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    rf"| ?{_OTHER}+[\r\n]*|[{_SPACE}]*[\r\n]+|{_TRAILING_SPACE}"
)

_LLAMA_BPE = PreTokenizer((_LLAMA3,), ignore_merges=True)

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "gpt-2": PreTokenizer((_GPT2,)),
    "smollm": PreTokenizer((r"\p{N}", _GPT2)),
    "llama-bpe": _LLAMA_BPE,
    "llama3": _LLAMA_BPE,
    "llama-v3": _LLAMA_BPE,
    # What llama.cpp falls back to where a file names none: close to GPT-2's, with punctuation and digits cut finer.
    "default": PreTokenizer((r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
}


def tokenizer_json(data: TokenizerData) -> dict[str, object]:
    """The `tokenizer.json` that gives the ids which llama.cpp gives.

    Control tokens are added tokens marked special, user-defined ones are not: an encoder that treats special tokens as
    plain text still matches the latter. No merge makes a special token, so plain text cannot spell one.

    Raises TokenizerError for an unknown kind or pre-tokenizer, and for tables that contradict each other.
    """
    kinds = {"gpt2": _byte_level, "llama": _sentence_piece}
    if data.model not in kinds:
        raise TokenizerError(f'Tokenizer model "{data.model}" is not known; known are {_listed(kinds)}.')
    types = token_types(data)
    tokens = list(data.tokens)  # a file's arrays are decoded at every access
    vocabulary = _vocabulary(tokens)
    plain = {text: i for text, i in vocabulary.items() if types[i] not in SPECIAL}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added_token(tokens[i], i, type) for i, type in enumerate(types) if tokens[i] and _is_added(type)
        ],
        "post_processor": None,
        **kinds[data.model](data, vocabulary, plain),
    }


def token_types(data: TokenizerData) -> list[int]:
    """The type of every token. BOS and the tokens that end a turn are control tokens whatever the file says.

    Raises TokenizerError where a table has another length than the vocabulary, or an id lies outside it.
    """
    count = len(data.tokens)
    if count == 0:
        raise TokenizerError("The tokenizer has no tokens: the file's vocabulary is empty.")
    if data.token_types and len(data.token_types) != count:
        raise TokenizerError(f"The tokenizer has {count:,} tokens but {len(data.token_types):,} token types.")
    types = [int(type) for type in data.token_types] or [_guessed_type(data.model, text) for text in data.tokens]
    for name, id in (("BOS", data.bos_id), ("unknown", data.unknown_id), *(("EOS", id) for id in data.eos_ids)):
        if id is not None and not 0 <= id < count:
            raise TokenizerError(f"The tokenizer's {name} token is {id:,}, outside its vocabulary of {count:,} tokens.")
        if id is not None and name != "unknown":
            types[id] = TokenType.CONTROL
    return types


def byte_value(token: str) -> int | None:
    """The byte that SentencePiece writes as `<0x0A>`, or None for any other token."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        try:
            return int(token[3:5], 16)
        except ValueError:
            return None
    return None


def _byte_level(data: TokenizerData, vocabulary: Mapping[str, int], plain: Mapping[str, int]) -> dict[str, object]:
    pre_tokenizer = _pre_tokenizer(data.pre)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    merges = [merge for merge in data.merges if _is_usable(merge, plain)]
    return {
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [*(_split(pattern) for pattern in pre_tokenizer.patterns), byte_level],
        },
        "decoder": byte_level,
        "model": _bpe(vocabulary, merges, ignore_merges=pre_tokenizer.ignore_merges),
    }


def _sentence_piece(data: TokenizerData, vocabulary: Mapping[str, int], plain: Mapping[str, int]) -> dict[str, object]:
    if len(data.scores) != len(data.tokens):
        raise TokenizerError(f"The tokenizer has {len(data.tokens):,} tokens but {len(data.scores):,} scores.")
    space = {"String": " "}
    prefix = [{"type": "Prepend", "prepend": WORD_BOUNDARY}] if data.add_space_prefix else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if data.add_space_prefix else []
    unknown = None if data.unknown_id is None else data.tokens[data.unknown_id]
    return {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [*prefix, {"type": "Replace", "pattern": space, "content": WORD_BOUNDARY}],
        },
        "pre_tokenizer": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": WORD_BOUNDARY}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *strip,
            ],
        },
        "model": _bpe(vocabulary, _merges_of_pieces(plain, list(data.scores)), byte_fallback=True, unknown=unknown),
    }


def _bpe(
    vocabulary: Mapping[str, int],
    merges: Sequence[object],
    *,
    ignore_merges: bool = False,
    byte_fallback: bool = False,
    unknown: str | None = None,
) -> dict[str, object]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": unknown is not None,
        "byte_fallback": byte_fallback,
        "ignore_merges": ignore_merges,
        "vocab": dict(vocabulary),
        "merges": list(merges),
    }


def _merges_of_pieces(plain: Mapping[str, int], scores: Sequence[float]) -> list[list[str]]:
    """SentencePiece merges the neighbours whose joined piece has the best score, the leftmost among equals.

    A BPE wants an order of pairs instead: all pairs that make a piece, by the piece's score. Among pieces of one score
    the longer come first: growing the run that was begun at the left is what "leftmost" amounts to, and in Llama's
    vocabulary only runs of spaces share a score.
    """
    pieces = sorted((piece for piece in plain if len(piece) > 1), key=lambda p: (-scores[plain[p]], -len(p), plain[p]))
    return [
        [piece[:cut], piece[cut:]]
        for piece in pieces
        for cut in range(len(piece) - 1, 0, -1)
        if piece[:cut] in plain and piece[cut:] in plain
    ]


def _is_usable(merge: str, plain: Mapping[str, int]) -> bool:
    left, _, right = merge.partition(" ")
    return left in plain and right in plain and left + right in plain


def _vocabulary(tokens: Sequence[str]) -> dict[str, int]:
    vocabulary = {text: i for i, text in enumerate(tokens) if text}
    if len(vocabulary) < len(tokens):
        _refuse_duplicates(tokens)
    return vocabulary


def _refuse_duplicates(tokens: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for i, text in enumerate(tokens):
        if text and seen.setdefault(text, i) != i:
            raise TokenizerError(f"Token {text!r} is in the vocabulary twice, as {seen[text]:,} and as {i:,}.")


def _pre_tokenizer(name: str) -> PreTokenizer:
    if not name:
        warnings.warn(
            'The file names no pre-tokenizer; "default" is used, as llama.cpp does. Answers may be worse than the '
            "model's best: a newer conversion of the model will name its own.",
            stacklevel=2,
        )
        name = "default"
    if name not in PRE_TOKENIZERS:
        raise TokenizerError(f'Pre-tokenizer "{name}" is not known; known are {_listed(PRE_TOKENIZERS)}.')
    return PRE_TOKENIZERS[name]


def _split(pattern: str) -> dict[str, object]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _is_added(type: int) -> bool:
    return type in SPECIAL or type == TokenType.USER_DEFINED


def _added_token(text: str, id: int, type: int) -> dict[str, object]:
    return {
        "id": id,
        "content": text,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": type in SPECIAL,
    }


def _guessed_type(model: str, text: str) -> int:
    return TokenType.BYTE if model == "llama" and byte_value(text) is not None else TokenType.NORMAL


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
