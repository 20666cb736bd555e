"""Answers that are not wanted any more, and models: cancelling, closing, and what is left in order behind them."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import shaderlm
from shaderlm import Completion, Model
from shaderlm.errors import InvalidOption, ModelClosed, ShaderLMError
from tiny_model import NO_END, TINY, goldens
from watching import NOTHING, held, rows_computed

STORY = goldens()["story"]
ENDLESS: dict[str, Any] = {"logit_bias": NO_END, "temperature": 0}


@pytest.fixture
def own() -> Iterator[Model]:
    """A model that a test may close."""
    with shaderlm.load(TINY, context=256, kv_dtype="f32") as model:
        yield model


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
    before = rows_computed(tiny)
    for _ in tiny.stream(STORY.prompt, on_context_full="shift", **ENDLESS):  # would never end
        break
    assert rows_computed(tiny) < before + 400
    assert held(tiny) == NOTHING


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


def test_cancel_ends_answers_that_wait_for_their_turn_too() -> None:
    async def cancelled() -> list[Completion]:
        async with await shaderlm.load_async(TINY, context=256) as model:
            chunks = model.stream(STORY.prompt, on_context_full="shift", **ENDLESS)  # would never end
            await anext(chunks)
            waiting = [asyncio.create_task(model.complete(STORY.prompt, **ENDLESS)) for _ in range(3)]
            await asyncio.sleep(0)  # each task has asked now
            model.cancel()
            rest = [chunk async for chunk in chunks]
            assert rest[-1].completion is not None
            return [rest[-1].completion, *await asyncio.gather(*waiting)]

    first, *others = asyncio.run(cancelled())
    assert {answer.finish_reason for answer in (first, *others)} == {"cancelled"}
    assert first.tokens
    assert [answer.tokens for answer in others] == [()] * 3


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
    engine_thread, core = weakref.ref(model._runner._thread), weakref.ref(model._core)
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
