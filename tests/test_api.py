"""The public face: loading, what a model says of itself, and prompts of every form."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shaderlm
from gguf_writer import write_llama
from random_llama import random_llama
from reference import Reference
from shaderlm import Model
from shaderlm.api import load_tokenizer
from shaderlm.errors import (
    InvalidConfig,
    InvalidOption,
    NoAdapter,
    PromptTooLong,
    TemplateError,
    TokenizerError,
)
from shaderlm.hosts.native import host as native
from shaderlm.tokenizer import Tokenizer
from shaderlm.tokenizer_json import tokenizer_json
from tiny_model import TINY, goldens
from vocabularies import data_of
from watching import NOTHING, engine_threads, held, more_than, wgpu_objects

STORY = goldens()["story"]


@pytest.fixture(scope="module")
def wordless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A model without a tokenizer."""
    hyperparameters, weights = random_llama(0)
    path = write_llama(tmp_path_factory.mktemp("wordless") / "wordless.gguf", weights, hyperparameters)
    with shaderlm.load(path, context=64, kv_dtype="f32") as model:
        yield model


# Loading


def test_a_model_says_what_it_is(tiny: Model) -> None:
    assert tiny.name == "tiny.gguf"
    assert tiny.context == tiny.trained_context == 512
    assert tiny.adapter.name
    assert tiny.memory.weights > 600_000
    assert tiny.memory.context == 512
    assert tiny.tokenizer.decode(tiny.tokenizer.encode("An owl.")) == "An owl."


def test_loading_tells_how_many_bytes_are_on_the_gpu() -> None:
    told: list[tuple[int, int]] = []
    with shaderlm.load(str(TINY), context=64, progress=lambda done, total: told.append((done, total))) as model:
        assert model.context == 64
        assert model.trained_context == 512
    totals = {total for _, total in told}
    assert len(totals) == 1
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1] > 600_000


def test_a_folder_with_one_model_is_that_model(tmp_path: Path) -> None:
    (tmp_path / "one.gguf").symlink_to(TINY)
    with shaderlm.load(tmp_path, context=64) as model:
        assert STORY.text.startswith(model.complete(STORY.prompt, max_tokens=5, temperature=0).text)


def test_an_adapter_is_named_by_index_or_part_of_its_name(tiny: Model) -> None:
    part = tiny.adapter.name.split()[0].upper()
    with shaderlm.load(TINY, context=64, adapter=part) as model:
        assert model.adapter.name == tiny.adapter.name
    with shaderlm.load(TINY, context=64, adapter=0) as model:
        assert model.adapter.name
    with pytest.raises(NoAdapter, match="'no such adapter'"):
        shaderlm.load(TINY, adapter="no such adapter")


def test_the_tokenizer_alone_needs_no_gpu(tiny: Model) -> None:
    tokenizer = load_tokenizer(TINY)
    assert tokenizer.encode(STORY.prompt) == STORY.prompt_ids == tiny.tokenizer.encode(STORY.prompt)


def test_progress_that_raises_ends_the_load() -> None:
    def refuse(done: int, total: int) -> None:
        raise ZeroDivisionError(f"at {done} of {total}")

    with pytest.raises(ZeroDivisionError, match=r"at [\d]+ of"):
        shaderlm.load(TINY, progress=refuse)


@pytest.mark.parametrize("share", [0.1, 1.0], ids=["in-the-middle", "at-the-end"])
def test_a_load_that_is_cancelled_leaves_nothing(share: float) -> None:
    async def cancel_in_mid_load() -> None:
        loop, cancelled = asyncio.get_running_loop(), threading.Event()

        def cancel() -> None:
            loading.cancel()
            loop.call_soon(loop.call_soon, cancelled.set)  # when the task has been told

        def progress(done: int, total: int) -> None:
            if done >= share * total and not cancelled.is_set():
                loop.call_soon_threadsafe(cancel)
                cancelled.wait()

        loading = asyncio.create_task(shaderlm.load_async(TINY, progress=progress))
        with pytest.raises(asyncio.CancelledError):
            await loading

    threads, objects = engine_threads(), wgpu_objects()
    asyncio.run(cancel_in_mid_load())
    assert engine_threads() <= threads
    assert not more_than(objects)


# Prompts


def test_a_prompt_may_be_text_or_ids_of_any_kind(tiny: Model) -> None:
    expected = tiny.complete(STORY.prompt, max_tokens=8, temperature=0).tokens
    for ids in (STORY.prompt_ids, tuple(STORY.prompt_ids), np.array(STORY.prompt_ids)):
        assert tiny.complete(ids, max_tokens=8, temperature=0).tokens == expected


@pytest.mark.parametrize("prompt", ["", [], ()], ids=repr)
def test_an_empty_prompt_is_refused(tiny: Model, prompt: Any) -> None:
    for call in (tiny.complete, tiny.stream, tiny.logits):
        with pytest.raises(InvalidOption, match="The prompt is empty: it needs at least one token"):
            call(prompt)


@pytest.mark.parametrize(("token", "text"), [(-1, "-1"), (512, "512"), (1 << 40, "1099511627776")])
def test_a_token_that_the_model_has_not_is_refused(tiny: Model, token: int, text: str) -> None:
    with pytest.raises(InvalidOption, match=f"The prompt holds token {text}; this model has 0 to 511"):
        tiny.complete([1, token])


@pytest.mark.parametrize("prompt", [5, None, [1.5], ["a"], [None], {"a": 1}, b"text", [[1]]], ids=repr)
def test_what_is_no_prompt_is_refused(tiny: Model, prompt: Any) -> None:
    with pytest.raises(InvalidOption, match="The prompt must be a text or token ids, not "):
        tiny.complete(prompt)


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(tiny: Model) -> None:
    for call in (tiny.complete, tiny.stream, tiny.logits):
        with pytest.raises(PromptTooLong, match=r"The prompt has 513 tokens, but the context holds 512\. Shorten it"):
            call([5] * 513)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens: must be a whole number from 1 on, or None, not 0."),
        ({"max_tokens": 2.5}, "max_tokens: .* not 2.5"),
        ({"max_tokens": "5"}, "max_tokens: .* not '5'"),
        ({"max_tokens": True}, "max_tokens: .* not True"),
        ({"temperature": -1}, "temperature: must be a number from 0 to 1,000"),
        ({"top_k": 1.5}, "top_k: must be a whole number"),
        ({"logprobs": 21}, "logprobs: must be a whole number from 0 to 20"),
        ({"stop": ""}, None),
        ({"stop": [""]}, "a stop string is empty"),
        ({"stop": 5}, "stop: must be a string or a list of strings, not 5"),
        ({"stop": [5]}, "stop: every stop string must be a str, not int"),
        ({"logit_bias": {512: 1}}, "logit_bias names token 512; this model has 0 to 511"),
        ({"logit_bias": [1]}, "logit_bias: must be a mapping"),
        ({"on_context_full": "wrap"}, 'on_context_full: must be "error" or "shift", not \'wrap\''),
        ({"tempperature": 1}, r"There is no option tempperature; did you mean temperature\?"),
        ({"xyz": 1}, r"There is no option xyz\."),
    ],
    ids=str,
)
def test_an_option_out_of_its_range_is_refused(tiny: Model, options: Any, message: str | None) -> None:
    if message is None:  # an empty stop is none
        assert tiny.complete(STORY.prompt, max_tokens=2, **options).finish_reason == "length"
        return
    with pytest.raises(InvalidOption, match=message):
        tiny.complete(STORY.prompt, **options)
    assert held(tiny) == NOTHING


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 1}, "context: must be a whole number from 2 on, or None, not 1"),
        ({"context": 10.5}, "context: .* not 10.5"),
        ({"kv_dtype": "f64"}, 'kv_dtype: must be "f16" or "f32", not \'f64\''),
        ({"arithmetic": "quick"}, 'arithmetic: must be "exact" or "fast", not \'quick\''),
    ],
    ids=str,
)
def test_a_wrong_option_of_load_is_refused(options: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        shaderlm.load(TINY, **options)


# A model without words


def test_a_model_without_a_tokenizer_takes_and_gives_ids(wordless: Model) -> None:
    hyperparameters, weights = random_llama(0)
    expected = Reference.of(hyperparameters, weights).greedy([1, 2, 3], 10)
    completion = wordless.complete([1, 2, 3], max_tokens=10, temperature=0)
    assert list(completion.tokens) == expected
    assert completion.text == ""
    chunks = list(wordless.stream([1, 2, 3], max_tokens=10, temperature=0))
    assert sum((chunk.tokens for chunk in chunks), ()) == completion.tokens
    assert wordless.logits([1, 2, 3]).shape == (3, 160)


def test_a_model_without_a_tokenizer_refuses_text(wordless: Model) -> None:
    message = r"wordless\.gguf has no tokenizer: give its prompts as token ids"
    with pytest.raises(TokenizerError, match=message):
        wordless.complete("text")
    with pytest.raises(TokenizerError, match=message):
        wordless.chat([{"role": "user", "content": "text"}])
    with pytest.raises(TokenizerError, match=message):
        _ = wordless.tokenizer


def test_a_file_without_a_tokenizer_has_none_to_load(tmp_path: Path) -> None:
    hyperparameters, weights = random_llama(0)
    path = write_llama(tmp_path / "wordless.gguf", weights, hyperparameters)
    with pytest.raises(TokenizerError, match=r"wordless\.gguf has no tokenizer"):
        load_tokenizer(path)


def test_more_tokens_than_rows_of_embedding_are_refused(tmp_path: Path) -> None:
    hyperparameters, weights = random_llama(0)
    path = write_llama(tmp_path / "narrow.gguf", weights, hyperparameters, tokenizer=data_of(TINY))
    with pytest.raises(InvalidConfig, match=r"narrow\.gguf has 512 tokens, but 160 rows of embedding"):
        shaderlm.load(path, context=64)


def test_any_number_of_tokens_may_end_an_answer(tmp_path: Path) -> None:
    """More than the GPU is told of: the host takes notice of the rest."""
    hyperparameters, weights = random_llama(0, vocab_size=512)
    greedy = Reference.of(hyperparameters, weights).greedy([5], 8)
    ends = tuple(token for token in range(100, 140) if token not in greedy)[:20]
    tokenizer = replace(data_of(TINY), eos_ids=(*ends, greedy[6]))
    path = write_llama(tmp_path / "ends.gguf", weights, hyperparameters)
    with shaderlm.load(path, context=64, kv_dtype="f32") as model:
        model._core.tokenizer = Tokenizer(tokenizer, native.make_codec(lambda: tokenizer_json(tokenizer)))
        completion = model.complete([5], temperature=0, max_tokens=20)
    assert completion.finish_reason == "stop"
    assert list(completion.tokens) == greedy[: greedy.index(greedy[6])]


def test_a_chat_needs_messages(tiny: Model) -> None:
    with pytest.raises(InvalidOption, match="messages: the list is empty"):
        tiny.chat([])
    with pytest.raises(InvalidOption, match=r'messages\[0\]: has no "content"'):
        tiny.stream_chat([{"role": "user"}])


# Logits


def test_logits_are_an_array_of_floats(tiny: Model) -> None:
    logits = tiny.logits(STORY.prompt)
    assert (logits.dtype, logits.shape) == (np.float32, (len(STORY.prompt_ids), 512))
    assert (tiny.logits(STORY.prompt_ids) == logits).all()
    assert held(tiny) == NOTHING


def test_a_file_without_a_template_has_no_chat(tmp_path: Path) -> None:
    hyperparameters, weights = random_llama(0, vocab_size=512)
    tokenizer = replace(data_of(TINY), chat_template=None)
    path = write_llama(tmp_path / "plain.gguf", weights, hyperparameters, tokenizer=tokenizer)
    with shaderlm.load(path, context=64) as model:
        with pytest.raises(
            TemplateError, match=r"has no chat template. Write the prompt yourself and use complete\(\)"
        ):
            model.chat([{"role": "user", "content": "Hello"}])
        assert model.complete("Hello", max_tokens=3).finish_reason == "length"
