"""Tokenizers that are broken, or meant to break something: an error or one that works, soon and in little memory."""

import contextlib
import dataclasses
import itertools
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from gguf import GGUFValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byte_sources import checkpoint
from gguf_writer import Typed, tokenizer_metadata
from shaderlm.core import make_tokenizer
from shaderlm.errors import InvalidOption, ShaderLMError, TokenizerError
from shaderlm.formats.checkpoint import TokenizerData
from shaderlm.hosts.native import host as native
from shaderlm.hosts.native.codec import NativeCodec
from shaderlm.tokenizer import Tokenizer
from shaderlm.tokenizer_json import UNSUPPORTED, tokenizer_json
from shaderlm.tokenizer_json.pre_tokenizers import PRE_TOKENIZERS
from shaderlm.tokenizer_json.vocabulary import hidden_name
from vocabularies import byte_level, charsmap, in_characters, sentence_piece, tokenizer, unigram, word_piece

SMALL = (byte_level, sentence_piece, in_characters, unigram, word_piece)


def changed(data: TokenizerData, **changes: Any) -> TokenizerData:
    return dataclasses.replace(data, **changes)


def first(data: TokenizerData, text: str) -> TokenizerData:
    """With another first token, a normal one."""
    return changed(data, tokens=[text, *data.tokens[1:]], token_types=[1, *data.token_types[1:]], eos_ids=())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(byte_level(), model="klingon"), r'model "klingon" is not known; known are "gpt2", '),
        *((changed(byte_level(), model=m), f'"{m}" is not supported; supported are "gpt2"') for m in UNSUPPORTED),
        (byte_level(pre="klingon"), r'Pre-tokenizer "klingon" \(tokenizer.ggml.pre\) is not known; known'),
        (byte_level(pre="x" * 10**6), f'Pre-tokenizer "{"x" * 80}" '),
        (byte_level(bos_id=9999), "BOS token is 9,999, outside its vocabulary of"),
        (byte_level(eos_ids=(0, -1)), "EOS token is -1, outside"),
        (word_piece(sep_id=400), "separator token is 400, outside"),
        (byte_level(unknown_id=1 << 40), "unknown token is 1,099,511,627,776, outside"),
        (changed(byte_level(), tokens=()), "has no tokens"),
        (changed(byte_level(), token_types=(1, 1)), "tokens but 2 token types"),
        (changed(byte_level(), token_types=[7, *byte_level().token_types[1:]]), "Token 0 is of type 7, but types go"),
        (changed(byte_level(), token_types=[-1, *byte_level().token_types[1:]]), "Token 0 is of type -1, but types go"),
        (changed(byte_level(), merges=()), "tokens of several characters, but no merges"),
        (changed(byte_level(), merges=["x y"]), "tokens of several characters, but no merges"),
        (changed(sentence_piece(), scores=()), "tokens but 0 scores"),
        (changed(unigram(), scores=[0.5]), "tokens but 1 scores"),
        (changed(sentence_piece(), scores=[*sentence_piece().scores[:-1], float("nan")]), "score of token 281 is nan"),
        (changed(unigram(), scores=[float("-inf"), *unigram().scores[1:]]), "score of token 0 is -inf, but must be"),
        (unigram(unknown_id=None), 'kind "t5" needs an unknown token'),
        (word_piece(unknown_id=None), 'kind "bert" needs an unknown token'),
        (first(sentence_piece(), "a" * 513), "Token 0 has 513 characters; pieces have at most 512"),
        (first(unigram(), "a" * 513), "Token 0 has 513 characters; pieces have at most 512"),
        (first(byte_level(), "hello"), "Token 'hello' is in the vocabulary twice, as 0 and as"),
        (first(byte_level(), "\ud800"), "refuses this vocabulary"),
        (sentence_piece(charsmap=b"\0"), "precompiled_charsmap.* has 1 bytes, of which a table takes 0"),
        (sentence_piece(charsmap=b"\xff\xff\xff\x7f" + bytes(8)), "has 12 bytes, of which a table takes 2,147,483,647"),
        (unigram(charsmap=charsmap({"A": "a"})[:-1]), "they do not fit"),
        (unigram(charsmap=charsmap({"A": "a" * 257})), "writes a character as 257 bytes; 256 are the most"),
        (unigram(charsmap=charsmap({"A": "a"}).replace(b"a\0", b"\xff\0")), "refuses this vocabulary"),
    ],
)  # fmt: skip
def test_a_broken_tokenizer_is_refused(data: Any, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer(data)


def test_a_refused_pre_tokenizer_names_the_file_and_all_that_work() -> None:
    with pytest.raises(TokenizerError) as caught:
        make_tokenizer(checkpoint(tokenizer_metadata(byte_level(pre="klingon"))), native.make_codec)
    assert "model.gguf" in str(caught.value)
    assert all(f'"{name}"' in str(caught.value) for name in ("klingon", *PRE_TOKENIZERS))


def test_a_file_without_a_pre_tokenizer_gets_the_default_and_a_warning() -> None:
    with pytest.warns(UserWarning, match="names no pre-tokenizer"):
        unnamed = tokenizer_json(byte_level(pre=""))
    assert unnamed == tokenizer_json(byte_level(pre="default"))


def test_a_map_of_characters_that_leads_astray_ends_in_an_error_at_the_text() -> None:
    content = bytearray(charsmap({"A": "a"}))
    content[4:8] = (0x7FFFFC00).to_bytes(4, "little")  # the root's children lie far behind the array
    small = tokenizer(unigram(charsmap=bytes(content)))
    with pytest.raises(InvalidOption, match="cannot be encoded"):
        small.encode("A")


def test_what_the_library_is_not_to_blame_for_is_passed_on() -> None:
    codec = NativeCodec(tokenizer_json(byte_level()))
    with pytest.raises(TypeError):
        codec.encode(b"bytes", parse_special=False)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        NativeCodec({"added_tokens": [], "model": object()})


def test_a_token_whose_name_is_that_of_a_hidden_one_does_no_harm() -> None:
    data = sentence_piece()
    small = tokenizer(changed(data, tokens=[*data.tokens[:-1], hidden_name(1)]))
    ids = small.encode(f"the{hidden_name(1)}in</s>", parse_special=True)
    assert small.vocab_size - 1 in ids
    assert [ids[0], ids[-1]] == [1, 2]
    assert not {0, 1, 2} & set(ids[1:-1])


# Large


def vocabularies_of(count: int) -> Iterator[TokenizerData]:
    """`count` tokens of every kind, and merges of all with all."""
    words = [f"▁w{i}" for i in range(count)]
    merges = [f"{left} {right}" for left, right in itertools.pairwise(words)]
    control = dict.fromkeys(range(0, count, 2), 3) | dict.fromkeys(range(1, count, 2), 4)
    for model in ("gpt2", "llama", "t5", "bert"):
        fields = {"model": model, "pre": "qwen2", "tokens": words, "scores": [0.0] * count, "merges": merges}
        yield TokenizerData(**{**fields, "token_types": (), "unknown_id": 0, "merges": ["w 1", *merges]})
        yield TokenizerData(**{**fields, "token_types": list(control.values()), "unknown_id": 0})


def test_large_vocabularies_are_read_in_the_time_that_their_size_takes() -> None:
    for data in vocabularies_of(20_000):
        started = time.monotonic()
        with contextlib.suppress(TokenizerError):  # of no merges
            tokenizer(data).encode("w1 w2 w3")
        assert time.monotonic() - started < 5  # a quarter of a second, on a quiet machine


def test_long_pieces_take_little_memory() -> None:
    data = sentence_piece()
    long = ["ab" * 128 + str(i) for i in range(500)]
    tokens, count = [*data.tokens, *long], len(long)
    large = changed(
        data, tokens=tokens, scores=[*data.scores, *[-1.0] * count], token_types=[*data.token_types, *[1] * count]
    )
    tracemalloc.start()
    tokenizer_json(large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * sum(map(len, tokens))


# Whatever a file says

BYTES, INTEGERS, FLOATS = (getattr(GGUFValueType, name) for name in ("UINT8", "INT32", "FLOAT32"))
NUMBER, TEXT = st.integers(-(2**31), 2**31 - 1), st.text(max_size=5)
ELEMENTS = {  # of arrays, by the type of those that they are among
    str: TEXT | st.sampled_from(["<0x-1>", "<0x0A>", " 5 ", "</s>", "▁", "\n", "a b"]),
    int: NUMBER | st.integers(0, 6),
    float: st.floats(width=32),
}
VALUES = st.one_of(NUMBER, st.floats(width=32), st.booleans(), TEXT, st.lists(TEXT, max_size=5))
TYPED = st.one_of(
    st.builds(lambda values: Typed(GGUFValueType.ARRAY, values, INTEGERS), st.lists(NUMBER, max_size=5)),
    st.builds(lambda values: Typed(GGUFValueType.ARRAY, values, FLOATS), st.lists(st.floats(width=32), max_size=5)),
    st.builds(lambda values: Typed(GGUFValueType.ARRAY, list(values), BYTES), st.binary(max_size=20)),
)
KEYS = sorted(set().union(*(tokenizer_metadata(small()) for small in SMALL)))
TEXTS = ["", "the in\n\n", "</s>[TOOL] é🙂", "\x00\ufeff\u2028", " " * 9, "1234567"]


class Edit(NamedTuple):
    """One thing that is wrong with a file."""

    key: str
    value: Any  # None: missing; a kind's maker: what such a file has there
    at: int | None = None  # the element that `value` stands at, of an array


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    key, at = draw(st.sampled_from(KEYS)), draw(st.none() | st.integers(0, 300))
    elements = st.sampled_from(list(ELEMENTS.values())).flatmap(lambda values: values)
    return Edit(key, draw(elements if at is not None else VALUES | TYPED | st.none() | st.sampled_from(SMALL)), at)


def edited(metadata: dict[str, object], edit: Edit) -> dict[str, object]:
    old, value = metadata.get(edit.key), edit.value
    if edit.at is not None:
        elements = list(old.value if isinstance(old, Typed) else old) if isinstance(old, list | Typed) else []
        if not elements or type(elements[0]) is not type(value) or getattr(old, "element", None) == BYTES:
            return metadata  # only what can be written in the place of the other
        elements[edit.at % len(elements)] = value
        value = dataclasses.replace(old, value=elements) if isinstance(old, Typed) else elements
    elif value in SMALL:
        value = tokenizer_metadata(value()).get(edit.key)
    return {key: found for key, found in {**metadata, edit.key: value}.items() if found is not None}


def use(small: Tokenizer) -> None:
    for text in TEXTS:
        for parse_special in (False, True):
            ids = small.encode(text, parse_special=parse_special)
            assert all(0 <= id < small.vocab_size for id in ids)
            stream = small.stream()
            assert "".join(map(stream.push, ids)) + stream.flush() == small.decode(ids)
    for id in range(small.vocab_size):
        small.token_bytes(id)


def meet(kind: Any, wrong: list[Edit]) -> None:
    metadata, started, message = tokenizer_metadata(kind()), time.monotonic(), ""
    for edit in wrong:
        metadata = edited(metadata, edit)
    try:
        small = make_tokenizer(checkpoint(metadata), native.make_codec)
        if small is not None:
            use(small)
    except ShaderLMError as error:
        message = str(error)
    assert not message or message.endswith((".", ".)"))
    assert time.monotonic() - started < 5  # some milliseconds


QUIET = pytest.mark.filterwarnings("ignore:The file names no pre-tokenizer")
ANY_TIME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WRONG = st.lists(edits(), min_size=1, max_size=4)


@QUIET
@settings(ANY_TIME, max_examples=500)
@given(st.sampled_from(SMALL), WRONG)
def test_whatever_a_file_says_ends_in_an_error_or_in_a_tokenizer_that_works(kind: Any, wrong: list[Edit]) -> None:
    meet(kind, wrong)


@pytest.mark.slow
@QUIET
@settings(ANY_TIME, max_examples=10_000)
@given(st.sampled_from(SMALL), WRONG)
def test_whatever_else_a_file_says_does_so_too(kind: Any, wrong: list[Edit]) -> None:
    meet(kind, wrong)
