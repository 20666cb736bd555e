"""The JavaScript `@huggingface/tokenizers` behind the core's TextCodec."""

from typing import Any

from pyodide.ffi import JsException

from ...errors import InvalidOption, TokenizerError


class BrowserCodec:
    """A tokenizer made from the text of a `tokenizer.json`; `open_codec` is codec.js's function."""

    def __init__(self, definition: str, open_codec: Any) -> None:
        """Raises TokenizerError where the library refuses `definition`."""
        try:
            self._library = open_codec(definition)
        except JsException as error:
            raise TokenizerError(f"The tokenizers library refuses this vocabulary: {error.message}.") from error

    def encode(self, text: str, *, parse_special: bool) -> list[int]:
        """Ids of `text`, nothing added. Raises InvalidOption where the library gives up."""
        try:
            ids = self._library.encode(text, parse_special)
        except JsException as error:
            raise InvalidOption(
                f"The text of {len(text):,} characters cannot be encoded: {error.message}. It may be too long."
            ) from error
        numbers: list[int] = ids.to_py().tolist()
        return numbers
