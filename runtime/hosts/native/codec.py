"""The Rust `tokenizers` library behind the core's TextCodec."""

import json
import threading
from collections.abc import Mapping, Sequence

import tokenizers

from ...errors import InvalidOption, TokenizerError


class NativeCodec:
    """A tokenizer made from a `tokenizer.json` in memory; safe to share between threads."""

    def __init__(self, definition: Mapping[str, object]) -> None:
        """Raises TokenizerError where the library refuses `definition`."""
        try:
            self._library = tokenizers.Tokenizer.from_str(json.dumps(definition))
        except Exception as error:  # the library raises no narrower class
            raise TokenizerError(f"The tokenizers library refuses this vocabulary: {error}.") from error
        self._lock = threading.Lock()  # whether special tokens are matched is a state of the library's object

    def encode(self, text: str, *, parse_special: bool) -> list[int]:
        """Ids of `text`, nothing added. Control tokens in it are matched with `parse_special`, else plain text.

        Raises InvalidOption where the library's regex gives up: on a run of more than some ten million spaces.
        """
        with self._lock:
            self._library.encode_special_tokens = not parse_special
            try:
                return list(self._library.encode(text, add_special_tokens=False).ids)
            except BaseException as error:
                if type(error).__name__ != "PanicException":  # Rust's panics derive from BaseException alone
                    raise
                raise InvalidOption(f"The text of {len(text):,} characters is too long to encode: {error}.") from error

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, special tokens left out."""
        return str(self._library.decode(list(ids), skip_special_tokens=True))
