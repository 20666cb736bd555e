"""Tokenizers as GGUF files describe them: what is read, what silence means, which contradictions are refused."""

import pytest
from gguf import GGUFValueType

from byte_sources import BytesSource, checkpoint, wait
from gguf_writer import Typed, gguf_bytes, tokenizer_metadata
from shaderlm.errors import InvalidFile, TokenizerError
from shaderlm.formats.checkpoint import TokenizerData
from shaderlm.formats.gguf import read_header
from shaderlm.formats.gguf_arrays import MetadataArray
from shaderlm.formats.gguf_tokenizer import tokenizer_data

TOKENIZER: dict[str, object] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "<|im_end|>", "<|endoftext|>", "<|end|>"],
    "tokenizer.ggml.token_type": Typed(GGUFValueType.ARRAY, [1, 1, 3, 3, 1], GGUFValueType.INT32),
}


def tokenizer(metadata: dict[str, object]) -> TokenizerData:
    found = checkpoint({**TOKENIZER, **metadata}).tokenizer
    assert found is not None
    return found


def contents(data: TokenizerData) -> dict[str, object]:
    return {name: list(value) if isinstance(value, MetadataArray) else value for name, value in vars(data).items()}


def test_a_tokenizer_reads_back() -> None:
    written = TokenizerData(
        model="llama",
        pre="default",
        tokens=["<unk>", "<s>", "</s>", "▁a", "<stop>"],
        scores=[0.0, 0.0, 0.0, -1.5, 2.0],
        token_types=[2, 3, 3, 1, 4],
        merges=["▁ a"],
        bos_id=1,
        eos_ids=(2, 4, 3),
        unknown_id=0,
        sep_id=1,
        add_bos=False,
        add_eos=True,
        add_space_prefix=False,
        remove_extra_whitespaces=True,
        charsmap=b"\x04\0\0\0\0\0\0\0a\0",
        lower_case=True,
        chat_template="{{ messages }}",
    )
    assert contents(tokenizer(tokenizer_metadata(written))) == contents(written)


def test_a_file_without_a_tokenizer_has_none() -> None:
    assert checkpoint({}).tokenizer is None
    assert checkpoint({"tokenizer.ggml.model": "no_vocab"}).tokenizer is None


def test_what_a_byte_bpe_file_does_not_say() -> None:
    found = tokenizer({})
    assert (found.add_bos, found.add_eos, found.add_space_prefix) == (False, False, False)
    assert (found.bos_id, found.unknown_id, found.pre, found.chat_template) == (None, None, "", None)


def test_what_a_sentencepiece_file_does_not_say() -> None:
    found = tokenizer({"tokenizer.ggml.model": "llama"})
    assert (found.add_bos, found.add_eos, found.add_space_prefix) == (True, False, True)
    assert (found.unknown_id, found.bos_id, found.eos_ids) == (0, 1, (2, 3))


def test_what_a_unigram_file_does_not_say() -> None:
    found = tokenizer({"tokenizer.ggml.model": "t5"})
    assert (found.add_bos, found.add_eos, found.add_space_prefix) == (False, True, False)
    assert (found.unknown_id, found.bos_id, found.eos_ids) == (2, None, (1, 2, 3))
    assert (found.remove_extra_whitespaces, found.charsmap) == (False, b"")


def test_what_a_file_of_berts_does_not_say() -> None:
    tokens = {"tokenizer.ggml.tokens": [f"▁{i}" for i in range(110)], "tokenizer.ggml.token_type": []}
    found = tokenizer({"tokenizer.ggml.model": "bert", **tokens})
    assert (found.bos_id, found.sep_id, found.unknown_id, found.eos_ids) == (101, 102, 100, ())
    assert (found.add_bos, found.add_sep, found.lower_case, found.strip_accents) == (True, True, True, True)


def test_what_begins_berts_texts_goes_by_two_names() -> None:
    bert = {"tokenizer.ggml.model": "bert", "tokenizer.ggml.cls_token_id": 3}
    assert tokenizer(bert).bos_id == 3
    assert tokenizer({**bert, "tokenizer.ggml.bos_token_id": 1}).bos_id == 1


def test_accents_go_with_capitals_unless_the_file_says_otherwise() -> None:
    cased = {"tokenizer.ggml.model": "bert", "tokenizer.ggml.normalizer.lowercase": False}
    assert not tokenizer(cased).strip_accents
    assert tokenizer({**cased, "tokenizer.ggml.normalizer.strip_accents": True}).strip_accents


def test_an_id_that_is_only_a_default_may_lie_outside_the_vocabulary() -> None:
    few: dict[str, object] = {"tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.token_type": []}
    for model in ("llama", "t5", "bert"):
        found = tokenizer({**few, "tokenizer.ggml.model": model})
        assert (found.bos_id, found.eos_ids, found.sep_id) == (None, (), None)


def test_gemma_4_has_a_pre_tokenizer_of_its_own_and_begins_with_bos() -> None:
    found = tokenizer({"tokenizer.ggml.model": "gemma4", "tokenizer.ggml.add_bos_token": False})
    assert (found.pre, found.add_bos, found.add_space_prefix) == ("gemma4", True, False)


def test_llama_3_begins_with_bos_where_its_file_is_silent() -> None:
    assert tokenizer({"tokenizer.ggml.pre": "llama-bpe"}).add_bos
    assert not tokenizer({"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.add_bos_token": False}).add_bos


def test_a_turn_ends_with_what_the_file_names_and_with_known_markers() -> None:
    ids = {"tokenizer.ggml.eos_token_id": 3, "tokenizer.ggml.eot_token_id": 0, "tokenizer.ggml.eom_token_id": 1}
    assert tokenizer({}).eos_ids == (2, 3)  # the markers; <|end|> is plain text here
    assert tokenizer({"tokenizer.ggml.eos_token_id": 3}).eos_ids == (3, 2)
    assert tokenizer(ids).eos_ids == (3, 0, 1, 2)


def test_what_ends_a_text_ends_a_turn_only_as_a_control_token() -> None:
    texts = ["<|endoftext|>", "</s>", "<eos>", "<|im_end|>"]
    for kind, ends in ((3, (0, 1, 2, 3)), (4, (3,)), (1, ())):
        types = Typed(GGUFValueType.ARRAY, [kind] * 4, GGUFValueType.INT32)
        assert tokenizer({"tokenizer.ggml.tokens": texts, "tokenizer.ggml.token_type": types}).eos_ids == ends
    nothing_told = {"tokenizer.ggml.tokens": texts, "tokenizer.ggml.token_type": []}
    assert tokenizer(nothing_told).eos_ids == (3,)


def test_a_token_that_ends_a_message_does_not_end_a_turn_of_several() -> None:
    texts = ["<|end|>", "<|return|>", "<|call|>"]
    types = Typed(GGUFValueType.ARRAY, [3, 3, 3], GGUFValueType.INT32)
    harmony = {"tokenizer.ggml.tokens": texts, "tokenizer.ggml.token_type": types}
    assert tokenizer(harmony).eos_ids == (1, 2)
    assert tokenizer({**harmony, "tokenizer.ggml.tokens": [*texts[:2], "<|other|>"]}).eos_ids == (0, 1)
    assert tokenizer({**harmony, "tokenizer.ggml.eos_token_id": 0}).eos_ids == (0, 1, 2)


@pytest.mark.parametrize(
    ("metadata", "left", "right"),
    [
        ({}, set(), set()),
        ({"general.name": "Phi-3 mini"}, set(), {2, 4}),
        ({"general.name": "my-phi3-tune"}, set(), {2, 4}),
        ({"tokenizer.ggml.pre": "jina-v2-code"}, {4}, set()),
        ({"general.architecture": "jina-bert-v3"}, {4}, set()),
        ({"general.name": "modern-bert-base"}, {5}, set()),
    ],
)
def test_tokens_that_strip_white_space_are_known_by_the_models_name(
    metadata: dict[str, object], left: set[int], right: set[int]
) -> None:
    tokens = ["a", "<s>", "<|user|>", "<|endoftext|>", "<mask>", "[MASK]"]
    types = Typed(GGUFValueType.ARRAY, [1, 3, 3, 3, 4, 1 if right else 3], GGUFValueType.INT32)
    known = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}
    source = BytesSource(gguf_bytes({"general.architecture": "llama", **known, **metadata}))
    found = tokenizer_data(wait(read_header(source)).metadata, source.name)
    assert found is not None
    assert (found.left_stripping, found.right_stripping) == (left, right)


def test_without_token_types_a_marker_is_known_by_its_text() -> None:
    assert tokenizer({"tokenizer.ggml.token_type": []}).eos_ids == (2, 4)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"bos_token_id": 5}, r"tokenizer\.ggml\.bos_token_id is 5, but must be the id of one of 5 tokens"),
        ({"eos_token_id": -1}, r"eos_token_id is -1, but must be the id"),
        ({"eot_token_id": True}, r"eot_token_id is True, but must be the id"),
        ({"unknown_token_id": "0"}, r"unknown_token_id is '0', but must be the id"),
        ({"model": 3}, r"tokenizer\.ggml\.model is 3, but must be of type str"),
        ({"add_bos_token": 1}, r"add_bos_token is 1, but must be of type bool"),
        ({"tokens": [1, 2]}, r"tokens is <2 x UINT32: .*>, but must be an array of strings"),
        ({"tokens": "ab"}, r"tokens is 'ab', but must be an array of strings"),
        ({"tokens": []}, r"names a tokenizer \(gpt2\), but has no tokens"),
        ({"merges": [1.5]}, r"merges is <1 x FLOAT32: .*>, but must be an array of strings"),
        ({"scores": [1.5]}, r"scores has 1 entries, but there are 5 tokens"),
        ({"scores": [1, 2, 3, 4, 5]}, r"scores is <5 x UINT32: .*>, but must be an array of floats"),
        ({"token_type": [1, 1]}, r"token_type has 2 entries, but there are 5 tokens"),
        ({"model": "bert", "cls_token_id": 9}, r"ggml\.cls_token_id is 9, but must be the id of one of 5 tokens"),
        ({"seperator_token_id": 5}, r"seperator_token_id is 5, but must be the id"),
        ({"precompiled_charsmap": [1, 2]}, r"charsmap is <2 x UINT32: .*>, but must be an array of bytes"),
        ({"precompiled_charsmap": "ab"}, r"charsmap is 'ab', but must be an array of bytes"),
        ({"pre": "x" * 9, "add_bos_token": "y" * 999}, "is 'y{79}, but must be of type bool"),
    ],
)
def test_a_tokenizer_that_contradicts_itself_is_refused(metadata: dict[str, object], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer({f"tokenizer.ggml.{key}": value for key, value in metadata.items()})


def test_tokens_that_are_no_text_are_refused() -> None:
    with pytest.raises(InvalidFile, match=r"String 1 of tokenizer\.ggml.tokens of model.gguf is not UTF-8"):
        tokenizer({"tokenizer.ggml.tokens": ["a", b"\xff", "c", "d", "e"], "tokenizer.ggml.token_type": []})
