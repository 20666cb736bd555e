"""Text to token ids and back, and back piece by piece while an answer grows."""

import codecs
import operator
import re
from collections.abc import Iterable, Iterator, Sequence

from .errors import InvalidOption
from .formats.checkpoint import TokenizerData
from .host import TextCodec
from .tokenizer_json import (
    SPECIAL,
    WORD_BOUNDARY,
    TokenType,
    adds_space,
    byte_value,
    cleans_up,
    is_byte_level,
    token_types,
)


class Tokenizer:
    """A file's tokenizer. Ids come from the host's library; text comes from the vocabulary itself, on every host alike.

    `vocab_size` counts the file's tokens; `bos_id` begins a text, `eos_ids` end a turn, the first of them a text.
    """

    def __init__(self, data: TokenizerData, codec: TextCodec) -> None:
        """`codec` is made from `tokenizer_json(data)`."""
        self._data = data
        self._codec = codec
        self._types = token_types(data)
        self._is_byte_level = is_byte_level(data)
        self._adds_space = adds_space(data)
        self._pieces: dict[int, bytes] = {}
        self.vocab_size = len(data.tokens)
        self.bos_id = data.bos_id
        self.eos_ids = data.eos_ids

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Ids of `text`.

        add_special: put BOS before and EOS or BERT's separator behind where the file asks, but never a second one.
        parse_special: read the text of a control token ("<|im_start|>") as that token, not as letters.

        Lone surrogates, which are no text, are encoded as U+FFFD. Raises InvalidOption unless `text` is a str.
        """
        if not isinstance(text, str):
            raise InvalidOption(f"The text to encode must be a str, not {type(text).__name__}.")
        ids = self._codec.encode(well_formed(text), parse_special=parse_special) if text else []
        return self._with_ends(ids) if add_special else ids

    def decode(self, ids: Iterable[int], *, continues: bool = False, clean_up: bool = False) -> str:
        """Text of `ids`, special tokens left out; bytes that are no UTF-8 become U+FFFD.

        SentencePiece and BERT begin every text with a space that is none of it, and it is taken off here. With
        `continues` the ids go on from an earlier text, and the space stays. With `clean_up` the spaces before marks
        and contractions are taken out where the model's own detokenizer does that ("it 's , well" becomes "it's,
        well"); then the text may no longer be what was encoded. Raises InvalidOption for an id outside the vocabulary.
        """
        text = b"".join(self._visible(ids, continues)).decode("utf-8", errors="replace")
        return _cleaned_up(text) if clean_up and cleans_up(self._data) else text

    def stream(self, *, continues: bool = False) -> "TextStream":
        """A decoder that takes ids one at a time; `continues` as in `decode`."""
        return TextStream(self, continues=continues)

    def is_special(self, id: int) -> bool:
        """Whether a token is a mark for the model and no text: control and unknown tokens."""
        return self._types[self._checked(id)] in SPECIAL

    def token_of(self, name: str) -> int | None:
        """The one token that a text such as "<think>" is, special or not; None where it is several."""
        ids = self._codec.encode(name, parse_special=True)
        named = [id for id in ids if id < self.vocab_size and self.token_bytes(id) == name.encode()]
        return named[0] if named else None

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token stands for, often no whole character. A special token's are its name's.

        Raises InvalidOption for an id outside the vocabulary.
        """
        id = self._checked(id)
        piece = self._pieces.get(id)
        if piece is None:
            piece = self._pieces[id] = _bytes_of(self._data.tokens[id], self._types[id], self._is_byte_level)
        return piece

    def begins_with_added_space(self, id: int) -> bool:
        """Whether a token at the beginning of a text carries the space that its tokenizer put there."""
        return (
            self._adds_space
            and self._types[id] != TokenType.USER_DEFINED
            and self._data.tokens[id].startswith(WORD_BOUNDARY)
        )

    def _visible(self, ids: Iterable[int], continues: bool) -> Iterator[bytes]:
        at_start = not continues
        for id in ids:
            if self.is_special(id):
                continue
            piece = self.token_bytes(id)
            yield piece[1:] if at_start and self.begins_with_added_space(id) else piece
            at_start = False

    def _with_ends(self, ids: Sequence[int]) -> list[int]:
        bos = self.bos_id
        before = [bos] if self._data.add_bos and bos is not None and (not ids or ids[0] != bos) else []
        after = list(self.eos_ids[:1]) if self._data.add_eos and (not ids or ids[-1] not in self.eos_ids) else []
        if self._data.add_sep and self._data.sep_id is not None and (not ids or ids[-1] != self._data.sep_id):
            after.append(self._data.sep_id)
        return [*before, *ids, *after]

    def _checked(self, id: int) -> int:
        id = operator.index(id)
        if not 0 <= id < self.vocab_size:
            raise InvalidOption(f"Token id {id:,} lies outside the vocabulary of {self.vocab_size:,} tokens.")
        return id


class TextStream:
    """Text from ids as they come: whole characters only, and in sum exactly what `Tokenizer.decode` gives."""

    def __init__(self, tokenizer: Tokenizer, *, continues: bool = False) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._at_start = not continues

    def push(self, token_id: int) -> str:
        """The text that became whole with this token; "" for a special token."""
        if self._tokenizer.is_special(token_id):
            return ""
        piece = self._tokenizer.token_bytes(token_id)
        if self._at_start and self._tokenizer.begins_with_added_space(token_id):
            piece = piece[1:]
        self._at_start = False
        return self._decoder.decode(piece)

    def flush(self) -> str:
        """What is left of a character that never became whole, as U+FFFD."""
        return self._decoder.decode(b"", final=True)


def well_formed(text: str) -> str:
    """`text` with its surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _byte_alphabet() -> dict[str, int]:
    """The characters by which a byte-level vocabulary writes bytes (Radford et al. 2019).

    Printable Latin-1 stands for itself; the other bytes, in order, for the characters from U+0100.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF_CHARACTER = _byte_alphabet()


def _bytes_of(text: str, type: int, is_byte_level: bool) -> bytes:
    if type == TokenType.UNUSED:
        return b""
    if type in SPECIAL or type == TokenType.USER_DEFINED:
        return _utf8(text)
    byte = byte_value(text) if type == TokenType.BYTE else None
    if byte is not None:
        return bytes([byte])
    if is_byte_level:
        return b"".join(_byte_level_bytes(character) for character in text)
    return _utf8(text.replace(WORD_BOUNDARY, " "))


def _byte_level_bytes(character: str) -> bytes:
    byte = _BYTE_OF_CHARACTER.get(character)
    return _utf8(character) if byte is None else bytes([byte])


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")


def _cleaned_up(text: str) -> str:
    text = re.sub(" ([?!.,])", r"\1", text)
    return re.sub(" ('(?:s|m|re|ve))", r"\1", text.replace(" ' ", "'"))
