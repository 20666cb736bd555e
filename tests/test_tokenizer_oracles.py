"""The ids that others give: llama.cpp, transformers, the `tokenizers` library, SentencePiece's rules as they stand."""

import json
import re
from pathlib import Path

import pytest
import tokenizers
from tokenizers import BertWordPieceTokenizer, Regex, models
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

from shaderlm.formats.checkpoint import TokenizerData
from shaderlm.hosts.native.codec import NativeCodec
from shaderlm.tokenizer_json import tokenizer_json
from tiny_model import TINY, golden_logits, goldens
from vocabularies import (
    GOLDEN_VOCABULARIES,
    byte_level,
    data_of,
    pieced_together,
    sentence_piece_ids,
    settled,
    tokenizer,
    tokenizer_of,
    unigram,
    unigram_ids,
    varied_strings,
    word_piece,
)

SEPARATOR = "\n__ggml_vocab_test__\n"
GOLDENS = json.loads((Path(__file__).parent / "data/tokenizers.goldens.json").read_text(encoding="utf-8"))


def first_difference(texts: list[str], found: list[list[int]], expected: list[list[int]]) -> str | None:
    different = [i for i, (ids, wanted) in enumerate(zip(found, expected, strict=True)) if ids != wanted]
    if not different:
        return None
    worst = min(different, key=lambda i: len(texts[i]))
    return f"{len(different)} of {len(texts)} differ; {texts[worst]!r} gives {found[worst]}, not {expected[worst]}"


# llama.cpp


@pytest.mark.parametrize("name", ["bert-bge", "deepseek-llm", "gpt-2", "llama-spm", "phi-3"])
def test_ids_are_those_of_llama_cpp(oracles: Path, name: str) -> None:
    file = oracles / f"tokenizers/ggml-vocab-{name}.gguf"
    texts = Path(f"{file}.inp").read_bytes().decode().split(SEPARATOR)
    expected = [[int(id) for id in line.split()] for line in Path(f"{file}.out").read_text().split("\n")]
    found = [tokenizer_of(file).encode(text, add_special=False) for text in texts]
    assert first_difference(texts, found, expected) is None


def is_alike(name: str, text: str, parsed: bool) -> bool:
    """Whether we mean to give what llama.cpp gives; tests below tell what we give instead."""
    if name.startswith("sentence-piece") and not parsed and "s>" in text:
        return False  # there a control token can be spelled, "</" and "s>" being pieces
    if name == "characters":
        return "\n\n\n\n" not in text  # there a run that is longer than any token is merged like other text
    has_control = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text)
    return not (name.startswith("word-piece") and has_control)  # there some of those are spaces, not so to BERT


@pytest.mark.parametrize("parsed", [False, True], ids=["plain", "parsed"])
@pytest.mark.parametrize("name", GOLDEN_VOCABULARIES)
def test_ids_by_small_vocabularies_are_those_of_llama_cpp(name: str, parsed: bool) -> None:
    small = tokenizer(GOLDEN_VOCABULARIES[name]())
    cases = zip(GOLDENS["texts"], GOLDENS[name][parsed], strict=True)
    texts, expected = map(list, zip(*((t, e) for t, e in cases if is_alike(name, t, parsed)), strict=True))
    assert len(texts) > 45
    found = [small.encode(text, add_special=False, parse_special=parsed) for text in texts]
    assert first_difference(texts, found, expected) is None


# Rules as they stand


@pytest.mark.parametrize("name", ["llama-spm", "phi-3"])
def test_merging_by_rank_is_merging_by_score(oracles: Path, name: str) -> None:
    file = oracles / f"tokenizers/ggml-vocab-{name}.gguf"
    texts = varied_strings(300, seed=3) + [" " * i + "word" + "=" * i for i in range(60)]
    found = [tokenizer_of(file).encode(text, add_special=False) for text in texts]
    assert first_difference(texts, found, sentence_piece_ids(data_of(file), texts)) is None


@pytest.mark.parametrize("prefix", [True, False], ids=["prefixed", "unprefixed"])
def test_the_likeliest_pieces_are_found(prefix: bool) -> None:
    data = unigram(add_space_prefix=prefix)
    texts = [text.replace("\u2581", "") for text in [*varied_strings(300, seed=4), "theinthing the in a<s>"]]
    texts = [text for text in texts if text.strip(" ")]  # one of nothing but spaces gets no space in front
    texts += ["".join(words) for words in zip(*[["the", " in", "ing", "rest", "  a", ", ", "11"]] * 4, strict=True)]
    found = [tokenizer(data).encode(text, add_special=False) for text in texts]
    assert first_difference(texts, found, unigram_ids(data, texts)) is None


# The `tokenizers` library, as it makes the published tokenizers


def test_smollm2_gives_the_ids_of_its_published_tokenizer(smollm2: Path) -> None:
    """Its vocabulary lacks 21 bytes (most of them control characters), which vanish there as here."""
    data = data_of(smollm2)
    vocabulary = {token: i for i, token in enumerate(data.tokens)}
    merges = [(left, right) for left, right in (merge.split(" ") for merge in data.merges)]
    published = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    published.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    texts = varied_strings(2000, seed=1) + pieced_together(1000, seed=1)
    found = [tokenizer_of(smollm2).encode(text, add_special=False) for text in texts]
    assert first_difference(texts, found, [published.encode(text).ids for text in texts]) is None


def bert(data: TokenizerData) -> BertWordPieceTokenizer:
    """The library's own BERT, with the vocabulary as BERT writes it."""
    normal = {i for i, type in enumerate(data.token_types) if type == 1}
    names = [t if i not in normal else t[1:] if t.startswith("▁") else "##" + t for i, t in enumerate(data.tokens)]
    made = BertWordPieceTokenizer(
        {name: i for i, name in enumerate(names)}, lowercase=data.lower_case, strip_accents=data.strip_accents
    )
    made._tokenizer.encode_special_tokens = True
    return made


@pytest.mark.parametrize(
    "changes", [{}, {"lower_case": False, "strip_accents": False}, {"strip_accents": False}], ids=str
)
def test_words_are_pieced_together_as_by_the_librarys_bert(changes: dict[str, bool]) -> None:
    data = word_piece(**changes)
    texts = (
        [settled(text) for text in varied_strings(500, seed=6)] + pieced_together(1000, seed=7) + ["un##aff", "x" * 101]
    )
    found = [tokenizer(data).encode(text, add_special=False) for text in texts]
    expected = [bert(data).encode(text, add_special_tokens=False).ids for text in texts]
    assert first_difference(texts, found, expected) is None


def test_bge_gives_the_ids_of_the_librarys_bert(oracles: Path) -> None:
    file = oracles / "tokenizers/ggml-vocab-bert-bge.gguf"
    texts = [settled(text) for text in varied_strings(500, seed=8)] + pieced_together(500, seed=9)
    published = bert(data_of(file))
    found = [tokenizer_of(file).encode(text) for text in texts]
    assert first_difference(texts, found, [published.encode(text).ids for text in texts]) is None


def test_the_tiny_models_ids_and_texts_are_those_of_transformers() -> None:
    tiny = tokenizer_of(TINY)
    for name, golden in goldens().items():
        assert tiny.encode(golden.prompt, parse_special=True) == golden.prompt_ids, name
        assert tiny.decode(golden.ids) == golden.text, name


def test_the_tiny_models_longest_prompt_is_that_of_transformers() -> None:
    assert tokenizer_of(TINY).encode(golden_logits().prompt) == golden_logits().prompt_ids


PUBLISHED_WORDS = {
    "gpt-2": [ByteLevel(add_prefix_space=False)],
    "smollm": [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)],
    "llama-bpe": [
        Split(
            Regex(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
            "isolated",
        ),
        ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}


@pytest.mark.parametrize("pre", PUBLISHED_WORDS)
def test_words_are_cut_as_published(pre: str) -> None:
    definition = NativeCodec(tokenizer_json(byte_level(pre=pre)))
    ours, published = definition._library.pre_tokenizer, Sequence(PUBLISHED_WORDS[pre])
    for text in varied_strings(1000, seed=2):
        assert ours.pre_tokenize_str(text) == published.pre_tokenize_str(text)
