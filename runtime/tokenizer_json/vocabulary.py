"""The tokens of a file: what each is, which of them a text can spell, which are matched before it is cut into words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ..errors import TokenizerError
from ..formats.checkpoint import TokenizerData

WORD_BOUNDARY = "\u2581"  # SentencePiece writes a space as this
BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
LONGEST_PIECE = 512  # characters, of those with scores: every way to cut one in two is looked at


class TokenType(IntEnum):
    """What a token is, in GGUF's numbers."""

    UNDEFINED = 0  # where a converter did not know: a piece like any other
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


SPECIAL = (TokenType.UNKNOWN, TokenType.CONTROL)  # their text is never shown, and matched only where asked for
ENDS_OF_TEXT = {"</s>", "<eos>", "<|endoftext|>"}
ADDED = (*SPECIAL, TokenType.USER_DEFINED)  # matched in the text before anything else is done to it
KNOWN_NUMBERS = frozenset(int(kind) for kind in TokenType)  # plain numbers: quicker to compare, 100,000 times
SPECIAL_NUMBERS = frozenset(int(kind) for kind in SPECIAL)


@dataclass(frozen=True)
class Vocabulary:
    """A file's tokens, checked: `texts[id]`, `types[id]`, and the ids of the pieces that a text can spell."""

    texts: Sequence[str]
    types: Sequence[int]
    pieces: Mapping[str, int]

    def names(self) -> Iterator[str]:
        """A name for each id: the text of a piece, and for all others one that no text can spell."""
        return (text if text in self.pieces else hidden_name(i) for i, text in enumerate(self.texts))


def vocabulary(data: TokenizerData) -> Vocabulary:
    """Raises TokenizerError where a table contradicts the vocabulary, or a token is in it twice."""
    types = token_types(data)
    texts = list(data.tokens)  # a file's arrays are decoded at every access
    ids = {text: i for i, text in enumerate(texts) if text}
    if len(ids) < len(texts):
        _refuse_duplicates(texts)
    pieces = {text: i for text, i in ids.items() if types[i] not in SPECIAL_NUMBERS and " " not in text}
    return Vocabulary(texts, types, pieces)


def hidden_name(id: int) -> str:
    """A name that no text can spell and no piece has: a space never comes to a model, it is written otherwise."""
    return f" {id} "


def token_types(data: TokenizerData) -> list[int]:
    """The type of every token. What begins and ends texts and turns is a control token whatever the file says.

    Raises TokenizerError where a table has another length than the vocabulary, a type is none, or an id lies outside.
    """
    count = len(data.tokens)
    if count == 0:
        raise TokenizerError("The tokenizer has no tokens: the file's vocabulary is empty.")
    if data.token_types and len(data.token_types) != count:
        raise TokenizerError(f"The tokenizer has {count:,} tokens but {len(data.token_types):,} token types.")
    types = [int(type) for type in data.token_types] or [_guessed_type(data.model, text) for text in data.tokens]
    if not KNOWN_NUMBERS.issuperset(types):
        i = next(i for i, type in enumerate(types) if type not in KNOWN_NUMBERS)
        raise TokenizerError(f"Token {i:,} is of type {types[i]:,}, but types go from 0 to {int(TokenType.BYTE)}.")
    user_defined = int(TokenType.USER_DEFINED)
    for i in [i for i, type in enumerate(types) if type == user_defined]:
        if data.tokens[i] in ENDS_OF_TEXT:
            types[i] = TokenType.CONTROL
    ends = [("EOS", id) for id in data.eos_ids]
    for name, id in (("BOS", data.bos_id), ("separator", data.sep_id), ("unknown", data.unknown_id), *ends):
        if id is not None and not 0 <= id < count:
            raise TokenizerError(f"The tokenizer's {name} token is {id:,}, outside its vocabulary of {count:,} tokens.")
        if id is not None and name != "unknown":
            types[id] = TokenType.CONTROL
    return types


def byte_value(token: str) -> int | None:
    """The byte that SentencePiece writes as `<0x0A>`, or None for any other token."""
    match = BYTE.fullmatch(token)
    return int(match[1], 16) if match else None


def required_unknown_id(data: TokenizerData) -> int:
    """The token that stands for what no piece does. Raises TokenizerError where the file names none."""
    if data.unknown_id is None:
        raise TokenizerError(f'A tokenizer of kind "{data.model}" needs an unknown token, but the file names none.')
    return data.unknown_id


def piece_scores(data: TokenizerData, tokens: Vocabulary) -> list[float]:
    """A score for each token. Raises TokenizerError where one is missing or is no number, and for oversized pieces."""
    if len(data.scores) != len(data.tokens):
        raise TokenizerError(f"The tokenizer has {len(data.tokens):,} tokens but {len(data.scores):,} scores.")
    scores = list(data.scores)
    for id, score in enumerate(scores):
        if not abs(score) < float("inf"):
            raise TokenizerError(f"The score of token {id:,} is {score}, but must be a finite number.")
    for text, id in tokens.pieces.items():
        if len(text) > LONGEST_PIECE and tokens.types[id] not in ADDED:
            raise TokenizerError(f"Token {id:,} has {len(text):,} characters; pieces have at most {LONGEST_PIECE}.")
    return scores


def added_tokens(data: TokenizerData, tokens: Vocabulary) -> list[dict[str, object]]:
    """Control tokens are marked special, user-defined ones are not: an encoder that treats special tokens as plain
    text still matches the latter."""
    return [
        {
            "id": i,
            "content": text,
            "single_word": False,
            "lstrip": i in data.left_stripping,
            "rstrip": i in data.right_stripping,
            "normalized": False,
            "special": type in SPECIAL,
        }
        for i, (text, type) in enumerate(zip(tokens.texts, tokens.types, strict=True))
        if text and type in ADDED
    ]


def _guessed_type(model: str, text: str) -> int:
    in_bytes = model not in ("gpt2", "bert")
    return TokenType.BYTE if in_bytes and byte_value(text) is not None else TokenType.NORMAL


def _refuse_duplicates(tokens: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for i, text in enumerate(tokens):
        if text and seen.setdefault(text, i) != i:
            raise TokenizerError(f"Token {text!r:.80} is in the vocabulary twice, as {seen[text]:,} and as {i:,}.")
