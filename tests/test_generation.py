"""Answers of models: the right text, its ends, and what options change."""

import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shaderlm
from agreement import agree, agree_on_argmax, margins
from gguf_writer import dequantized, write_llama
from oracle_models import Stories260K, stories260k, stories260k_hyperparameters
from reference import Reference, reference_of
from sampler_reference import adjusted, kept_set
from shaderlm import Completion, Model
from shaderlm.formats.checkpoint import TokenizerData
from shaderlm.sampling import Sampling
from tiny_model import END_OF_TEXT, END_OF_TURN, NO_END, TINY, Golden, goldens

GOLDENS = goldens()
STORY = GOLDENS["story"].prompt


@pytest.fixture(scope="module")
def reference() -> Reference:
    return reference_of(TINY)


def answer(model: Model, golden: Golden, **options: Any) -> Completion:
    options = {"max_tokens": golden.max_tokens, "temperature": 0, **options}
    if golden.messages:
        return model.chat(golden.messages, **options)
    return model.complete(golden.prompt, **options)


def log_softmax(logits: Any) -> np.ndarray:
    x = np.asarray(logits, dtype=np.float64)
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


# The right text


@pytest.mark.parametrize("golden", GOLDENS.values(), ids=list(GOLDENS))
def test_greedy_text_is_that_of_transformers(tiny: Model, golden: Golden) -> None:
    completion = answer(tiny, golden)
    assert completion.text == golden.text
    assert completion.finish_reason == golden.finish_reason
    ended = golden.finish_reason == "stop"
    assert [*completion.tokens] == (golden.ids[:-1] if ended else golden.ids), "the token that ends is not shown"
    assert completion.usage.prompt_tokens == len(golden.prompt_ids)
    assert completion.usage.completion_tokens == len(completion.tokens)


@pytest.mark.parametrize("name", ["cut", "chat", "emoji"])
def test_chunks_add_up_to_the_answer(tiny: Model, name: str) -> None:
    golden = GOLDENS[name]
    options: dict[str, Any] = {"max_tokens": golden.max_tokens, "temperature": 0, "logprobs": 1}
    chunks = list(
        tiny.stream_chat(golden.messages, **options) if golden.messages else tiny.stream(golden.prompt, **options)
    )
    completion = chunks[-1].completion
    assert completion is not None
    assert completion.text == golden.text == "".join(chunk.text for chunk in chunks)
    assert completion.tokens == sum((chunk.tokens for chunk in chunks), ())
    assert completion.logprobs == sum((chunk.logprobs for chunk in chunks), ())
    assert not any("\ufffd" in chunk.text for chunk in chunks), "half a character was shown"
    assert all(chunk.completion is None for chunk in chunks[:-1])


@pytest.mark.parametrize("weight_type", ["F32", "Q8_0", "Q4_0", "F16", "BF16"])
def test_stories260k_tells_its_story(oracles: Path, tmp_path: Path, weight_type: str) -> None:
    """From F32 the published text; from other types what float64 tells with the weights that the file then holds."""
    model, hyperparameters = stories260k(oracles), stories260k_hyperparameters(oracles)
    path = write_llama(tmp_path / "stories.gguf", model.weights, hyperparameters, weight_type, stories_tokenizer(model))
    reference = Reference(model.config, dequantized(model.weights, weight_type))
    n = 200 if weight_type == "F32" else 100
    expected = reference.greedy([1], n, stop=[1])
    with shaderlm.load(path, kv_dtype="f32", context=256) as loaded:
        completion = loaded.complete("", max_tokens=n, temperature=0)
        narrow = np.flatnonzero(margins(reference.logits([1, *expected[:-1]])) < 4e-3)
        if narrow.size:  # teacher-forced from there on
            agree_on_argmax(loaded.logits([1, *expected]), reference.logits([1, *expected]), tolerance=2e-3)
            assert list(completion.tokens[: narrow[0]]) == expected[: narrow[0]]
        else:
            assert list(completion.tokens) == [token for token in expected if token != 1]
    if weight_type == "F32":
        assert completion.text.encode() == (oracles / "models/stories260K.expected.txt").read_bytes()
        assert len(completion.text.encode()) == 464


def stories_tokenizer(model: Stories260K) -> TokenizerData:
    """Its SentencePiece vocabulary; BOS also ends a story, as in the program that published it."""
    types = [2, 3, 3] + [6] * 256 + [1] * (len(model.vocabulary) - 259)
    tokens = [piece.decode().replace(" ", "\u2581") for piece in model.vocabulary]
    tokens[:3] = ["<unk>", "<s>", "</s>"]
    return TokenizerData("llama", "default", tokens, model.scores, types, (), 1, (1, 2), 0, add_bos=True)


# How an answer ends


def test_an_answer_has_at_most_max_tokens(tiny: Model) -> None:
    whole = answer(tiny, GOLDENS["story"]).tokens
    for n in (1, 2, 3, 17):
        completion = tiny.complete(STORY, max_tokens=n, temperature=0)
        assert completion.finish_reason == "length"
        assert completion.tokens == whole[:n]


def test_an_end_token_at_the_last_allowed_place_still_ends_with_stop(tiny: Model) -> None:
    golden = GOLDENS["sums"]
    assert answer(tiny, golden, max_tokens=len(golden.ids)).finish_reason == "stop"
    assert answer(tiny, golden, max_tokens=len(golden.ids) - 1).finish_reason == "length"


def story_stops() -> list[str]:
    """Parts of the story's text that begin and end at any place of a token."""
    text = GOLDENS["story"].text
    return [text[i : i + length] for i, length in ((1, 1), (2, 4), (7, 9), (30, 2), (41, 13), (90, 40), (0, 3))]


@pytest.mark.parametrize("stop", story_stops())
def test_a_stop_string_ends_the_text_before_it_wherever_tokens_begin(tiny: Model, stop: str) -> None:
    text = GOLDENS["story"].text
    chunks = list(tiny.stream(STORY, max_tokens=200, temperature=0, stop=["never in it", stop]))
    assert chunks[-1].completion is not None
    assert chunks[-1].completion.finish_reason == "stop"
    assert "".join(chunk.text for chunk in chunks) == chunks[-1].completion.text == text[: text.index(stop)]


def test_a_stop_string_that_only_begins_is_shown_in_the_end(tiny: Model) -> None:
    text = GOLDENS["story"].text
    completion = tiny.complete(STORY, max_tokens=200, temperature=0, stop=text[-4:] + "x")
    assert completion.text == text


def test_a_chat_ends_with_stop_and_shows_no_marker(tiny: Model) -> None:
    for name in ("chat", "system", "memory", "counting"):
        completion = answer(tiny, GOLDENS[name])
        assert completion.finish_reason == "stop"
        assert "<|" not in completion.text
        assert not {END_OF_TEXT, END_OF_TURN} & {*completion.tokens}


# What options change

PIP = "One day an owl named Pip met a fox. One day"


@pytest.fixture(scope="module")
def unchanged(tiny: Model) -> tuple[int, ...]:
    """The answer to `PIP` without options."""
    return tiny.complete(PIP, max_tokens=40, temperature=0).tokens


@pytest.mark.parametrize(
    "options",
    [
        {"repeat_penalty": 1.3},
        {"frequency_penalty": 2.0},
        {"presence_penalty": 3.0},
        {"presence_penalty": 100.0, "repeat_last_n": 12},
        {"repeat_penalty": 1.5, "frequency_penalty": 1.5, "presence_penalty": -1.0, "repeat_last_n": 9},
        {"repeat_penalty": 0.5, "repeat_last_n": 3},
        {"logit_bias": {5: 4.0, 100: -3.0, 14: -math.inf}},
        {"repeat_penalty": 1.3, "repeat_last_n": 0},
    ],
    ids=str,
)
def test_penalties_and_bias_are_those_of_float64(
    tiny: Model, reference: Reference, unchanged: tuple[int, ...], options: dict[str, Any]
) -> None:
    """Each greedy token is, but for rounding, the likeliest of float64's logits after the same penalties."""
    prompt = tiny.tokenizer.encode(PIP)
    sampling = Sampling(temperature=0, **options)
    completion = tiny.complete(prompt, max_tokens=40, temperature=0, **options)
    forced = [*prompt, *completion.tokens]
    logits = reference.logits(forced)
    rows = np.stack(
        [adjusted(logits[i - 1], sampling, forced[:i]) for i in range(len(prompt), len(forced))]
    )  # [tokens, vocab]
    rows[rows == -math.inf] = -1e30
    chosen = rows[np.arange(len(rows)), completion.tokens]
    agree(chosen, rows.max(-1), abs=2e-3)
    assert (completion.tokens == unchanged) == (options.get("repeat_last_n") == 0)


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 3, "top_p": 1.0, "min_p": 0.0},
        {"top_k": 0, "top_p": 0.6, "min_p": 0.0},
        {"top_k": 0, "top_p": 1.0, "min_p": 0.2},
        {"top_k": 20, "top_p": 0.9, "min_p": 0.02, "repeat_penalty": 1.2, "logit_bias": {5: 2.0}},
    ],
    ids=str,
)
def test_only_kept_tokens_are_drawn(tiny: Model, reference: Reference, options: dict[str, Any]) -> None:
    prompt = tiny.tokenizer.encode(STORY)
    hot = {"temperature": 3.0, "seed": 5, **options, "logit_bias": {**NO_END, **options.get("logit_bias", {})}}
    completion = tiny.complete(prompt, max_tokens=30, **hot)
    forced, sampling = [*prompt, *completion.tokens], Sampling(**(hot | loosened(hot)))
    logits = reference.logits(forced)
    for i in range(len(prompt), len(forced)):
        kept = kept_set(logits[i - 1], sampling, forced[:i])
        assert forced[i] in kept, f"token {forced[i]} at {i} is none of {kept}"


def loosened(options: Mapping[str, Any]) -> dict[str, Any]:
    """A little more than the options keep: for tokens on the very edge in f32."""
    return {
        "top_p": min(1.0, options["top_p"] * 1.002),
        "min_p": options["min_p"] * 0.998,
    }


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"temperature": 1e-6}], ids=str)
def test_what_keeps_one_token_is_greedy(tiny: Model, options: dict[str, Any]) -> None:
    assert tiny.complete(STORY, max_tokens=40, **options).text == greedy_text(tiny, 40)


def greedy_text(model: Model, n: int) -> str:
    return model.complete(STORY, max_tokens=n, temperature=0).text


def test_a_bias_forces_and_forbids(tiny: Model) -> None:
    forced = tiny.complete(STORY, max_tokens=5, logit_bias={300: 1000.0})
    assert forced.tokens == (300,) * 5
    first = tiny.complete(STORY, max_tokens=1, temperature=0).tokens[0]
    assert first not in tiny.complete(STORY, max_tokens=40, temperature=5.0, logit_bias={first: -math.inf}).tokens


def test_a_bias_does_not_outlive_its_answer(tiny: Model) -> None:
    expected = greedy_text(tiny, 5)
    tiny.complete(STORY, max_tokens=5, logit_bias={300: 1000.0}, repeat_penalty=50.0)
    assert greedy_text(tiny, 5) == expected


def test_the_same_seed_gives_the_same_text_and_another_another(tiny: Model) -> None:
    def texts(seed: int | None) -> Completion:
        return tiny.complete(STORY, max_tokens=20, temperature=1.5, top_k=0, top_p=1.0, min_p=0.0, seed=seed)

    runs = {seed: texts(seed) for seed in range(5)}
    assert len({run.text for run in runs.values()}) == 5
    for seed, run in runs.items():
        assert texts(seed).text == run.text
        assert run.seed == seed
    drawn = [texts(None) for _ in range(2)]
    assert len({run.seed for run in drawn}) == 2
    for run in drawn:
        assert texts(run.seed).text == run.text


def test_an_answer_says_what_its_seed_belongs_to(tiny: Model) -> None:
    first, second = (tiny.complete(STORY, max_tokens=1).provenance for _ in range(2))
    assert first is second
    deployment = tiny._core.engine.deployment
    assert (first.kernels, first.kv_dtype, first.arithmetic) == (deployment.choice, "f32", "exact")
    adapter = tiny.adapter
    assert (first.adapter, first.backend, first.driver) == (adapter.name, adapter.backend, adapter.driver)
    assert first.version == version("shaderlm")


def test_draws_follow_the_softmax(tiny: Model, reference: Reference) -> None:
    """Chi-square of the first token over 300 seeds (the kernel's own tests draw more)."""
    from scipy.stats import chi2

    prompt, n = tiny.tokenizer.encode(STORY), 300
    options: dict[str, Any] = {"temperature": 1.4, "top_k": 12, "top_p": 1.0, "min_p": 0.0}
    row = reference.logits(prompt)[-1]
    kept = np.array(kept_set(row, Sampling(**options)))
    expected = np.exp(log_softmax(row[kept] / 1.4)) * n
    drawn = [tiny.complete(prompt, max_tokens=1, seed=seed, **options).tokens[0] for seed in range(n)]
    assert {*drawn} <= {*kept.tolist()}
    counts = np.array([drawn.count(token) for token in kept.tolist()])
    large = expected >= 5
    statistic = ((counts - expected)[large] ** 2 / expected[large]).sum()
    assert statistic < chi2.ppf(0.9999, large.sum()), f"{counts} drawn, {expected.round(1)} expected"


# Log probabilities


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("n_top", [0, 1, 5, 20])
def test_logprobs_are_the_log_softmax_of_the_logits(tiny: Model, n_top: int, temperature: float) -> None:
    prompt = tiny.tokenizer.encode(STORY)
    completion = tiny.complete(prompt, max_tokens=20, temperature=temperature, seed=3, logprobs=n_top)
    expected = log_softmax(tiny.logits([*prompt, *completion.tokens]))[len(prompt) - 1 : -1]
    assert len(completion.logprobs) == len(completion.tokens) == 20
    assert tuple(entry.token for entry in completion.logprobs) == completion.tokens
    agree([entry.logprob for entry in completion.logprobs], expected[np.arange(20), completion.tokens], abs=1e-3)
    for entry, row in zip(completion.logprobs, expected, strict=True):
        assert len(entry.top) == n_top
        if n_top:
            tokens, logprobs = zip(*entry.top, strict=True)
            agree(logprobs, np.sort(row)[::-1][:n_top], abs=1e-3)
            agree(logprobs, row[list(tokens)], abs=1e-3)
            assert len({*tokens}) == n_top


def test_without_logprobs_there_are_none(tiny: Model) -> None:
    assert tiny.complete(STORY, max_tokens=3).logprobs == ()
