"""What is done to a text before it is cut into words, as `tokenizer.json` writes it."""

import base64
import struct
from collections.abc import Sequence

from ..errors import TokenizerError
from ..formats.checkpoint import TokenizerData
from .pre_tokenizers import END, START
from .vocabulary import WORD_BOUNDARY

LONGEST_REPLACEMENT = 256  # bytes; the longest of Unicode's compatibility forms has 33
CHARSMAP_HEAD = struct.Struct("<I")  # bytes of the double array that follows, of words of 4 bytes


def sequence(steps: Sequence[dict[str, object]]) -> dict[str, object] | None:
    """The steps one after the other."""
    return {"type": "Sequence", "normalizers": list(steps)} if steps else None


def replace(text: str, by: str) -> dict[str, object]:
    """Every `text` becomes `by`."""
    return {"type": "Replace", "pattern": {"String": text}, "content": by}


def replace_matches(regex: str, by: str) -> dict[str, object]:
    """Every match of `regex` becomes `by`."""
    return {"type": "Replace", "pattern": {"Regex": regex}, "content": by}


def lower_case() -> list[dict[str, object]]:
    """Lower case letter by letter: a library that looks at the word would write a final sigma in its own way."""
    return [replace("\u03a3", "\u03c3"), {"type": "Lowercase"}]


def sentence_piece_spaces(data: TokenizerData, *, prefix_alone: bool) -> list[dict[str, object]]:
    """SentencePiece's order: its map of characters, superfluous spaces out, spaces written as U+2581, one in front.

    prefix_alone: whether a text of nothing but spaces gets one in front too.
    """
    steps = [_charsmap(data.charsmap)] if data.charsmap else []
    if data.remove_extra_whitespaces:
        steps += [replace_matches(" {2,}", " "), replace_matches(f"{START} | {END}", "")]
    steps.append(replace(" ", WORD_BOUNDARY))
    if data.add_space_prefix or data.remove_extra_whitespaces:
        steps.append({"type": "Prepend", "prepend": WORD_BOUNDARY})
        if data.remove_extra_whitespaces or not prefix_alone:
            steps.append(replace_matches(f"{START}{WORD_BOUNDARY}(?={WORD_BOUNDARY}*{END})", ""))
    return steps


def _charsmap(content: bytes) -> dict[str, object]:
    """SentencePiece's precompiled map: a size, that many bytes of a double array, and texts that end with a zero.

    Raises TokenizerError where the parts do not fit, or one text is so long that normalizing would fill the memory.
    """
    size = CHARSMAP_HEAD.unpack_from(content)[0] if len(content) >= CHARSMAP_HEAD.size else 0
    texts = content[CHARSMAP_HEAD.size + size :]
    if size == 0 or size % 4 or not texts.endswith(b"\0"):
        raise TokenizerError(
            f"The tokenizer's map of characters (tokenizer.ggml.precompiled_charsmap) has {len(content):,} bytes, of "
            f"which a table takes {size:,}: they do not fit. The file is broken or was converted wrongly."
        )
    longest = max(map(len, texts.split(b"\0")))
    if longest > LONGEST_REPLACEMENT:
        raise TokenizerError(
            f"The tokenizer's map of characters (tokenizer.ggml.precompiled_charsmap) writes a character as "
            f"{longest:,} bytes; {LONGEST_REPLACEMENT} are the most that is allowed."
        )
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()}
