"""Text to ids and back: real tokenizers with the ids that others give, and small ones for every rule."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, models
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

from shaderlm.errors import InvalidOption, TokenizerError
from shaderlm.hosts.native.codec import NativeCodec
from shaderlm.tokenizer import Tokenizer, well_formed
from shaderlm.tokenizer_json import PRE_TOKENIZERS, byte_value, tokenizer_json
from tiny_model import TINY, golden_logits, goldens
from vocabularies import (
    byte_level,
    data_of,
    sentence_piece,
    sentence_piece_ids,
    tokenizer,
    tokenizer_of,
    varied_strings,
)

SEPARATOR = "\n__ggml_vocab_test__\n"
BYTE_LEVEL, SENTENCE_PIECE = tokenizer(byte_level()), tokenizer(sentence_piece())
BOTH = pytest.mark.parametrize("small", [BYTE_LEVEL, SENTENCE_PIECE], ids=["byte-level", "sentence-piece"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def first_difference(texts: list[str], found: list[list[int]], expected: list[list[int]]) -> str | None:
    different = [i for i, (ids, wanted) in enumerate(zip(found, expected, strict=True)) if ids != wanted]
    if not different:
        return None
    worst = min(different, key=lambda i: len(texts[i]))
    return f"{len(different)} of {len(texts)} differ; {texts[worst]!r} gives {found[worst]}, not {expected[worst]}"


# What others give


@pytest.mark.parametrize("name", ["gpt-2", "llama-spm", "phi-3"])
def test_ids_are_those_of_llama_cpp(oracles: Path, name: str) -> None:
    file = oracles / f"tokenizers/ggml-vocab-{name}.gguf"
    texts = Path(f"{file}.inp").read_bytes().decode().split(SEPARATOR)
    expected = [[int(id) for id in line.split()] for line in Path(f"{file}.out").read_text().split("\n")]
    found = [tokenizer_of(file).encode(text, add_special=False) for text in texts]
    assert first_difference(texts, found, expected) is None


@pytest.mark.parametrize("name", ["llama-spm", "phi-3"])
def test_merging_by_rank_is_merging_by_score(oracles: Path, name: str) -> None:
    file = oracles / f"tokenizers/ggml-vocab-{name}.gguf"
    texts = varied_strings(300, seed=3) + [" " * i + "word" + "=" * i for i in range(60)]
    texts = [text for text in texts if "</s>" not in text]  # which phi-3 defines as a token
    found = [tokenizer_of(file).encode(text, add_special=False) for text in texts]
    assert first_difference(texts, found, sentence_piece_ids(data_of(file), texts)) is None


def test_smollm2_gives_the_ids_of_its_published_tokenizer(smollm2: Path) -> None:
    """Its vocabulary lacks 21 bytes (most of them control characters), which vanish there as here."""
    data = data_of(smollm2)
    vocabulary = {token: i for i, token in enumerate(data.tokens)}
    merges = [(left, right) for left, right in (merge.split(" ") for merge in data.merges)]
    published = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    published.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    texts = varied_strings(1000, seed=1)
    found = [tokenizer_of(smollm2).encode(text, add_special=False) for text in texts]
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


def test_the_default_words_cut_punctuation_and_digits() -> None:
    words = NativeCodec(tokenizer_json(byte_level(pre="default")))._library.pre_tokenizer
    assert [word for word, _ in words.pre_tokenize_str("a $5, 12345!")] == [
        "a",
        "Ġ",
        "$",
        "5",
        ",",
        "Ġ",
        "123",
        "45",
        "!",
    ]


# Special tokens


@BOTH
def test_the_text_of_a_control_token_is_text_unless_asked_for(small: Tokenizer) -> None:
    control = small.eos_ids[0]
    text = small.token_bytes(control).decode()
    plain = small.encode(f"a{text}b", add_special=False)
    assert not any(small.is_special(id) for id in plain)
    assert small.decode(plain) == f"a{text}b"
    assert control in small.encode(f"a{text}b", add_special=False, parse_special=True)


def test_the_longest_special_token_is_matched() -> None:
    assert BYTE_LEVEL.encode("<|start|>x", parse_special=True) == [2]


@BOTH
def test_a_user_defined_token_is_always_matched_and_shown(small: Tokenizer) -> None:
    for parse_special in (False, True):
        ids = small.encode("a[TOOL]", add_special=False, parse_special=parse_special)
        assert small.token_bytes(ids[-1]) == b"[TOOL]"
        assert small.decode(ids) == "a[TOOL]"
        assert not small.is_special(ids[-1])


def test_a_space_is_put_before_each_text_that_a_special_token_precedes() -> None:
    ids = SENTENCE_PIECE.encode("a</s>a", parse_special=True)
    assert [SENTENCE_PIECE.token_bytes(id) for id in ids] == [b"<s>", b" a", b"</s>", b" a"]


@pytest.mark.parametrize(
    ("text", "options", "ends"),
    [
        ("", {"add_bos": True}, "<|start|>"),
        ("", {"add_bos": False}, ""),
        ("", {"add_eos": True}, "<|end|>"),
        ("hell", {"add_bos": True, "add_eos": True}, "<|start|>hell<|end|>"),
        ("<|start|>hell<|end|>", {"add_bos": True, "add_eos": True}, "<|start|>hell<|end|>"),
        ("hell", {"add_bos": True, "bos_id": None}, "hell"),
        ("hell", {"add_eos": True, "eos_ids": ()}, "hell"),
    ],
)
def test_bos_and_eos_are_added_where_the_file_asks_and_never_twice(text: str, options: Any, ends: str) -> None:
    small = tokenizer(byte_level(**options))
    ids = small.encode(text, parse_special=True)
    assert b"".join(small.token_bytes(id) for id in ids).decode() == ends
    assert small.encode("hell", add_special=False) == [BYTE_LEVEL.encode("hell")[0]]


def test_without_token_types_only_the_named_ids_are_special() -> None:
    small = tokenizer(dataclasses.replace(sentence_piece(), token_types=()))
    assert [id for id in range(small.vocab_size) if small.is_special(id)] == [1, 2]
    assert small.token_bytes(3 + 0x0A) == b"\n"
    assert small.decode(small.encode("the ☃")) == "the ☃"


# Merging


@pytest.mark.parametrize(("pre", "whole"), [("llama-bpe", True), ("gpt-2", False)])
def test_a_word_that_is_a_token_is_taken_whole_where_the_pre_tokenizer_says_so(pre: str, whole: bool) -> None:
    small = tokenizer(byte_level(pre=pre))
    assert (len(small.encode(" whole")) == 1) is whole


def test_merges_of_missing_tokens_are_passed_over() -> None:
    data = byte_level()
    small = tokenizer(dataclasses.replace(data, merges=["x y", "nonsense", *data.merges]))
    assert small.encode("hello") == BYTE_LEVEL.encode("hello")


def test_what_the_vocabulary_lacks_is_spelled_in_bytes_or_unknown() -> None:
    assert [SENTENCE_PIECE.token_bytes(id) for id in SENTENCE_PIECE.encode("☃")] == [
        b"<s>",
        b" ",
        b"\xe2",
        b"\x98",
        b"\x83",
    ]
    data = sentence_piece()
    kept = [i for i, token in enumerate(data.tokens) if not token.startswith("<0x")]
    without_bytes = dataclasses.replace(
        data,
        tokens=[data.tokens[i] for i in kept],
        scores=[data.scores[i] for i in kept],
        token_types=[data.token_types[i] for i in kept],
    )
    small = tokenizer(without_bytes)
    assert [small.token_bytes(id) for id in small.encode("☃☃a")] == [b"<s>", b" ", b"<unk>", b"a"]


# Back to text


@given(TEXT)
def test_byte_level_text_comes_back(text: str) -> None:
    for pre in PRE_TOKENIZERS:
        small = SMALL[pre]
        assert small.decode(small.encode(text)) == text


SMALL = {pre: tokenizer(byte_level(pre=pre)) for pre in PRE_TOKENIZERS}


@given(TEXT)
def test_sentence_piece_text_comes_back(text: str) -> None:
    text = text.replace("▁", "_").replace("[TOOL]", "")  # the one reads as a space, the other is followed by one
    assert SENTENCE_PIECE.decode(SENTENCE_PIECE.encode(text)) == text


@given(TEXT)
def test_text_is_what_the_library_decodes(text: str) -> None:
    for data in (byte_level(), sentence_piece()):
        small, codec = tokenizer(data), NativeCodec(tokenizer_json(data))
        ids = small.encode(text)
        assert small.decode(ids) == codec.decode(ids)


@BOTH
@given(st.data())
def test_streamed_text_is_the_text(small: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, small.vocab_size - 1)))
    continues = data.draw(st.booleans())
    stream = small.stream(continues=continues)
    pieces = [stream.push(id) for id in ids]
    assert "".join(pieces) + stream.flush() == small.decode(ids, continues=continues)
    assert all(piece == "" for id, piece in zip(ids, pieces, strict=True) if small.is_special(id))


@BOTH
def test_no_half_character_is_shown(small: Tokenizer) -> None:
    stream = small.stream()
    shown = [stream.push(id) for id in small.encode("🙂é", add_special=False)]
    assert [text for text in shown if text] in (["🙂", "é"], [" 🙂", "é"])
    assert stream.flush() == ""


@BOTH
def test_broken_characters_become_replacement_characters_at_the_latest_in_the_end(small: Tokenizer) -> None:
    ids = small.encode("🙂", add_special=False)
    stream = small.stream()
    assert "".join(stream.push(id) for id in ids[:-1]).strip() == ""
    assert stream.flush() == "\ufffd"
    assert small.decode(ids[:-1]).strip() == "\ufffd"
    assert small.decode([ids[-1]]) == "\ufffd"


def test_only_the_space_that_was_put_there_is_taken_away() -> None:
    ids = SENTENCE_PIECE.encode("the a", add_special=False)
    assert SENTENCE_PIECE.decode(ids) == "the a"
    assert SENTENCE_PIECE.decode(ids, continues=True) == " the a"
    assert SENTENCE_PIECE.decode(SENTENCE_PIECE.encode(" the")) == " the"
    unprefixed = tokenizer(sentence_piece(add_space_prefix=False))
    assert unprefixed.decode(unprefixed.encode(" the")) == " the"


@BOTH
def test_nothing_decodes_to_nothing(small: Tokenizer) -> None:
    assert small.decode([]) == small.stream().flush() == ""
    assert small.encode("", add_special=False) == []


@pytest.mark.parametrize(
    ("token", "byte"), [("<0x0A>", 10), ("<0xFF>", 255), ("<0xZZ>", None), ("<0x0A", None), ("a", None)]
)
def test_bytes_are_written_in_hexadecimal(token: str, byte: int | None) -> None:
    assert byte_value(token) == byte


def test_an_unused_token_has_no_text() -> None:
    unused = BYTE_LEVEL.vocab_size - 1
    assert BYTE_LEVEL.token_bytes(unused) == b""
    assert BYTE_LEVEL.decode([unused]) == ""


def test_characters_outside_the_byte_alphabet_stand_for_themselves() -> None:
    data = byte_level()
    small = tokenizer(
        dataclasses.replace(data, tokens=[*data.tokens[:-1], "日 x"], token_types=[*data.token_types[:-1], 1])
    )
    assert small.token_bytes(small.vocab_size - 1) == "日 x".encode()


# Hard texts


@pytest.mark.parametrize(
    ("text", "comes_back_as"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("\ud83d\ude42", "🙂"),
        ("\ufeffé\ud800", "\ufeffé\ufffd"),
        ("a\0b", "a\0b"),
    ],
)
@BOTH
def test_surrogates_and_zeros_are_encoded(small: Tokenizer, text: str, comes_back_as: str) -> None:
    assert well_formed(text) == comes_back_as
    assert small.decode(small.encode(text)) == comes_back_as


@BOTH
@pytest.mark.parametrize("text", ["a" * 200_000, " " * 200_000 + "a", "the in " * 30_000, "\n" * 200_000])
def test_long_texts_come_back(small: Tokenizer, text: str) -> None:
    assert small.decode(small.encode(text)) == text


def test_a_text_beyond_the_regex_engines_patience_is_refused_and_the_next_encoded() -> None:
    small = tokenizer(byte_level(pre="llama-bpe"))
    with pytest.raises(InvalidOption, match="12,000,001 characters is too long"):
        small.encode(" " * 12_000_000 + "x")
    assert small.encode("hello") == BYTE_LEVEL.encode("hello")


# What is refused


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataclasses.replace(byte_level(), model="bert"), 'model "bert" is not known; known are "gpt2", "llama"'),
        (byte_level(pre="klingon"), 'Pre-tokenizer "klingon" is not known; known are "gpt-2"'),
        (byte_level(bos_id=9999), "BOS token is 9,999, outside its vocabulary of"),
        (byte_level(eos_ids=(0, -1)), "EOS token is -1, outside"),
        (byte_level(unknown_id=1 << 40), "unknown token is 1,099,511,627,776, outside"),
        (dataclasses.replace(byte_level(), tokens=()), "has no tokens"),
        (dataclasses.replace(byte_level(), token_types=(1, 1)), "tokens but 2 token types"),
        (dataclasses.replace(sentence_piece(), scores=()), "tokens but 0 scores"),
        (
            dataclasses.replace(byte_level(), tokens=["a", "b", "a"], token_types=(), bos_id=None),
            "Token 'a' is in the vocabulary twice, as 0 and as 2",
        ),
        (
            dataclasses.replace(byte_level(), tokens=["\ud800", "b"], token_types=(), bos_id=None),
            "refuses this vocabulary",
        ),
    ],
)
def test_a_contradictory_or_unknown_tokenizer_is_refused(data: Any, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer(data)


def test_a_file_without_a_pre_tokenizer_gets_the_default_and_a_warning() -> None:
    with pytest.warns(UserWarning, match="names no pre-tokenizer"):
        unnamed = tokenizer_json(byte_level(pre=""))
    assert unnamed == tokenizer_json(byte_level(pre="default"))


@pytest.mark.parametrize("id", [-1, 10**6])
def test_an_id_outside_the_vocabulary_is_refused(id: int) -> None:
    for ask in (
        BYTE_LEVEL.token_bytes,
        BYTE_LEVEL.is_special,
        BYTE_LEVEL.stream().push,
        lambda id: BYTE_LEVEL.decode([id]),
    ):
        with pytest.raises(InvalidOption, match=f"Token id {id:,} lies outside the vocabulary of"):
            ask(id)


def test_only_text_is_encoded() -> None:
    with pytest.raises(InvalidOption, match="must be a str, not bytes"):
        BYTE_LEVEL.encode(b"bytes")  # type: ignore[arg-type]


def test_empty_tokens_take_no_part() -> None:
    data = byte_level()
    small = tokenizer(dataclasses.replace(data, tokens=["", "", *data.tokens[2:]], bos_id=None, eos_ids=()))
    assert small.decode([0, 1, *small.encode("hello")]) == "hello"
