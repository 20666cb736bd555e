"""Writes runtime/codebooks.py, the codebooks of the i-quants, out of the `gguf` package.

python tools/make_codebooks.py
"""

import base64
from pathlib import Path

import gguf.quants

FILE = Path(__file__).resolve().parent.parent / "runtime" / "codebooks.py"
LINE = 108  # characters of base64 a line
TYPES = {"IQ1": "IQ1_S"} | {name: name for name in ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S")}

HEAD = '''\
"""The codebooks of the i-quants, facts of their format. Written by tools/make_codebooks.py: change it there.

An entry takes 16 bits, little-endian: the codes of 8 values (2 bits each; IQ1, IQ2) or of 4 values (4 bits each; IQ3),
the first value's in the lowest bits. Which value a code stands for, the type's WGSL file says.
"""

from base64 import b64decode
'''


def codebook(name: str) -> bytes:
    """The codes of a type of the `gguf` package, which has them as hexadecimal digits in the same order."""
    return bytes.fromhex(getattr(gguf.quants, name).grid_hex.decode())


def module() -> str:
    """The text of runtime/codebooks.py."""
    return HEAD + "".join(f"\n{name} = {_literal(codebook(source))}\n" for name, source in TYPES.items())


def _literal(data: bytes) -> str:
    text = base64.b64encode(data).decode()
    lines = [f'    b"{text[i : i + LINE]}"\n' for i in range(0, len(text), LINE)]
    return "b64decode(\n" + "".join(lines) + ")"


if __name__ == "__main__":
    FILE.write_text(module(), encoding="utf-8")
