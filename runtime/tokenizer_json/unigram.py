"""SentencePiece's unigram model (Kudo 2018), as T5 and XLM-R have it: the likeliest way to cut a text into pieces."""

from ..formats.checkpoint import TokenizerData
from .bpe import CHARACTERS
from .normalizers import sentence_piece_spaces, sequence
from .vocabulary import TokenType, Vocabulary, hidden_name, piece_scores, required_unknown_id


def unigram(data: TokenizerData, tokens: Vocabulary) -> dict[str, object]:
    """The parts of a `tokenizer.json`. Raises TokenizerError for missing scores and without an unknown token."""
    unknown_id = required_unknown_id(data)
    return {
        "normalizer": sequence(sentence_piece_spaces(data, prefix_alone=False)),
        "pre_tokenizer": None,
        "decoder": CHARACTERS,
        "model": {
            "type": "Unigram",
            "unk_id": unknown_id,
            "vocab": _scored_pieces(tokens, piece_scores(data, tokens)),
            "byte_fallback": False,
        },
    }


def _scored_pieces(tokens: Vocabulary, scores: list[float]) -> list[tuple[str, float]]:
    """Names and log-probabilities in the order of ids. User-defined pieces are certain; bytes, unused and special ones
    are no pieces, and their score is one that leaves the lowest, by which unknown characters are weighed, as it is."""
    found = []
    for id, (text, type, score) in enumerate(zip(tokens.texts, tokens.types, scores, strict=True)):
        if text in tokens.pieces and type in (TokenType.NORMAL, TokenType.UNDEFINED):
            found.append((text, score))
        elif text in tokens.pieces and type == TokenType.USER_DEFINED:
            found.append((text, 0.0))
        else:
            found.append((hidden_name(id), 0.0))
    return found
