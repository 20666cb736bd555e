"""WordPiece (Schuster and Nakajima 2012) as BERT has it: words without accents, cut greedily into the longest pieces.

Everything that a library's own BERT parts do is spelled out here, because those of Rust and of JavaScript differ.
"""

from ..formats.checkpoint import TokenizerData
from .bpe import split
from .normalizers import lower_case, replace_matches, sequence
from .pre_tokenizers import SPACE
from .vocabulary import WORD_BOUNDARY, TokenType, Vocabulary, hidden_name, required_unknown_id

CONTINUES = " "  # in front of a piece that goes on a word; "##" to BERT, but that could be a word of its own
LONGEST_WORD = 100  # characters, as to BERT: a longer one is unknown
CHINESE = (  # what the Rust library calls so; U+2B820 to U+2B91F are left out there too
    "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b920-\U0002ceaf"
    "\uf900-\ufaff\U0002f800-\U0002fa1f"
)
PUNCTUATION = r"\p{P}!-/:-@\[-`{-~"
CONTROL = r"[^\P{Cc}\t\n\r]|[\p{Cf}\p{Co}\uFFFD]"


def word_piece(data: TokenizerData, tokens: Vocabulary) -> dict[str, object]:
    """The parts of a `tokenizer.json`. Raises TokenizerError without an unknown token."""
    unknown_id = required_unknown_id(data)
    names = _names(tokens)
    return {
        "normalizer": sequence(_normalizers(data)),
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                split(f"[{SPACE}]+", "Removed"),
                split(f"[{PUNCTUATION}{CHINESE}]"),
            ],
        },
        "decoder": {"type": "WordPiece", "prefix": CONTINUES, "cleanup": False},
        "model": {
            "type": "WordPiece",
            "unk_token": names[unknown_id],
            "continuing_subword_prefix": CONTINUES,
            "max_input_chars_per_word": LONGEST_WORD,
            "vocab": {name: i for i, name in enumerate(names)},
        },
    }


def _normalizers(data: TokenizerData) -> list[dict[str, object]]:
    steps = [replace_matches(CONTROL, "")]
    if data.strip_accents:
        steps += [{"type": "NFD"}, replace_matches(r"\p{Mn}", "")]
    return [*steps, *lower_case()] if data.lower_case else steps


def _names(tokens: Vocabulary) -> list[str]:
    """GGUF writes a piece that begins a word with U+2581 in front, and one that goes on a word as it is."""
    names = []
    for id, text in enumerate(tokens.texts):
        if text not in tokens.pieces or tokens.types[id] in (TokenType.USER_DEFINED, TokenType.BYTE):
            names.append(hidden_name(id))
        elif text.startswith(WORD_BOUNDARY) and len(text) > 1:
            names.append(text[1:])
        else:
            names.append(CONTINUES + text)
    return names
