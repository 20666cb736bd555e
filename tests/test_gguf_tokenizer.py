"""Tokenizers as GGUF files describe them: what is read, what silence means, which contradictions are refused."""

import pytest
from gguf import GGUFValueType

from byte_sources import checkpoint
from gguf_writer import Typed, tokenizer_metadata
from shaderlm.errors import TokenizerError
from shaderlm.formats.checkpoint import TokenizerData
from shaderlm.formats.gguf_arrays import MetadataArray

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
        add_bos=False,
        add_eos=True,
        add_space_prefix=False,
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
    assert (found.unknown_id, found.bos_id, found.eos_ids) == (0, 1, (2,))


def test_llama_3_begins_with_bos_where_its_file_is_silent() -> None:
    assert tokenizer({"tokenizer.ggml.pre": "llama-bpe"}).add_bos
    assert not tokenizer({"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.add_bos_token": False}).add_bos


def test_a_turn_ends_with_what_the_file_names_and_with_known_markers() -> None:
    ids = {"tokenizer.ggml.eos_token_id": 3, "tokenizer.ggml.eot_token_id": 0, "tokenizer.ggml.eom_token_id": 1}
    assert tokenizer({}).eos_ids == (2,)  # the marker; <|endoftext|> is not named, and <|end|> is plain text here
    assert tokenizer({"tokenizer.ggml.eos_token_id": 2}).eos_ids == (2,)
    assert tokenizer(ids).eos_ids == (3, 0, 1, 2)


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
    ],
)
def test_a_tokenizer_that_contradicts_itself_is_refused(metadata: dict[str, object], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer({f"tokenizer.ggml.{key}": value for key, value in metadata.items()})
