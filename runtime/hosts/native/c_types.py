"""Names of C types, which wgpu-py looks up by parsing them, understood without parsing all of its header's names.

cffi puts a declaration of every type of the header in front of each name that it parses for the first time: for wgpu's
450 types 13 ms, and opening a device, a pipeline and a first step take forty such names, half a second.
"""

import contextlib
import re
from typing import Any

WORDS = re.compile(r"\w+")


def parse_quickly() -> None:
    """From now on only the types that a name mentions are declared in front of it; the outcome is the same.

    Nothing changes where cffi's private names are not as expected (tested with cffi 2.1).
    """
    with contextlib.suppress(ImportError, AttributeError):
        from wgpu.backends.wgpu_native import ffi  # absent on other backends

        _declare_what_is_mentioned(ffi._parser)


def _declare_what_is_mentioned(parser: Any) -> None:
    every: dict[str, Any] = parser._declarations  # "typedef NAME", "struct NAME", "function NAME": what it is
    plain = parser._parse
    if "_parse" in vars(parser):
        return  # another device was opened before

    def parse(source: str) -> Any:
        mentioned = (f"typedef {word}" for word in WORDS.findall(source))
        parser._declarations = {key: every[key] for key in mentioned if key in every}
        try:
            return plain(source)
        finally:
            parser._declarations = every

    parser._parse = parse
