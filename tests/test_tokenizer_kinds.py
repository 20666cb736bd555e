"""What the kinds of tokenizers do to a text before they cut it: spaces, cases, accents, a map of characters."""

from typing import Any

import pytest

from shaderlm.tokenizer import Tokenizer
from vocabularies import byte_level, charsmap, in_characters, sentence_piece, tokenizer, unigram, word_piece

WHITESPACE = {"model": "whitespace", "pre": "whitespace", "bos_id": None, "eos_ids": ()}


def pieces(small: Tokenizer, text: str, **options: Any) -> str:
    """The pieces of a text with a bar between them, spaces as underscores."""
    ids = small.encode(text, add_special=False, **options)
    return "|".join(small.token_bytes(id).decode().replace(" ", "_") for id in ids)


# Spaces


@pytest.mark.parametrize(
    ("text", "prefixed", "plain", "few"),
    [
        ("the", "_the", "t|he", "_the"),
        (" the", "_|_the", "_the", "_the"),
        ("the  in", "_the|__|in", "t|he|__|in", "_the|_|in"),
        ("the ", "_the|_", "t|he|_", "_the"),
        ("  ", "___", "__", ""),
        (" ", "__", "_", ""),
        ("\nin", "_|\n|in", "\n|in", "_|\n|in"),
    ],
)
def test_sentence_piece_keeps_spaces_and_puts_one_in_front(text: str, prefixed: str, plain: str, few: str) -> None:
    assert pieces(tokenizer(sentence_piece()), text) == prefixed
    assert pieces(tokenizer(sentence_piece(add_space_prefix=False)), text) == plain
    assert pieces(tokenizer(sentence_piece(remove_extra_whitespaces=True)), text) == few


@pytest.mark.parametrize(
    ("text", "prefixed", "plain", "few"),
    [
        ("the", "_the", "the", "_the"),
        (" the", "_|_the", "_the", "_the"),
        ("the  in", "_the|_|_in", "the|_|_in", "_the|_in"),
        ("the ", "_the|_", "the|_", "_the"),
        ("  ", "__", "__", ""),
        (" ", "_", "_", ""),
    ],
)
def test_unigram_puts_a_space_in_front_of_words_alone(text: str, prefixed: str, plain: str, few: str) -> None:
    assert pieces(tokenizer(unigram()), text) == prefixed
    assert pieces(tokenizer(unigram(add_space_prefix=False)), text) == plain
    assert pieces(tokenizer(unigram(remove_extra_whitespaces=True, add_space_prefix=False)), text) == few


def test_what_goes_before_a_special_token_and_behind_it_is_a_text_of_its_own() -> None:
    for data in (sentence_piece(), unigram()):
        small = tokenizer(data)
        assert pieces(small, "the</s>the", parse_special=True) == "_the|</s>|_the"
        assert pieces(small, "the[TOOL]the") == "_the|[TOOL]|_the"


def test_spaces_superfluous_or_not_are_taken_out_of_the_text_again() -> None:
    for data in (sentence_piece(remove_extra_whitespaces=True), unigram(remove_extra_whitespaces=True)):
        small = tokenizer(data)
        assert small.decode(small.encode("  the   in ")) == "the in"


# Line feeds and bytes of a BPE in characters


def test_a_run_of_line_feeds_that_is_a_token_is_taken_whole_without_any_merge() -> None:
    gemma, sarvam = tokenizer(in_characters()), tokenizer(in_characters(model="gpt2", pre="sarvam-moe"))
    assert pieces(gemma, "in\n\nin\n\n\n\n") == "in|\n\n|in|\n\n\n|\n"
    assert pieces(sarvam, "in\n\nin") == "in|\n|\n|in"
    assert gemma.decode(gemma.encode("\n\n\n\n\n")) == "\n" * 5


def test_a_bpe_in_characters_spells_what_it_lacks_in_bytes() -> None:
    small = tokenizer(in_characters())
    ids = small.encode("☃", add_special=False)
    assert [small.token_bytes(id) for id in ids] == [b"\xe2", b"\x98", b"\x83"]


def test_a_bpe_without_white_space_drops_it_and_lowers_what_it_should() -> None:
    data = byte_level(**WHITESPACE)
    small, lower = tokenizer(data), tokenizer(byte_level(**WHITESPACE, lower_case=True))
    assert pieces(small, "hello\u3000 hello\n") == "hello|hello"
    assert pieces(lower, "HELLO") == "hello"
    assert pieces(small, "HELLO") == "H|E|L|L|O"


# BERT


@pytest.mark.parametrize(
    ("text", "uncased", "cased", "accented"),
    [
        ("THE Café", "_the|_cafe", "[UNK]|[UNK]", "_the|_café"),
        ("the cafe\u0301", "_the|_cafe", "_the|[UNK]", "_the|[UNK]"),  # an accent of its own is no letter's
        ("unaffable", "_un|aff|able", "_un|aff|able", "_un|aff|able"),
        ("un##in", "_un|[UNK]|[UNK]|_i|n", "_un|[UNK]|[UNK]|_i|n", "_un|[UNK]|[UNK]|_i|n"),
        ("it, the!", "_it|_,|_the|_!", "_it|_,|_the|_!", "_it|_,|_the|_!"),
        ("豆腐x", "_豆|_腐|_x", "_豆|_腐|_x", "_豆|_腐|_x"),
        ("i\u200bt\x00 \x07it", "_it|_it", "_it|_it", "_it|_it"),
        ("ΛΟΓΟΣ λογοΣ", "_λογοσ|_λογοσ", "[UNK]|[UNK]", "_λογοσ|_λογοσ"),
        ("İT", "_it", "[UNK]", "[UNK]"),
        ("i" * 101, "[UNK]", "[UNK]", "[UNK]"),
    ],
)
def test_bert_folds_cases_and_accents_as_the_file_says(text: str, uncased: str, cased: str, accented: str) -> None:
    assert pieces(tokenizer(word_piece()), text) == uncased
    assert pieces(tokenizer(word_piece(lower_case=False, strip_accents=False)), text) == cased
    assert pieces(tokenizer(word_piece(strip_accents=False)), text) == accented


# SentencePiece's map of characters


def test_characters_are_replaced_by_the_files_own_map() -> None:
    folds = charsmap({"ｉ": "i", "ｎ": "n", "ﬁ": "in", "\u3000": " ", "\u200b": "", "⒢": "ing"})
    for data in (sentence_piece(charsmap=folds), unigram(charsmap=folds)):
        small = tokenizer(data)
        for text, as_if in {"ｉｎ": "in", "the\u3000ﬁ": "the in", "i\u200bn": "in", "☃⒢": "☃ing"}.items():
            assert small.encode(text) == small.encode(as_if)


def test_the_map_leaves_special_tokens_alone() -> None:
    small = tokenizer(sentence_piece(charsmap=charsmap({"s": "a", "T": "t"})))
    assert pieces(small, "s</s>s[TOOL]", parse_special=True) == "_a|</s>|_a|[TOOL]"
