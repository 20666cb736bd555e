"""A real model, SmolLM2 135M in Q4_1 with its embedding in Q8_0: held against float64 over the same weights."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import shaderlm
from agreement import agree, agree_on_argmax
from engines import decode_forced, opened
from gpu import Device
from reference import Reference, reference_of, softmax

PROMPTS = {
    "prose": (
        "The old lighthouse keeper climbed the stairs every evening, lamp in hand, and looked out over the grey "
        "water. He had done so for forty years, and in all that time he had never once seen the same sea twice. "
        "Some nights it lay flat as slate; on others it rose up and beat against the rocks until the windows shook. "
        "Tonight there was no wind at all, and a small boat without lights was coming slowly towards the"
    ),
    "code": (
        "def quicksort(items):\n    if len(items) <= 1:\n        return items\n    pivot = items[len(items) // 2]\n"
        "    smaller = [x for x in items if x < pivot]\n    equal = [x for x in items if x == pivot]\n"
        "    larger = [x for x in items if x > pivot]\n    return quicksort(smaller) +"
    ),
    "unicode": (
        "Grüße aus Köln! Ça va? Здравствуйте, как дела? 今日は良い天気ですね。 مرحبا بالعالم. Ελληνικά. "
        "Emoji: 🙂🚀🌍. Maths: ∑ α² ≤ √β."
    ),
    "chat": (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
        "The capital of France is Paris.<|im_end|>\n<|im_start|>user\nAnd what is it known for? Name three things "
        "that a visitor should see there, with one sentence about each of them.<|im_end|>\n<|im_start|>assistant\n"
    ),
    "digits": (
        "3.14159265358979323846264338327950288419716939937510, 2.71828182845904523536, 1.41421356237, "
        "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89,"
    ),
}
CONTEXT = 256


@pytest.fixture(scope="module")
def reference(smollm2: Path) -> Reference:
    return reference_of(smollm2)


class Case(NamedTuple):
    model: shaderlm.Model
    tolerance: float  # of logits, absolute
    decode_tolerance: float  # between decode and prefill


TOLERANCES = {"f32": (2e-3, 1e-3), "f16": (0.1, 0.06)}


@pytest.fixture(scope="module", params=TOLERANCES)
def case(request: pytest.FixtureRequest, smollm2: Path) -> Iterator[Case]:
    with shaderlm.load(smollm2, context=CONTEXT, kv_dtype=request.param) as model:
        yield Case(model, *TOLERANCES[request.param])


@functools.cache
def continued(reference: Reference, ids: tuple[int, ...]) -> tuple[list[int], np.ndarray]:
    """A prompt with the reference's 48 greedy tokens behind it, and the reference's logits after each of all."""
    forced = [*ids, *reference.greedy(list(ids), 48)]
    return forced, reference.logits(forced)


@pytest.mark.parametrize("kind", PROMPTS)
def test_logits_are_those_of_float64(case: Case, reference: Reference, kind: str) -> None:
    """At every position of a prompt, and of the 48 greedy tokens that float64 adds to it; so is the likeliest token."""
    ids = case.model.tokenizer.encode(PROMPTS[kind], parse_special=True)
    forced, expected = continued(reference, tuple(ids))
    actual = case.model.logits(forced)
    agree(actual, expected, abs=case.tolerance)
    agree_on_argmax(actual, expected, tolerance=case.tolerance)


@pytest.mark.parametrize(("kind", "kv_dtype"), [*((kind, "f32") for kind in PROMPTS), ("prose", "f16")])
def test_decoded_logits_are_those_of_float64(
    gpu: Device, smollm2: Path, reference: Reference, kind: str, kv_dtype: str
) -> None:
    """The same 48 tokens one by one, by the kernels of decode."""
    ids = shaderlm.load_tokenizer(smollm2).encode(PROMPTS[kind], parse_special=True)
    forced, expected = continued(reference, tuple(ids))
    with opened(gpu.gpu, smollm2, context=CONTEXT, kv_dtype=kv_dtype) as engine:
        actual = decode_forced(engine, forced, prefilled=len(ids))
    tolerance = TOLERANCES[kv_dtype][0]
    agree(actual, expected[len(ids) :], abs=tolerance)
    agree_on_argmax(actual, expected[len(ids) :], tolerance=tolerance)


def test_a_plain_question_is_answered_and_the_chat_ends_with_stop(case: Case) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    answer = case.model.chat(question, max_tokens=40, temperature=0)
    assert answer.text == "The capital of France is Paris."
    assert answer.finish_reason == "stop"


def test_generated_logits_are_those_of_prefill(case: Case) -> None:
    """Decode and prefill are different kernels: what one draws with, the other computes too."""
    answer = case.model.complete(PROMPTS["prose"], max_tokens=12, temperature=0, logprobs=0)
    ids = case.model.tokenizer.encode(PROMPTS["prose"])
    logits = case.model.logits([*ids, *answer.tokens])[len(ids) - 1 : -1].astype(np.float64)
    expected = np.log(softmax(logits))[np.arange(len(answer.tokens)), answer.tokens]
    agree([entry.logprob for entry in answer.logprobs], expected, abs=case.decode_tolerance)
