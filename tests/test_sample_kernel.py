"""The sampler on the GPU: how likely it draws what, and what it leaves behind for the next step."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from agreement import agree
from gpu import Device
from sampler import FORBIDDEN, Step, check_frequencies, groups_of, kernel_of, one_slot_each, state_of, statistics
from sampler_reference import adjusted, probabilities, softmax
from shaderlm.engine.sequence import SamplingState
from shaderlm.planner.compose import compose, parse, read_shader
from shaderlm.planner.lower_sampling import Rows, sampling_stages
from shaderlm.planner.vocabulary import VocabularyLayout
from shaderlm.sampling import Sampling

OFF = Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)


# With which probability

EXPONENTIAL_MAIN = """
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { x[id.x] = exponential(x[id.x]); }
"""


def test_exponentials_are_exact_to_two_units_in_the_last_place(gpu: Device) -> None:
    x = np.concatenate([np.linspace(-87, 0, 6400 - 64), -np.geomspace(1e-30, 87, 64)]).astype(np.float32)
    kernel = parse(read_shader("exponential.wgsl") + EXPONENTIAL_MAIN, "exponential")
    agree(gpu.run(kernel, {"x": x}, {}, (100,))["x"], np.exp(x.astype(np.float64)), rel=2.4e-7)


N_DRAWS = 4096


def draws(gpu: Device, logits: NDArray[np.float32], sampling: Sampling) -> NDArray[np.uint32]:
    """Half of the draws at successive positions with one seed, half with successive seeds at one position."""
    half = N_DRAWS // 2
    states = [state_of(replace(sampling, seed=seed)) for seed in range(1000, 1000 + half)]
    rows = np.array([(0, i, 0, i) for i in range(half)] + [(i, 77, 0, half + i) for i in range(half)], np.uint32)
    return Step(np.tile(logits, (N_DRAWS, 1)), states, rows).run(gpu).drawn


@pytest.mark.parametrize(
    "sampling",
    [
        OFF,
        replace(OFF, temperature=0.4),
        replace(OFF, temperature=3.0),
        replace(OFF, temperature=1000.0),
        replace(OFF, temperature=1e-6),
        replace(OFF, top_k=7),
        replace(OFF, top_p=0.8),
        replace(OFF, min_p=0.1),
        Sampling(temperature=1.3, top_k=30, top_p=0.9, min_p=0.02),
    ],
    ids=["plain", "cold", "hot", "uniform", "coldest", "top-k", "top-p", "min-p", "all"],
)
def test_tokens_are_drawn_as_often_as_their_probability_says(gpu: Device, sampling: Sampling) -> None:
    logits = np.random.default_rng(4).normal(0, 1.5, 200).astype(np.float32)
    for half in np.split(draws(gpu, logits, sampling), 2):
        check_frequencies(half, probabilities(logits, sampling))


def test_penalised_tokens_are_drawn_as_often_as_their_probability_says(gpu: Device) -> None:
    """Penalties and bias are the head's part: it is given logits as the reference adjusts them, rounded to f32."""
    rng = np.random.default_rng(5)
    sampling = Sampling(temperature=1.0, top_k=0, top_p=0.9, min_p=0.0, repeat_penalty=1.5, frequency_penalty=0.2,
                        presence_penalty=0.3, logit_bias={7: 2.0, 8: -np.inf})  # fmt: skip
    history = rng.integers(0, 50, 30).tolist()
    raw = rng.normal(0, 1.5, 50)
    drawn = draws(gpu, adjusted(raw, sampling, history).astype(np.float32), replace(sampling, repeat_last_n=0))
    check_frequencies(drawn, probabilities(raw, sampling, history))


def test_successive_draws_are_independent(gpu: Device) -> None:
    logits = np.log(np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    drawn = draws(gpu, logits, OFF)
    for half in np.split(drawn, 2):
        for lag in (1, 2, 7):
            pairs = half[:-lag] * 4 + half[lag:]
            single = probabilities(logits, OFF)
            check_frequencies(pairs, np.outer(single, single).reshape(-1))


def test_the_same_seed_draws_the_same_and_another_draws_otherwise(gpu: Device) -> None:
    logits = np.random.default_rng(6).normal(0, 1, 64).astype(np.float32)
    first, again = (draws(gpu, logits, OFF) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    half = N_DRAWS // 2
    assert len(np.unique(first[:half])) > 30, "positions draw alike"
    assert len(np.unique(first[half:])) > 30, "seeds draw alike"


DRAWN_BEFORE = {
    "plain": (OFF, [14759, 28128, 28190, 5247, 27283, 24452]),
    "top-k": (replace(OFF, top_k=30), [42125, 28128, 28190, 28190, 26171, 28190]),
    "large-top-k": (replace(OFF, top_k=700), [14759, 28128, 28190, 5247, 46881, 28190]),
    "top-p": (replace(OFF, top_p=0.9), [14759, 28128, 28190, 5247, 27283, 24452]),
    "min-p": (replace(OFF, min_p=0.02), [42125, 28128, 28190, 5247, 26171, 28190]),
    "all": (Sampling(temperature=1.2), [42125, 28128, 28190, 28190, 26171, 28190]),
}


@pytest.mark.parametrize("workgroup", [16, 256])
@pytest.mark.parametrize(("sampling", "expected"), DRAWN_BEFORE.values(), ids=DRAWN_BEFORE)
def test_a_seed_draws_what_it_drew_when_one_workgroup_did_it_all(
    gpu: Device, sampling: Sampling, expected: list[int], workgroup: int
) -> None:
    """Positions 101 to 106 of one sequence. What is looked at first, and by how many lanes, is no part of a draw."""
    logits = np.random.default_rng(12).normal(0, 2.5, 50_000).astype(np.float32)
    rows = np.array([(0, 100 + i, 0, i) for i in range(6)], np.uint32)
    step = Step(np.tile(logits, (6, 1)), [state_of(replace(sampling, seed=2024))], rows, workgroup=workgroup)
    assert step.run(gpu).drawn.tolist() == expected


# Greedy, and what is reported


@pytest.mark.parametrize("vocab", [1, 63, 64, 1000, 49_152])
def test_greedy_takes_the_likeliest_and_of_equals_the_lowest(gpu: Device, vocab: int) -> None:
    rng = np.random.default_rng(vocab)
    logits = np.round(rng.normal(0, 2, (6, vocab))).astype(np.float32)
    logits[0] = -3.0
    logits[1, -1] = 50
    step = Step(logits, [SamplingState()] * 6, one_slot_each(6)).run(gpu)
    np.testing.assert_array_equal(step.drawn, logits.argmax(1))


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_the_log_probability_is_that_of_the_softmax_before_any_cut(gpu: Device, temperature: float) -> None:
    vocab, n = 49_152, 8
    logits = np.random.default_rng(8).normal(0, 3, (n, vocab)).astype(np.float32)
    logits[1] *= 20  # nearly all in one token
    logits[2, : vocab // 2] = -np.inf
    states = [SamplingState(temperature=temperature, seed=i, top_k=500) for i in range(n)]
    step = Step(logits, states, one_slot_each(n)).run(gpu)
    assert step.results is not None
    with np.errstate(divide="ignore"):
        expected = np.log(
            [softmax(row)[token] for row, token in zip(logits.astype(np.float64), step.drawn, strict=True)]
        )
    agree(step.results[:, 1].view(np.float32), expected, abs=1e-5)


# What a step leaves behind


def test_a_step_puts_tokens_and_rows_where_the_next_one_finds_them(gpu: Device) -> None:
    context = 16
    logits = np.random.default_rng(9).normal(0, 1, (3, 40)).astype(np.float32)
    tokens = np.arange(4 * context, dtype=np.uint32).reshape(4, context)
    rows = np.array([(2, 5, 0, 2), (0, 9, 0, 0), (3, 14, 0, 1)], np.uint32)  # output 0 is made from row 2
    step = Step(logits, [SamplingState()] * 4, rows, context=context, tokens=tokens.copy()).run(gpu)
    greedy = logits.argmax(1)
    expected = tokens.copy()
    expected[3, 15], expected[2, 6], expected[0, 10] = greedy
    np.testing.assert_array_equal(step.tokens, expected)
    np.testing.assert_array_equal(step.rows, [(2, 6, 0, 2), (0, 10, 0, 0), (3, 15, 0, 1)])
    assert step.results is not None
    np.testing.assert_array_equal(step.results[:, [0, 2, 3]], np.stack([greedy, [15, 6, 10], [0, 0, 0]], 1))


def test_an_answer_ends_by_an_end_token_or_at_its_last_position(gpu: Device) -> None:
    logits = np.zeros((4, 40), np.float32)
    logits[:, 33] = 5
    states = [
        SamplingState(end_tokens=(1, 2, 3, 4, 33)),
        SamplingState(last_position=11),
        SamplingState(last_position=12, end_tokens=(32, 34)),
        SamplingState(end_tokens=tuple(range(18, 34))),  # as many as there may be
    ]
    tokens = np.zeros((4, 16), np.uint32)
    step = Step(logits, states, one_slot_each(4), context=16, tokens=tokens).run(gpu)
    assert step.results is not None
    np.testing.assert_array_equal(step.results[:, 3], [1, 1, 0, 1])
    np.testing.assert_array_equal(step.rows[:, 1:3], [(10, 1), (10, 1), (11, 0), (10, 1)])
    assert (step.tokens[:, 11] == 33).all(), "the last token belongs to the text"


def test_a_row_that_is_done_is_left_alone(gpu: Device) -> None:
    logits = np.random.default_rng(10).normal(0, 1, (2, 40)).astype(np.float32)
    rows = np.array([(0, 5, 1, 0), (1, 5, 0, 1)], np.uint32)
    tokens = np.full((2, 16), 39, np.uint32)
    penalising = SamplingState(repeat_last_n=4, repeat_penalty=1.1)
    step = Step(logits, [penalising] * 2, rows, context=16, tokens=tokens).run(gpu)
    assert step.results is not None
    assert step.vocabulary is not None
    assert (step.results[0] == 77).all()
    assert (step.tokens[0] == 39).all()
    assert not step.vocabulary[0].any()
    np.testing.assert_array_equal(step.rows, [(0, 5, 1, 0), (1, 6, 0, 1)])


@pytest.mark.parametrize("last_n", [1, 3, 6, 100])
def test_counts_follow_the_window_of_the_last_tokens(gpu: Device, last_n: int) -> None:
    """Counted when an answer begins, and moved on by every draw: always those of the last `last_n` tokens."""
    rng = np.random.default_rng(last_n)
    vocab, context, prompt = 7, 32, 5
    layout = VocabularyLayout(vocab)
    tokens = np.zeros((2, context), np.uint32)
    tokens[1, :prompt] = rng.integers(0, vocab, prompt)
    vocabulary = np.full((2, layout.slot_words), 3, np.uint32)  # whatever was counted before
    window = {
        "slot": 1,
        "begin": max(0, prompt - last_n),
        "end": prompt,
        "context": context,
        "counts": layout.slot_words + layout.counts,
        "vocab": vocab,
    }
    arrays = {"tokens": tokens, "vocabulary": vocabulary}
    vocabulary = gpu.run(compose("count_tokens.wgsl"), arrays, {"window": window}, (1,))["vocabulary"]
    untouched = np.ones(vocabulary.shape, bool)
    untouched[1, layout.counts : layout.counts + vocab] = False
    assert (vocabulary[untouched] == 3).all()

    state = SamplingState(temperature=1.0, seed=3, repeat_last_n=last_n, repeat_penalty=1.1)
    rows = np.array([(1, prompt - 1, 0, 0)], np.uint32)
    step = Step(np.zeros((1, vocab), np.float32), [state] * 2, rows, context, 64, tokens, vocabulary)
    for length in range(prompt, prompt + 12):
        assert step.vocabulary is not None
        counts = step.vocabulary[1, layout.counts : layout.counts + vocab]
        expected = np.bincount(step.tokens[1, max(0, length - last_n) : length], minlength=vocab)
        np.testing.assert_array_equal(counts, expected, err_msg=f"after {length} tokens")
        step.run(gpu)


# The likeliest tokens


@pytest.mark.parametrize("vocab", [20, 101, 49_152])
def test_the_likeliest_tokens_come_in_order_with_their_log_probabilities(gpu: Device, vocab: int) -> None:
    n, n_top = 4, 20
    rng = np.random.default_rng(vocab)
    logits = rng.normal(0, 3, (n, vocab)).astype(np.float32)
    logits[1] = np.round(logits[1])  # ties
    logits[2] = 0.5
    logits[3, : vocab - n_top] = FORBIDDEN
    stats = statistics(logits, 64)
    results = np.full(4 * n + 2 * n * n_top, 77, np.uint32)
    *_, stage = sampling_stages(Rows(n, vocab, stats.shape[1], 64, 0), 16)
    arrays = {"logits": logits, "stats": stats, "results": results}
    results = gpu.run(kernel_of(stage), arrays, {"vocab": stage.vocab}, groups_of(stage))["results"]

    assert (results[: 4 * n] == 77).all(), "the drawn tokens' own results stay"
    top = results[4 * n :].reshape(n, n_top, 2)
    order = np.argsort(-logits.astype(np.float64), axis=1, kind="stable")[:, :n_top]
    np.testing.assert_array_equal(top[..., 0], order)
    probability = np.array([softmax(row) for row in logits.astype(np.float64)])
    agree(top[..., 1].view(np.float32).reshape(n, n_top), np.log(np.take_along_axis(probability, order, 1)), abs=1e-5)
