"""The Rust `tokenizers` library behind the core's TextCodec."""

import json
import threading
from collections.abc import Mapping
from typing import Any

import tokenizers

from ...errors import InvalidOption, TokenizerError


class NativeCodec:
    """A tokenizer made from a `tokenizer.json` in memory; safe to share between threads."""

    def __init__(self, definition: Mapping[str, Any]) -> None:
        """Raises TokenizerError where the library refuses `definition`."""
        try:
            self._library = tokenizers.Tokenizer.from_str(json.dumps(definition))
        except BaseException as error:
            if not _is_the_librarys(error):
                raise
            raise TokenizerError(f"The tokenizers library refuses this vocabulary: {error}.") from error
        self._renumbered = _renumbered(self._library, definition)
        self._lock = threading.Lock()  # whether special tokens are matched is a state of the library's object

    def encode(self, text: str, *, parse_special: bool) -> list[int]:
        """Ids of `text`, nothing added. Control tokens in it are matched with `parse_special`, else plain text.

        Raises InvalidOption where the library gives up: its regex on a run of more than some ten million spaces, its
        normalizer where a file's map of characters is broken.
        """
        with self._lock:
            self._library.encode_special_tokens = not parse_special
            try:
                ids = self._library.encode(text, add_special_tokens=False).ids
            except BaseException as error:
                if not _is_the_librarys(error):
                    raise
                raise InvalidOption(
                    f"The text of {len(text):,} characters cannot be encoded: {error}. It may be too long."
                ) from error
        return [self._renumbered.get(id, id) for id in ids]


def _renumbered(library: tokenizers.Tokenizer, definition: Mapping[str, Any]) -> dict[int, int]:
    """The library numbers added tokens that its model has not; here are their own ids by those numbers."""
    given = ((library.token_to_id(token["content"]), token["id"]) for token in definition["added_tokens"])
    return {id: own for id, own in given if id is not None and id != own}


def _is_the_librarys(error: BaseException) -> bool:
    """It raises Exception itself and no narrower class; Rust's panics derive from BaseException alone."""
    return type(error) is Exception or type(error).__name__ == "PanicException"
