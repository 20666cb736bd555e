"""The rows of an answer and the room they have: what is computed, what is reused, and a context that is full."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import shaderlm
from shaderlm import Completion, Model
from shaderlm.errors import ContextFull
from shaderlm.planner.choice import PAGE
from tiny_model import NO_END, TINY, goldens
from watching import rows_computed

STORY = goldens()["story"].prompt


@pytest.fixture(scope="module")
def short() -> Iterator[Model]:
    """The tiny model with a context of two pages."""
    with shaderlm.load(TINY, context=2 * PAGE, kv_dtype="f32") as model:
        yield model


# Rows


@pytest.mark.parametrize(("prompt", "n"), [([7], 1), ([7, 8], 1), ([7] * 40, 33), ([9] * 130, 70)], ids=str)
def test_an_answer_that_ends_by_length_computes_each_row_once(tiny: Model, prompt: Sequence[int], n: int) -> None:
    before = rows_computed(tiny)
    completion = tiny.complete(prompt, max_tokens=n, logit_bias=NO_END, reuse_prefix=False)
    assert completion.finish_reason == "length"
    assert rows_computed(tiny) - before == len(prompt) + n - 1


def test_what_is_reused_is_not_computed(tiny: Model) -> None:
    prompt = np.random.default_rng(1).integers(3, 512, 90).tolist()
    first = tiny.complete(prompt, max_tokens=10, temperature=0, logit_bias=NO_END)
    assert first.usage.reused_tokens < 5, "who else had this prompt?"
    again = [*prompt, *first.tokens, *prompt[:20]]
    before = rows_computed(tiny)
    second = tiny.complete(again, max_tokens=10, temperature=0, logit_bias=NO_END)
    assert second.usage.reused_tokens == len(prompt) + 9, "the last token that was drawn has no keys and values yet"
    assert rows_computed(tiny) - before == len(again) + 10 - 1 - second.usage.reused_tokens
    assert second.tokens == tiny.complete(
        again, max_tokens=10, temperature=0, logit_bias=NO_END, reuse_prefix=False
    ).tokens  # fmt: skip


def test_an_answer_reuses_nothing_and_keeps_nothing_if_told_so(tiny: Model) -> None:
    prompt = np.random.default_rng(2).integers(3, 512, 50).tolist()
    for _ in range(2):
        assert tiny.complete(prompt, max_tokens=2, reuse_prefix=False).usage.reused_tokens == 0
    assert tiny.complete(prompt, max_tokens=2).usage.reused_tokens < 3


def test_what_a_cancelled_prompt_computed_is_reused(tiny: Model) -> None:
    prompt = np.random.default_rng(3).integers(3, 512, 300).tolist()

    def stop_half_way(done: int, total: int) -> None:
        if done >= total // 2:
            tiny.cancel()

    assert tiny.complete(prompt, max_tokens=5, progress=stop_half_way).finish_reason == "cancelled"
    completion = tiny.complete(prompt, max_tokens=5, temperature=0)
    assert 64 <= completion.usage.reused_tokens < 300
    assert completion.tokens == tiny.complete(prompt, max_tokens=5, temperature=0, reuse_prefix=False).tokens


# A full context


def test_a_full_context_is_an_error_that_carries_the_answer(short: Model, tiny: Model) -> None:
    prompt = tiny.tokenizer.encode(STORY)
    room = 2 * PAGE - len(prompt) + 1
    with pytest.raises(ContextFull, match=f"context of 64 tokens is full; {room} of them") as full:
        short.complete(prompt, temperature=0, logit_bias=NO_END, logprobs=0)
    partial = full.value.partial
    assert isinstance(partial, Completion)
    expected = tiny.complete(prompt, max_tokens=room, temperature=0, logit_bias=NO_END)
    assert (partial.text, partial.tokens) == (expected.text, expected.tokens)
    assert partial.finish_reason == "length"
    assert len(partial.logprobs) == room


def test_chunks_before_a_full_context_are_all_of_its_answer(short: Model) -> None:
    texts: list[str] = []
    chunks = short.stream(STORY, temperature=0, logit_bias=NO_END, stop="never in it")
    with pytest.raises(ContextFull) as full:
        texts.extend(chunk.text for chunk in chunks)
    assert "".join(texts) == full.value.partial.text


def test_max_tokens_up_to_the_very_end_of_the_context_is_no_error(short: Model) -> None:
    prompt = short.tokenizer.encode(STORY)
    completion = short.complete(prompt, max_tokens=2 * PAGE - len(prompt) + 1, logit_bias=NO_END)
    assert completion.finish_reason == "length"


def test_a_full_prompt_gets_one_token(short: Model, tiny: Model) -> None:
    prompt = np.random.default_rng(4).integers(3, 512, 2 * PAGE).tolist()
    assert short.complete(prompt, max_tokens=1, temperature=0).tokens == tiny.complete(
        prompt, max_tokens=1, temperature=0
    ).tokens  # fmt: skip


def test_a_shifted_context_goes_on_from_its_younger_half(short: Model, tiny: Model) -> None:
    """Exactly: as if the kept tail had been the prompt."""
    prompt = tiny.tokenizer.encode(STORY)
    options: dict[str, Any] = {"temperature": 0, "logit_bias": NO_END}
    completion = short.complete(prompt, max_tokens=110, on_context_full="shift", **options)
    assert completion.finish_reason == "length"
    expected, window = [*prompt], [*prompt]
    while len(expected) < len(prompt) + 110:
        drawn = tiny.complete(window, max_tokens=2 * PAGE - len(window) + 1, reuse_prefix=False, **options).tokens
        expected += drawn
        window = [*window, *drawn][-PAGE:]
    assert list(completion.tokens) == expected[len(prompt) :][:110]
    assert completion.text == tiny.tokenizer.decode(completion.tokens, continues=True)


def test_a_shifted_context_draws_anew(short: Model) -> None:
    """The same positions come again, but not the same draws."""
    flat: dict[str, Any] = {"temperature": 1000.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 1}
    prompt = [7] * PAGE
    tokens = short.complete(prompt, max_tokens=68, on_context_full="shift", logit_bias=NO_END, **flat).tokens
    first, second = tokens[: PAGE + 1], tokens[PAGE + 1 :][: PAGE + 1]
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 5
    assert tokens == short.complete(prompt, max_tokens=68, on_context_full="shift", logit_bias=NO_END, **flat).tokens


def test_an_answer_may_stop_after_a_shift(short: Model) -> None:
    options: dict[str, Any] = {"temperature": 0, "logit_bias": NO_END, "on_context_full": "shift"}
    whole = short.complete(STORY, max_tokens=80, **options).text
    stopped = short.complete(STORY, max_tokens=80, stop=whole[-8:], **options)
    assert stopped.finish_reason == "stop"
    assert stopped.text == whole[: whole.index(whole[-8:])]
    assert stopped.usage.completion_tokens > 2 * PAGE - stopped.usage.prompt_tokens + 1
