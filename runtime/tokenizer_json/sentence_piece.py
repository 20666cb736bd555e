"""SentencePiece's BPE (Kudo and Richardson 2018), which merges by the scores of pieces instead of listed merges."""

from collections.abc import Mapping, Sequence

from ..formats.checkpoint import TokenizerData
from .bpe import CHARACTERS, bpe_model
from .normalizers import sentence_piece_spaces, sequence
from .vocabulary import Vocabulary, piece_scores


def sentence_piece(data: TokenizerData, tokens: Vocabulary) -> dict[str, object]:
    """The parts of a `tokenizer.json`. Raises TokenizerError for missing scores and for oversized pieces."""
    merges = merges_of_pieces(tokens.pieces, piece_scores(data, tokens))
    return {
        "normalizer": sequence(sentence_piece_spaces(data, prefix_alone=True)),
        "pre_tokenizer": None,
        "decoder": CHARACTERS,
        "model": bpe_model(tokens, merges, byte_fallback=True, unknown_id=data.unknown_id),
    }


def merges_of_pieces(pieces: Mapping[str, int], scores: Sequence[float]) -> list[list[str]]:
    """SentencePiece merges the neighbours whose joined piece has the best score, the leftmost among equals.

    A BPE wants an order of pairs instead: all pairs that make a piece, by the piece's score. Among pieces of one score
    the longer come first: growing the run that was begun at the left is what "leftmost" amounts to, and in Llama's
    vocabulary only runs of spaces share a score.
    """
    ranked = sorted((p for p in pieces if len(p) > 1), key=lambda p: (-scores[pieces[p]], -len(p), pieces[p]))
    return [
        [piece[:cut], piece[cut:]]
        for piece in ranked
        for cut in range(len(piece) - 1, 0, -1)
        if piece[:cut] in pieces and piece[cut:] in pieces
    ]
