"""Tokenizers for tests, out of files and written by hand; texts to try them on; SentencePiece's rule as it stands."""

import heapq
import random
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel

from byte_sources import wait
from shaderlm.formats.checkpoint import TokenizerData
from shaderlm.formats.gguf import read_header
from shaderlm.formats.gguf_tokenizer import tokenizer_data
from shaderlm.hosts.native.codec import NativeCodec
from shaderlm.hosts.native.files import FileSource
from shaderlm.tokenizer import Tokenizer
from shaderlm.tokenizer_json import TokenType, tokenizer_json

WHITE = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\ufeff\u180e\u200b"
DIGITS = "0123456789²³¼٠١२３Ⅷ①𝟙 .,+-$<>=^~|`"
WORDS = [
    *["the", "Quick", "brown", "don't", "I'LL", "it's", "é", "e\u0301"],
    *["λόγος", "Привет", "日本語", "한국어", "שלום", "مرحبا", "नमस्ते", "สวัสดี"],
    *["🙂", "👩\u200d👩\u200d👧", "🇫🇷"],
]
CODE = [
    "def f(x):\n",
    "    return x**2\n",
    "\t// c++\n",
    "#include <a.h>",
    "a[i] != b->c;",
    "\r\n",
    "{}",
    "'''",
    "0xFF",
]
BLOCKS = [(0, 0x7F), (0x80, 0x3FF), (0x400, 0x2FFF), (0x3000, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF)]


@cache
def data_of(path: Path) -> TokenizerData:
    """The tokenizer data of a GGUF file, which may have no tensors."""
    data = tokenizer_data(wait(read_header(FileSource(path))).metadata, path.name)
    assert data is not None
    return data


@cache
def tokenizer_of(path: Path) -> Tokenizer:
    return tokenizer(data_of(path))


def tokenizer(data: TokenizerData) -> Tokenizer:
    return Tokenizer(data, NativeCodec(tokenizer_json(data)))


def byte_level(**changes: Any) -> TokenizerData:
    """A byte BPE: control tokens 0 to 2, the 256 bytes, a few merged tokens, a user-defined one, an unused one."""
    special = ["<|end|>", "<|start|>", "<|start|>x"]
    merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "l d", "Ġw or", "Ġwor ld", "1 2", "' s", "Ċ Ċ", "Ġ Ġ"]
    merged = ["".join(merge.split(" ")) for merge in merges]
    tokens = [*special, *sorted(ByteLevel.alphabet()), *merged, "Ġwhole", "[TOOL]", "[UNUSED]"]
    types = [TokenType.NORMAL] * len(tokens)
    types[: len(special)] = [TokenType.CONTROL] * len(special)
    types[-2:] = [TokenType.USER_DEFINED, TokenType.UNUSED]
    fields = {"pre": "gpt-2", "bos_id": 1, "eos_ids": (0,), "add_space_prefix": False} | changes
    return TokenizerData(model="gpt2", tokens=tokens, scores=(), token_types=types, merges=merges, **fields)


def sentence_piece(**changes: Any) -> TokenizerData:
    """A SentencePiece vocabulary: 3 special tokens, the 256 bytes, a few pieces, a user-defined token."""
    special = [("<unk>", TokenType.UNKNOWN), ("<s>", TokenType.CONTROL), ("</s>", TokenType.CONTROL)]
    in_bytes = [(f"<0x{byte:02X}>", TokenType.BYTE) for byte in range(256)]
    words = ["▁t", "he", "▁the", "in", "▁a", "▁▁", "▁▁▁", "▁▁▁▁", "</", "s>", *"▁theinasr<>/"]
    pieces = [(piece, TokenType.NORMAL) for piece in words]
    tokens, types = zip(*special, *in_bytes, *pieces, ("[TOOL]", TokenType.USER_DEFINED), strict=True)
    scores = [-1e9 if set(token) == {"▁"} else -float(i) for i, token in enumerate(tokens)]
    fields = {"bos_id": 1, "eos_ids": (2,), "unknown_id": 0, "add_bos": True} | changes
    return TokenizerData(
        model="llama", pre="default", tokens=tokens, scores=scores, token_types=types, merges=(), **fields
    )


def varied_strings(count: int, seed: int) -> list[str]:
    """Words of many scripts, code, digits, white space, emoji, control characters, and characters of any block."""
    rng = random.Random(seed)

    def joined(pieces: list[str] | str, most: int, between: str = "") -> str:
        return between.join(rng.choice(pieces) * rng.choice([1, 1, 1, 2, 5]) for _ in range(rng.randint(1, most)))

    def anything() -> str:
        return "".join(chr(rng.randint(*rng.choice(BLOCKS))) for _ in range(rng.randint(1, 40)))

    kinds = [
        lambda: joined(WORDS, 20, between=rng.choice([" ", "", "  ", "\n"])),
        lambda: joined(CODE, 10),
        lambda: joined(DIGITS, 30),
        lambda: joined([*WORDS, *WHITE], 20),
        lambda: joined([chr(i) for i in range(0x20)], 10, between=rng.choice(["", "a", " "])),
        anything,
    ]
    return [rng.choice(kinds)() for _ in range(count)]


def sentence_piece_ids(data: TokenizerData, texts: list[str]) -> list[list[int]]:
    """SentencePiece's rule as it stands: join the neighbours that make the best-scored piece, leftmost among equals."""
    ids, scores = {token: i for i, token in enumerate(data.tokens)}, list(data.scores)
    prefix = " " if data.add_space_prefix else ""
    return [_joined_by_score((prefix + text).replace(" ", "▁"), ids, scores) for text in texts]


def _joined_by_score(text: str, ids: Mapping[str, int], scores: list[float]) -> list[int]:
    parts = list(text)
    following = [*range(1, len(parts)), None]
    before = [None, *range(len(parts) - 1)]
    queue: list[tuple[float, int, int, int]] = []

    def consider(left: int | None, right: int | None) -> None:
        if left is not None and right is not None and parts[left] + parts[right] in ids:
            piece = parts[left] + parts[right]
            heapq.heappush(queue, (-scores[ids[piece]], left, right, len(piece)))

    for left in range(len(parts) - 1):
        consider(left, left + 1)
    while queue:
        _, left, right, length = heapq.heappop(queue)
        if not parts[left] or not parts[right] or len(parts[left]) + len(parts[right]) != length:
            continue  # one of them has been joined to something else meanwhile
        parts[left] += parts[right]
        parts[right] = ""
        after = following[left] = following[right]
        if after is not None:
            before[after] = left
        consider(before[left], left)
        consider(left, after)
    found: list[int] = []
    for part in filter(None, parts):
        found += [ids[part]] if part in ids else [ids[f"<0x{byte:02X}>"] for byte in part.encode()]
    return found
