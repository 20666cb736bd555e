"""Text to ids and back, for every kind of tokenizer: special tokens, ends, whole characters, hard texts."""

import dataclasses
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shaderlm.errors import InvalidOption
from shaderlm.hosts.native.codec import NativeCodec
from shaderlm.tokenizer import Tokenizer, well_formed
from shaderlm.tokenizer_json import byte_value, tokenizer_json
from shaderlm.tokenizer_json.pre_tokenizers import PRE_TOKENIZERS
from tiny_model import TINY
from vocabularies import byte_level, in_characters, sentence_piece, tokenizer, unigram, word_piece

BYTE_LEVEL, SENTENCE_PIECE = tokenizer(byte_level()), tokenizer(sentence_piece())
CHARACTERS, UNIGRAM, WORD_PIECE = tokenizer(in_characters()), tokenizer(unigram()), tokenizer(word_piece())
IN_BYTES = {"byte-level": BYTE_LEVEL, "sentence-piece": SENTENCE_PIECE, "characters": CHARACTERS}  # spell any text
KINDS = {**IN_BYTES, "unigram": UNIGRAM, "word-piece": WORD_PIECE}
ALL = pytest.mark.parametrize("small", KINDS.values(), ids=KINDS)
EACH_IN_BYTES = pytest.mark.parametrize("small", IN_BYTES.values(), ids=IN_BYTES)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CUTS = {row.patterns: name for name, row in PRE_TOKENIZERS.items() if row.byte_level}
SMALL = {name: tokenizer(byte_level(pre=name)) for name in CUTS.values()}  # one for each way to cut words


# Special tokens


@EACH_IN_BYTES
def test_the_text_of_a_control_token_is_text_unless_asked_for(small: Tokenizer) -> None:
    control = small.eos_ids[0]
    text = small.token_bytes(control).decode()
    plain = small.encode(f"a{text}b", add_special=False)
    assert not any(small.is_special(id) for id in plain)
    assert small.decode(plain) == f"a{text}b"
    assert control in small.encode(f"a{text}b", add_special=False, parse_special=True)


@pytest.mark.parametrize(
    ("small", "text", "control"),
    [(UNIGRAM, "in</s>in", 1), (UNIGRAM, "<pad>", 0), (WORD_PIECE, "[CLS] it", 2), (WORD_PIECE, "x[SEP]", 3)],
)
def test_where_pieces_lack_characters_text_spells_no_control_token_either(
    small: Tokenizer, text: str, control: int
) -> None:
    assert control not in small.encode(text, add_special=False)
    assert control in small.encode(text, add_special=False, parse_special=True)


def test_a_word_that_is_the_name_of_a_control_token_does_not_become_it() -> None:
    data = byte_level(pre="llama-bpe")  # by which a word that is a token is taken whole
    named = tokenizer(dataclasses.replace(data, tokens=["held", *data.tokens[1:]]))
    assert 0 not in named.encode("held held")
    assert 0 in named.encode("held", parse_special=True)


def test_the_longest_special_token_is_matched() -> None:
    assert BYTE_LEVEL.encode("<|begin|>x", parse_special=True) == [2]


@pytest.mark.parametrize("small", [BYTE_LEVEL, SENTENCE_PIECE, CHARACTERS, UNIGRAM])
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
        ("", {"add_bos": True}, "<|begin|>"),
        ("", {"add_bos": False}, ""),
        ("", {"add_eos": True}, "<|end|>"),
        ("hell", {"add_bos": True, "add_eos": True}, "<|begin|>hell<|end|>"),
        ("<|begin|>hell<|end|>", {"add_bos": True, "add_eos": True}, "<|begin|>hell<|end|>"),
        ("hell", {"add_bos": True, "bos_id": None}, "hell"),
        ("hell", {"add_eos": True, "eos_ids": ()}, "hell"),
    ],
)
def test_bos_and_eos_are_added_where_the_file_asks_and_never_twice(text: str, options: Any, ends: str) -> None:
    small = tokenizer(byte_level(**options))
    ids = small.encode(text, parse_special=True)
    assert b"".join(small.token_bytes(id) for id in ids).decode() == ends
    assert small.encode("hell", add_special=False) == [BYTE_LEVEL.encode("hell")[0]]


@pytest.mark.parametrize(
    ("text", "changes", "ids"),
    [
        ("", {}, [2, 3]),
        ("it", {}, [2, 12, 3]),
        ("[CLS] it[SEP]", {}, [2, 12, 3]),
        ("it", {"add_sep": False}, [2, 12]),
        ("it", {"add_bos": False}, [12, 3]),
        ("it", {"sep_id": None}, [2, 12]),
    ],
)
def test_berts_texts_stand_between_its_two_marks(text: str, changes: dict[str, Any], ids: list[int]) -> None:
    assert tokenizer(word_piece(**changes)).encode(text, parse_special=True) == ids


@pytest.mark.parametrize("text", ["</s>", "<eos>", "<|endoftext|>"])
def test_an_end_of_text_is_a_control_token_even_where_the_file_says_user_defined(text: str) -> None:
    data = byte_level(bos_id=None, eos_ids=())
    tokens, types = [text, *data.tokens[1:]], [4, *data.token_types[1:]]
    small = tokenizer(dataclasses.replace(data, tokens=tokens, token_types=types))
    assert small.is_special(0)
    assert 0 not in small.encode(text)


def test_tokens_take_white_space_away_where_the_file_is_known_to_want_it() -> None:
    data = byte_level(left_stripping=frozenset({0}), right_stripping=frozenset({2}))
    small = tokenizer(data)
    ids = small.encode("a \n<|end|> b<|begin|>x \t c", parse_special=True)
    assert b"".join(map(small.token_bytes, ids)) == b"a<|end|> b<|begin|>xc"


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
    for small in SMALL.values():
        assert small.decode(small.encode(text)) == text


@given(TEXT)
def test_text_in_characters_comes_back(text: str) -> None:
    text = text.replace("▁", "_").replace("[TOOL]", "")  # the one reads as a space, the other is followed by one
    assert SENTENCE_PIECE.decode(SENTENCE_PIECE.encode(text)) == text
    assert CHARACTERS.decode(CHARACTERS.encode(text)) == text


@given(TEXT)
def test_text_is_what_the_library_decodes(text: str) -> None:
    for data in (byte_level(), sentence_piece(), in_characters(), unigram(), word_piece()):
        small, library = tokenizer(data), NativeCodec(tokenizer_json(data))._library
        ids = small.encode(text, add_special=False)
        if any(small.is_special(id) for id in ids):  # what is unknown, which the library would show by its name
            ids = [id for id in ids if not small.is_special(id)]
        decoded = library.decode(ids, skip_special_tokens=True)
        assert small.decode(ids, continues=True).removeprefix(" ") == decoded.removeprefix(" ")


@ALL
@given(st.data())
def test_streamed_text_is_the_text(small: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, small.vocab_size - 1)))
    continues = data.draw(st.booleans())
    stream = small.stream(continues=continues)
    pieces = [stream.push(id) for id in ids]
    assert "".join(pieces) + stream.flush() == small.decode(ids, continues=continues)
    assert all(piece == "" for id, piece in zip(ids, pieces, strict=True) if small.is_special(id))


@EACH_IN_BYTES
def test_no_half_character_is_shown(small: Tokenizer) -> None:
    stream = small.stream()
    shown = [stream.push(id) for id in small.encode("🙂é", add_special=False)]
    assert [text for text in shown if text] == ["🙂", "é"]
    assert stream.flush() == ""


@EACH_IN_BYTES
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


@pytest.mark.parametrize("small", [SENTENCE_PIECE, UNIGRAM, WORD_PIECE])
def test_an_answer_that_goes_on_keeps_the_space_before_its_first_word(small: Tokenizer) -> None:
    ids = small.encode("the in", add_special=False)
    first, then = small.stream(), small.stream(continues=True)
    assert "".join(first.push(id) for id in ids) == "the in"
    assert "".join(then.push(id) for id in ids) == " the in"
    after_a_mark = small.stream()
    assert after_a_mark.push(0) + "".join(after_a_mark.push(id) for id in ids) == "the in"


def test_a_user_defined_token_keeps_the_space_that_it_begins_with() -> None:
    data = sentence_piece()
    small = tokenizer(dataclasses.replace(data, tokens=[*data.tokens[:-1], "▁[TOOL]"]))
    assert small.decode([small.vocab_size - 1]) == "▁[TOOL]"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("the . in , it ! a ? x", "the. in, it! a? x"),
        ("it 's in 've a 're x 'm", "it's in've a're x'm"),
        ("it ' in 'the'", "it'in 'the'"),
        ("nothing here", "nothing here"),
    ],
)
def test_spaces_are_cleaned_up_where_asked_for_and_the_models_own_detokenizer_does(text: str, cleaned: str) -> None:
    cleans, cleans_not = BYTE_LEVEL, tokenizer(byte_level(pre="qwen2"))
    ids = cleans.encode(text)
    assert cleans.decode(ids) == text
    assert cleans.decode(ids, clean_up=True) == cleaned
    assert cleans_not.decode(cleans_not.encode(text), clean_up=True) == text


def test_berts_words_are_cleaned_up() -> None:
    ids = WORD_PIECE.encode("it, the!", add_special=False)
    assert WORD_PIECE.decode(ids) == "it , the !"
    assert WORD_PIECE.decode(ids, clean_up=True) == "it, the!"


@ALL
def test_nothing_decodes_to_nothing(small: Tokenizer) -> None:
    assert small.decode([]) == small.stream().flush() == ""
    assert small.encode("", add_special=False) == []


@pytest.mark.parametrize(
    ("token", "byte"),
    [
        ("<0x0A>", 10),
        ("<0xfF>", 255),
        ("<0xZZ>", None),
        ("<0x-1>", None),
        ("<0x 1>", None),
        ("<0x0A", None),
        ("a", None),
    ],
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
@EACH_IN_BYTES
def test_surrogates_and_zeros_are_encoded(small: Tokenizer, text: str, comes_back_as: str) -> None:
    assert well_formed(text) == comes_back_as
    assert small.decode(small.encode(text)) == comes_back_as


@EACH_IN_BYTES
@pytest.mark.parametrize("text", ["a" * 200_000, " " * 200_000 + "a", "the in " * 30_000, "\n" * 200_000])
def test_long_texts_come_back(small: Tokenizer, text: str) -> None:
    assert small.decode(small.encode(text)) == text


@pytest.mark.parametrize("small", [UNIGRAM, WORD_PIECE], ids=["unigram", "word-piece"])
@pytest.mark.parametrize("text", ["a" * 200_000, " " * 200_000 + "a", "the in " * 30_000, "☃" * 200_000])
def test_long_texts_without_bytes_are_encoded(small: Tokenizer, text: str) -> None:
    known = "☃" not in text and (small is UNIGRAM or " " in text)
    assert small.decode(small.encode(text)).strip() == (text.strip() if known else "")


def test_a_text_beyond_the_regex_engines_patience_is_refused_and_the_next_encoded() -> None:
    small = tokenizer(byte_level(pre="llama-bpe"))
    with pytest.raises(InvalidOption, match=r"12,000,001 characters cannot be encoded: .*may be too long"):
        small.encode(" " * 12_000_000 + "x")
    assert small.encode("hello") == BYTE_LEVEL.encode("hello")


# What is refused


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


def test_a_tokenizer_alone_needs_no_gpu() -> None:
    code = f"""
import sys, shaderlm
print(shaderlm.load_tokenizer({str(TINY)!r}).decode(shaderlm.load_tokenizer({str(TINY)!r}).encode("hello")))
print([name for name in ("wgpu", "numpy", "cffi") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["hello", "[]"]


def test_empty_tokens_take_no_part() -> None:
    data = byte_level()
    small = tokenizer(dataclasses.replace(data, tokens=["", "", *data.tokens[2:]], bos_id=None, eos_ids=()))
    assert small.decode([0, 1, *small.encode("hello")]) == "hello"
