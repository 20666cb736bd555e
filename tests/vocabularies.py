"""Tokenizers for tests, out of files and written by hand; texts to try them on; SentencePiece's rules as they stand."""

import heapq
import random
import struct
import unicodedata
from collections.abc import Mapping
from functools import cache, partial
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
from shaderlm.tokenizer_json.sentence_piece import merges_of_pieces

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
PARTS = [
    *["'s", "'S", "'re", "'LL", "'d", "'x", "don't", "I'LL", "HelloWorld", "HELLOworld", "ÉcoleÉtudiant", "ÀÉÎabc"],
    *["iPhone15Pro", "e\u0301a\u0301", "नमस्ते", "สวัสดี", "កាន់", "日本語テスト", "中文字符", "한국어", "ㄱㄴ", "ㄅㄆ"],
    *["“引号”", "，。、！", "1234567", "12", "123456", "1", "٣٤٥٦", "½", "²³", "Ⅷ", "1000²", "12½345½678901"],
    *["a1234b", "123abc", "_123", "12_", "<sentinel:12>", "IMGIMGABCDZ", "IMGIMGABCDEFZ", "  ", "    ", "     "],
    *["\t", "\n", "\r\n", "\r", "\n\n\n", " \n ", " ", "\u3000", "\u2003", "\x85", "\xa0", "\ufeff", "\u200b"],
    *["\x0b", "\x1f", "!?", "...", "$%^", "+-=", "[a]", "(b)", "{c}", "/", "//", "\\", "`", "|", "~", "a/b", "x\n/"],
    *["🙂", "👩\u200d👩\u200d👧", "🇫🇷", "€", "©", "™", "ﬁ", "ǅ", "ʰ", "ª", "µ", "\u2126", "\u212a", "ß", "İ", "ſ"],
    *["\u2028", "\ue000", "\x00", "\u0301", "\u0903", "\u20dd"],
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
    special = ["<|end|>", "<|begin|>", "<|begin|>x"]
    merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "l d", "Ġw or", "Ġwor ld", "1 2", "' s", "Ċ Ċ", "Ġ Ġ"]
    merged = ["".join(merge.split(" ")) for merge in merges]
    tokens = [*special, *sorted(ByteLevel.alphabet()), *merged, "Ġwhole", "[TOOL]", "[UNUSED]"]
    types = [TokenType.NORMAL] * len(tokens)
    types[: len(special)] = [TokenType.CONTROL] * len(special)
    types[-2:] = [TokenType.USER_DEFINED, TokenType.UNUSED]
    fields = {"model": "gpt2", "pre": "gpt-2", "bos_id": 1, "eos_ids": (0,), "add_space_prefix": False} | changes
    return TokenizerData(tokens=tokens, scores=(), token_types=types, merges=merges, **fields)


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


def unigram(**changes: Any) -> TokenizerData:
    """T5's kind: 3 special tokens, a few pieces with their log-probabilities, an unused and a user-defined token."""
    special = [("<pad>", TokenType.CONTROL), ("</s>", TokenType.CONTROL), ("<unk>", TokenType.UNKNOWN)]
    words = ["▁the", "▁", "the", "he", "in", "▁in", "▁a", "▁▁", "ing", "th", "</", "s>", *"theinasrg<>/,1"]
    pieces = [(piece, TokenType.NORMAL) for piece in words]
    tokens, types = zip(*special, *pieces, ("rest", TokenType.UNUSED), ("[TOOL]", TokenType.USER_DEFINED), strict=True)
    scores = [
        -(4.0 - len(token)) * 1.5 - 0.1 * i if type == 1 else 0.0
        for i, (token, type) in enumerate(zip(tokens, types, strict=True))
    ]
    fields = {"eos_ids": (1,), "unknown_id": 2, "add_eos": True} | changes
    return TokenizerData(model="t5", pre="", tokens=tokens, scores=scores, token_types=types, merges=(), **fields)


def word_piece(**changes: Any) -> TokenizerData:
    """BERT's kind: 4 special tokens, pieces that begin words and pieces that go them on."""
    special = [("[PAD]", TokenType.CONTROL), ("[UNK]", TokenType.UNKNOWN)]
    special += [("[CLS]", TokenType.CONTROL), ("[SEP]", TokenType.CONTROL)]
    begin = ["the", "un", "café", "cafe", "豆", "腐", "σ", "λογοσ", "it", *"theinasx?!.,'[]<"]
    go_on = ["ing", "aff", "able", "##", *"theinasx"]
    pieces = [(f"▁{piece}", TokenType.NORMAL) for piece in begin] + [(piece, TokenType.NORMAL) for piece in go_on]
    tokens, types = zip(*special, *pieces, strict=True)
    fields = {"bos_id": 2, "sep_id": 3, "unknown_id": 1, "add_bos": True, "add_sep": True} | changes
    fields = {"lower_case": True, "strip_accents": True} | fields
    return TokenizerData(model="bert", pre="", tokens=tokens, scores=(), token_types=types, merges=(), **fields)


def in_characters(**changes: Any) -> TokenizerData:
    """Gemma 4's kind: the pieces of `sentence_piece` without their scores, merged by a list, and runs of line feeds."""
    data = sentence_piece()
    pieces = {text: i for i, text in enumerate(data.tokens) if data.token_types[i] == TokenType.NORMAL}
    merges = [" ".join(pair) for pair in merges_of_pieces(pieces, data.scores)]
    tokens, types = [*data.tokens, "\n\n", "\n\n\n"], [*data.token_types, TokenType.NORMAL, TokenType.NORMAL]
    fields = {"model": "gemma4", "pre": "gemma4", "bos_id": 1, "eos_ids": (2,), "unknown_id": 0} | changes
    return TokenizerData(
        tokens=tokens, scores=(), token_types=types, merges=merges, **{"add_space_prefix": False} | fields
    )


def charsmap(replacements: Mapping[str, str]) -> bytes:
    """SentencePiece's precompiled map: a double array (Aoe 1989) in which every node's children have 256 words of their
    own, then the texts that stand for what it finds."""
    texts, starts = b"", {}
    for found, text in replacements.items():
        starts[found.encode()] = len(texts)
        texts += text.encode() + b"\0"
    nodes = sorted({found[:length] for found in starts for length in range(len(found) + 1)})
    base = {node: 256 * (i + 1) for i, node in enumerate(nodes)}
    words = [0] * (256 * (len(nodes) + 1))
    words[0] = base[b""] << 10
    for node in nodes[1:]:
        at = base[node[:-1]] ^ node[-1]
        words[at] = (at ^ base[node]) << 10 | (node in starts) << 8 | node[-1]
    for found, start in starts.items():
        words[base[found]] = start | 1 << 31
    return struct.pack(f"<I{len(words)}I", 4 * len(words), *words) + texts


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


def settled(text: str) -> str:
    """`text` without the characters that later versions of Unicode than 3.2 have added: engines know different ones."""
    return "".join(character for character in text if unicodedata.ucd_3_2_0.category(character) != "Cn")


def pieced_together(count: int, seed: int) -> list[str]:
    """Strings of what pre-tokenizers tell apart."""
    rng = random.Random(seed)
    return ["".join(rng.choice(PARTS) for _ in range(rng.randint(1, 12))) for _ in range(count)]


def unigram_ids(data: TokenizerData, texts: list[str]) -> list[list[int]]:
    """The unigram model's rule as it stands: of all ways to cut a text into pieces, the one of the highest sum."""
    prefix = "▁" if data.add_space_prefix else ""
    normal = [i for i, type in enumerate(data.token_types) if type == TokenType.NORMAL]
    scores = {data.tokens[i]: data.scores[i] for i in normal}
    unknown = min(scores.values()) - 10
    ids = {data.tokens[i]: i for i in normal}
    return [_likeliest(prefix + text.replace(" ", "▁"), scores, unknown, ids, data.unknown_id) for text in texts]


def _likeliest(
    text: str, scores: Mapping[str, float], unknown: float, ids: Mapping[str, int], unknown_id: int | None
) -> list[int]:
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for end in range(1, len(text) + 1):
        ways = [
            (best[start][0] + scores[text[start:end]], [*best[start][1], ids[text[start:end]]])
            for start in range(max(0, end - 6), end)
            if text[start:end] in scores
        ]
        if text[end - 1] not in scores:
            before = best[end - 1][1]
            ways.append((best[end - 1][0] + unknown, before if before[-1:] == [unknown_id] else [*before, unknown_id]))
        best.append(max(ways, key=lambda way: way[0]))
    return best[-1][1]


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


GOLDEN_VOCABULARIES = {  # of which tests/data/tokenizers.goldens.json has llama.cpp's ids
    "bytes": byte_level,
    "bytes-llama": partial(byte_level, pre="llama-bpe"),
    "sentence-piece": sentence_piece,
    "sentence-piece-unprefixed": partial(sentence_piece, add_space_prefix=False),
    "unigram": unigram,
    "unigram-unprefixed": partial(unigram, add_space_prefix=False),
    "unigram-few-spaces": partial(unigram, remove_extra_whitespaces=True),
    "characters": in_characters,
    "characters-sarvam": partial(in_characters, model="gpt2", pre="sarvam-moe"),
    "word-piece": word_piece,
    "word-piece-cased": partial(word_piece, lower_case=False, strip_accents=False),
}
