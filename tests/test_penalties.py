"""Penalties, bias and mask in the real engine: the head's epilogue, the counts of tokens and the sampler together."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from engines import all_logits, opened
from gpu import Device
from sampler import check_frequencies, state_of
from sampler_reference import probabilities
from shaderlm import Model
from shaderlm.engine.decode import Decoder
from shaderlm.engine.engine import Engine
from shaderlm.engine.prefill import prefill
from shaderlm.engine.sequence import Sequence as Live
from shaderlm.hosts.native.thread import run_now
from shaderlm.sampling import Sampling
from tiny_model import NO_END, TINY, golden_logits

ROWS = 8
LIKELY = range(260, 284)  # tokens that a bias makes so likely that they come again and again
PENALTIES = Sampling(temperature=8.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=3.0, frequency_penalty=4.0,
                     presence_penalty=6.0, repeat_last_n=12,
                     logit_bias=dict.fromkeys(LIKELY, 40.0) | {300: -np.inf})  # fmt: skip
OPTIONS = {
    "penalties": PENALTIES,
    "repeat": replace(PENALTIES, frequency_penalty=0.0, presence_penalty=0.0),
    "frequency": replace(PENALTIES, repeat_penalty=1.0, presence_penalty=0.0),
    "presence": replace(PENALTIES, repeat_penalty=1.0, frequency_penalty=0.0),
    "encouraged": replace(PENALTIES, repeat_penalty=0.4, frequency_penalty=-3.0, presence_penalty=-5.0),
    "and-top-k-and-min-p": replace(PENALTIES, top_k=20, min_p=1e-5),
    "and-top-p": replace(PENALTIES, top_p=0.9999),
}


@pytest.fixture(scope="module")
def engine(gpu: Device) -> Iterator[Engine]:
    """The tiny model with room for eight sequences, and for one that computes logits."""
    with opened(gpu.gpu, TINY, context=352, slots=ROWS + 1) as engine:
        yield engine


@pytest.fixture
def sequences(engine: Engine) -> Iterator[list[Live]]:
    """Eight sequences that share nothing."""
    opened = [engine.open_sequence() for _ in range(ROWS)]
    yield opened
    for sequence in opened:
        engine.close_sequence(sequence, keep=False)


def history() -> list[int]:
    """A text some of whose last tokens came several times, and some only before the window of the penalties."""
    return [*golden_logits().prompt_ids[:20], *np.random.default_rng(0).choice(LIKELY, 16).tolist()]


def prepare(engine: Engine, sequence: Live, tokens: Sequence[int]) -> None:
    """Keys and values of all tokens but the last, which the next step computes."""
    engine.set_tokens(sequence, tokens[:-1])
    run_now(prefill(engine, sequence))
    engine.set_tokens(sequence, tokens)


@pytest.mark.parametrize("sampling", OPTIONS.values(), ids=OPTIONS)
def test_what_follows_a_text_is_drawn_as_often_as_a_float64_sampler_says(
    engine: Engine, sequences: list[Live], sampling: Sampling
) -> None:
    tokens = history()
    for sequence in sequences:
        prepare(engine, sequence, tokens)
    expected = probabilities(all_logits(engine, tokens)[-1], sampling, tokens)
    drawn = []
    for seed in range(0, 1600, ROWS):
        for i, sequence in enumerate(sequences):
            engine.set_sampling(sequence, state_of(sampling, seed=seed + i, logit_bias=sampling.logit_bias))
        decoder = run_now(Decoder.open(engine, sequences))
        drawn += [result.token for result in run_now(decoder.read(decoder.submit()))]
        for sequence in sequences:  # back to where the text ended
            sequence.tokens.pop()
            sequence.length -= 1
    check_frequencies(np.array(drawn), expected)


def quantile(expected: NDArray[np.float64], window: Sequence[int], token: int, chance: float) -> float:
    """Where a draw lies in its distribution, what the window has most often first: uniform if it is drawn from it."""
    order = np.argsort(-np.bincount(window, minlength=len(expected)), kind="stable")
    place = int(np.flatnonzero(order == token)[0])
    return float(expected[order[:place]].sum() + chance * expected[token])


@pytest.mark.parametrize("name", ["penalties", "encouraged"])
def test_penalties_follow_a_text_that_grows(engine: Engine, sequences: list[Live], name: str) -> None:
    """Each draw by the tokens before it, whose counts the sampler itself keeps: eight texts of 300 draws."""
    sampling = OPTIONS[name]
    prompt, steps = history(), 300
    for i, sequence in enumerate(sequences):
        prepare(engine, sequence, prompt[: 8 + 4 * i])
        engine.set_sampling(sequence, state_of(sampling, seed=i, logit_bias=sampling.logit_bias))
    begun = [len(sequence.tokens) for sequence in sequences]
    decoder = run_now(Decoder.open(engine, sequences))
    for _ in range(steps):
        run_now(decoder.read(decoder.submit()))
    chance = np.random.default_rng(1)
    quantiles = []
    for sequence, start in zip(sequences, begun, strict=True):
        logits = all_logits(engine, sequence.tokens)
        for length in range(start, len(sequence.tokens)):
            text, token = sequence.tokens[:length], sequence.tokens[length]
            expected = probabilities(logits[length - 1], sampling, text)
            assert expected[token] > 0
            quantiles.append(quantile(expected, text[-sampling.repeat_last_n :], token, chance.random()))
    assert len(quantiles) == ROWS * steps
    observed, _ = np.histogram(quantiles, bins=25, range=(0, 1))
    p = chisquare(observed).pvalue
    assert p > 1e-3, f"p = {p}: {observed} draws in each 25th of their distribution"


WRITTEN_BEFORE: dict[str, tuple[dict[str, Any], list[int]]] = {
    "temperature": (
        {"temperature": 2.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
        [457, 207, 439, 16, 487, 285, 80, 67, 307, 79, 67, 16, 277, 242, 352, 149],
    ),
    "top-p": (
        {"temperature": 2.5, "top_k": 0, "top_p": 0.98, "min_p": 0.0},
        [457, 443, 57, 74, 75, 457, 73, 487, 16, 385, 78, 505, 70, 285, 400, 16],
    ),
    "defaults": ({"temperature": 2.5}, [71, 285, 480, 16, 487, 285, 263, 354, 323, 465, 16, 277, 387, 295, 70, 285]),
    "penalties": (
        {"temperature": 0.9, "top_k": 50, "top_p": 0.9, "min_p": 0.02, "repeat_penalty": 1.1, "frequency_penalty": 0.1,
         "presence_penalty": 0.1, "repeat_last_n": 32},
        [285, 335, 71, 16, 286, 354, 323, 465, 285, 487, 16, 223, 41, 433, 285, 495],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), WRITTEN_BEFORE.values(), ids=WRITTEN_BEFORE)
def test_a_seed_writes_what_it_wrote_when_one_workgroup_did_it_all(
    tiny: Model, options: dict[str, Any], expected: list[int]
) -> None:
    answer = tiny.complete("One day", max_tokens=16, seed=7, logit_bias=NO_END, reuse_prefix=False, **options)
    assert list(answer.tokens) == expected
