"""The public face: loading, what a model says of itself, prompts of every form, cancelling and closing."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wgpu

import shaderlm
from gguf_writer import write_llama
from random_llama import random_llama
from reference import Reference
from shaderlm import Completion, Model
from shaderlm.api import load_tokenizer
from shaderlm.errors import (
    InvalidOption,
    ModelClosed,
    NoAdapter,
    PromptTooLong,
    ShaderLMError,
    TemplateError,
    TokenizerError,
)
from tiny_model import END_OF_TEXT, END_OF_TURN, TINY, goldens
from vocabularies import data_of

STORY = goldens()["story"]
ENDLESS: dict[str, Any] = {"logit_bias": {END_OF_TEXT: -1000.0, END_OF_TURN: -1000.0}, "temperature": 0}


@pytest.fixture
def own() -> Iterator[Model]:
    """A model that a test may close."""
    with shaderlm.load(TINY, context=256, kv_dtype="f32") as model:
        yield model


@pytest.fixture(scope="module")
def wordless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A model without a tokenizer."""
    hyperparameters, weights = random_llama(0)
    path = write_llama(tmp_path_factory.mktemp("wordless") / "wordless.gguf", weights, hyperparameters)
    with shaderlm.load(path, context=64, kv_dtype="f32") as model:
        yield model


def held(model: Model) -> dict[str, Any]:
    """What the engine holds between answers: slots and pages in use, besides those of known prefixes."""

    async def read(core: Any) -> dict[str, Any]:
        engine = core.engine
        engine.prefixes.clear()
        used = [pool.capacity - len(pool.free) for pool in engine.cache.pools]
        return {"slots": engine.deployment.slots - len(engine.free_slots), "pages": used}

    return model.run_on_engine(read)


NOTHING = {"slots": 0, "pages": [0]}


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


def test_a_load_that_is_cancelled_leaves_nothing() -> None:
    async def cancel_in_mid_load() -> None:
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        def progress(done: int, total: int) -> None:
            loop.call_soon_threadsafe(begun.set)

        loading = asyncio.create_task(shaderlm.load_async(TINY, progress=progress))
        await begun.wait()
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading

    threads, objects = engine_threads(), gpu_objects()
    asyncio.run(cancel_in_mid_load())
    assert engine_threads() <= threads
    more = {name: count for name, count in gpu_objects().items() if count > objects[name]}
    assert not more, f"{more} are alive that were not"


def engine_threads() -> int:
    return sum(thread.name == "shaderlm engine" for thread in threading.enumerate())


def gpu_objects() -> dict[str, int]:
    """What wgpu-py itself has alive, in all of this process."""
    gc.collect()
    counts = wgpu.diagnostics.object_counts.get_dict()
    return {name: entry["count"] for name, entry in counts.items()}


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


# Cancelling


def test_closing_the_iterator_ends_the_answer(tiny: Model) -> None:
    chunks = tiny.stream(STORY.prompt, **ENDLESS)
    first = next(chunks)
    chunks.close()
    assert STORY.text.startswith(first.text)
    assert held(tiny) == NOTHING


def ten_tokens(model: Model) -> str:
    return model.complete(STORY.prompt, max_tokens=10, temperature=0, reuse_prefix=False).text


def test_leaving_the_loop_ends_the_answer(tiny: Model) -> None:
    before = rows(tiny)
    for _ in tiny.stream(STORY.prompt, on_context_full="shift", **ENDLESS):  # would never end
        break
    assert rows(tiny) < before + 400
    assert held(tiny) == NOTHING


def rows(model: Model) -> int:
    async def read(core: Any) -> int:
        return int(core.engine.rows_computed)

    return model.run_on_engine(read)


def test_cancel_ends_an_answer_with_what_it_has(tiny: Model) -> None:
    chunks = tiny.stream(STORY.prompt, **ENDLESS)
    texts = [next(chunks).text]
    tiny.cancel()
    rest = list(chunks)
    completion = rest[-1].completion
    assert completion is not None
    assert completion.finish_reason == "cancelled"
    assert completion.text == "".join(texts + [chunk.text for chunk in rest])
    assert completion.usage.completion_tokens < 500
    assert held(tiny) == NOTHING


def test_another_thread_may_cancel(tiny: Model) -> None:
    begun = threading.Event()
    canceller = threading.Thread(target=lambda: begun.wait() and tiny.cancel())
    canceller.start()

    def progress(done: int, total: int) -> None:
        begun.set()

    completion = tiny.complete(STORY.prompt, progress=progress, **ENDLESS, on_context_full="shift")  # would never end
    canceller.join()
    assert completion.finish_reason == "cancelled"


def test_a_prompt_may_be_cancelled_before_its_first_token(tiny: Model) -> None:
    prompt = np.random.default_rng(5).integers(3, 512, 400).tolist()
    told: list[int] = []

    def progress(done: int, total: int) -> None:
        assert total == 400
        told.append(done)
        tiny.cancel()

    completion = tiny.complete(prompt, progress=progress)
    assert (completion.finish_reason, completion.text, completion.tokens) == ("cancelled", "", ())
    assert len(told) == 1, "it went on after it was told to stop"
    assert held(tiny) == NOTHING


def test_progress_of_a_prompt_is_told(tiny: Model) -> None:
    told: list[tuple[int, int]] = []
    tiny.complete([5] * 200, max_tokens=1, reuse_prefix=False, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (200, 200)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) >= 4


def test_progress_that_raises_ends_the_answer_and_leaves_the_model_well(tiny: Model) -> None:
    def refuse(done: int, total: int) -> None:
        raise ZeroDivisionError("no")

    expected = ten_tokens(tiny)
    with pytest.raises(ZeroDivisionError):
        tiny.complete(STORY.prompt, progress=refuse)
    assert held(tiny) == NOTHING
    assert ten_tokens(tiny) == expected


def test_the_next_answer_after_a_cancel_is_right(tiny: Model) -> None:
    expected = ten_tokens(tiny)
    for n in range(6):
        chunks = tiny.stream(STORY.prompt, **ENDLESS)
        for _ in range(n):
            next(chunks)
        chunks.close()
        assert tiny.complete(STORY.prompt, max_tokens=10, temperature=0).text == expected


def test_cancel_with_nothing_under_way_changes_nothing(tiny: Model) -> None:
    tiny.cancel()
    assert tiny.complete(STORY.prompt, max_tokens=2).finish_reason == "length"


# Closing


def test_a_closed_model_says_so(own: Model) -> None:
    own.close()
    own.close()
    for call in (
        lambda: own.complete(STORY.prompt),
        lambda: own.chat([{"role": "user", "content": "Hello"}]),
        lambda: list(own.stream(STORY.prompt)),
        lambda: list(own.stream_chat([{"role": "user", "content": "Hello"}])),
        lambda: own.logits(STORY.prompt),
    ):
        with pytest.raises(ModelClosed, match=r"This model is closed\. Load it again"):
            call()
    own.cancel()
    assert own.name == "tiny.gguf"


def test_a_with_block_closes_its_model_also_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        with shaderlm.load(TINY, context=64) as model:
            raise ZeroDivisionError
    with pytest.raises(ModelClosed):
        model.complete("a")


def test_close_ends_the_answer_that_is_streaming(own: Model) -> None:
    chunks = own.stream(STORY.prompt, on_context_full="shift", **ENDLESS)
    texts = [next(chunks).text]
    own.close()
    rest = list(chunks)
    assert rest[-1].completion is not None
    assert rest[-1].completion.finish_reason == "cancelled"
    assert STORY.text.startswith("".join(texts)[:10])


def test_a_stream_may_be_closed_after_its_model(own: Model) -> None:
    chunks = own.stream(STORY.prompt, **ENDLESS)
    next(chunks)
    own.close()
    chunks.close()


def test_a_model_that_nobody_holds_any_more_ends_its_thread() -> None:
    model = shaderlm.load(TINY, context=64)
    model.complete("a", max_tokens=2)
    engine_thread, core = weakref.ref(model._thread._thread), weakref.ref(model._core)
    thread = engine_thread()
    assert thread is not None
    del model
    gc.collect()
    thread.join(timeout=20)
    assert not thread.is_alive()
    gc.collect()
    assert core() is None


def test_a_callback_that_calls_its_model_is_told_why_it_may_not(tiny: Model) -> None:
    caught: list[ShaderLMError] = []

    def progress(done: int, total: int) -> None:
        for call in (lambda: tiny.complete("a"), lambda: tiny.logits("a"), lambda: next(tiny.stream("a"))):
            try:
                call()
            except ShaderLMError as error:
                caught.append(error)

    assert isinstance(tiny.complete(STORY.prompt, max_tokens=1, progress=progress), Completion)
    assert len(caught) >= 3
    for error in caught:
        assert isinstance(error, InvalidOption)
        assert "the callback runs on the model's own thread" in str(error)


def test_a_callback_may_close_its_model(own: Model) -> None:
    completion = own.complete([5] * 200, progress=lambda done, total: own.close(), **ENDLESS)
    assert completion.finish_reason == "cancelled"
    with pytest.raises(ModelClosed):
        own.complete("a")


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
