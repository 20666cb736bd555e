"""The options of sampling, and the float64 sampler that the GPU's is compared with."""

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampler_reference import adjusted, kept_in_order, kept_set, probabilities
from shaderlm.engine.sequence import LARGE
from shaderlm.errors import InvalidOption
from shaderlm.generation import sampling_state
from shaderlm.sampling import RANGES, Sampling

OFF: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
LOGITS = np.array([2.0, -1.0, 3.0, 3.0, 0.5])


def test_the_defaults_are_llama_cpps() -> None:
    sampling = Sampling()
    assert (sampling.top_k, sampling.top_p, sampling.min_p, sampling.temperature) == (40, 0.95, 0.05, 0.8)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((name, value) for name in RANGES for value in (True, "1", math.nan, math.inf, [1])),
        *((name, None) for name, range in RANGES.items() if not range.optional),
        *((name, 1.5) for name, range in RANGES.items() if range.whole),
        *((name, np.nextafter(range.high, math.inf)) for name, range in RANGES.items() if not range.whole),
        *((name, np.nextafter(range.low, -math.inf)) for name, range in RANGES.items() if not range.whole),
        *((name, int(range.high) + 1) for name, range in RANGES.items() if range.whole),
        *((name, int(range.low) - 1) for name, range in RANGES.items() if range.whole),
        ("temperature", 1e-12),
    ],
)
def test_a_value_out_of_range_is_refused_with_option_value_and_range(option: str, value: object) -> None:
    with pytest.raises(InvalidOption) as caught:
        Sampling(**{option: value})  # type: ignore[arg-type]
    assert str(caught.value) == f"{option}: must be {RANGES[option]}, not {value!r}."


@pytest.mark.parametrize("option", sorted(RANGES))
def test_both_ends_of_a_range_are_allowed(option: str) -> None:
    for end in (RANGES[option].low, RANGES[option].high):
        assert getattr(Sampling(**{option: end}), option) == end  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        ([1], "must be a mapping"),
        ({-1: 0.0}, "a token id must be"),
        ({"1": 0.0}, "a token id must be"),
        ({True: 0.0}, "a token id must be"),
        ({1: math.inf}, "the bias of token 1 must be"),
        ({1: math.nan}, "the bias of token 1 must be"),
        ({7: "ban"}, "the bias of token 7 must be"),
        ({7: 1001}, "the bias of token 7 must be"),
    ],
)
def test_a_wrong_bias_is_refused(bias: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=rf"^logit_bias: {message}"):
        Sampling(logit_bias=bias)


def test_a_bias_may_ban_a_token() -> None:
    assert Sampling(logit_bias={3: -math.inf, 4: 2}).logit_bias == {3: -math.inf, 4: 2.0}


def test_the_callers_mapping_may_change_afterwards() -> None:
    bias = {1: 1.0}
    sampling = Sampling(logit_bias=bias)
    bias[2] = 5.0
    assert sampling.logit_bias == {1: 1.0}


def test_numpy_numbers_become_pythons() -> None:
    sampling = Sampling(temperature=np.float32(0.5), top_k=np.int64(3))  # type: ignore[arg-type]
    assert type(sampling.temperature) is float
    assert type(sampling.top_k) is int


def test_options_are_values() -> None:
    assert Sampling(seed=1, logit_bias={1: 2}) == Sampling(seed=1, logit_bias={1: 2.0})
    assert len({Sampling(seed=1), Sampling(seed=1), Sampling(seed=2)}) == 2


def test_a_seed_is_kept_and_a_missing_one_is_chosen() -> None:
    assert Sampling(seed=7).with_seed() == Sampling(seed=7)
    chosen = {Sampling().with_seed().seed for _ in range(8)}
    assert len(chosen) > 1
    assert all(seed in RANGES["seed"] for seed in chosen)


@pytest.mark.parametrize(
    ("options", "penalises"),
    [
        ({"repeat_penalty": 1.1}, True),
        ({"frequency_penalty": -0.5}, True),
        ({"presence_penalty": 0.5}, True),
        ({"presence_penalty": 0.5, "repeat_last_n": 0}, False),
        ({}, False),
    ],
)
def test_tokens_are_counted_only_for_penalties(options: dict[str, Any], penalises: bool) -> None:
    state = sampling_state(Sampling(**options), (), last_position=9)
    assert state.penalises is penalises
    assert struct.unpack_from("<4I", state.pack())[3] == (64 if penalises else 0)


def test_min_p_is_a_margin_of_logits() -> None:
    margins = [
        struct.unpack_from("<3f", sampling_state(Sampling(min_p=min_p), (), last_position=9).pack(), 16)[2]
        for min_p in (0.05, 1, 0)
    ]
    assert margins == [np.float32(-math.log(0.05)), 0, np.float32(LARGE)]


# The reference


def test_penalties_follow_the_formula() -> None:
    sampling = Sampling(repeat_penalty=2, frequency_penalty=0.25, presence_penalty=0.125, repeat_last_n=3)
    result = adjusted(LOGITS, sampling, history=[4, 4, 0, 1, 0])  # the last three are 0, 1, 0
    np.testing.assert_array_equal(result, [2 / 2 - 2 * 0.25 - 0.125, -1 * 2 - 0.25 - 0.125, 3, 3, 0.5])


def test_bias_comes_after_the_penalties() -> None:
    sampling = Sampling(repeat_penalty=2, logit_bias={0: 10, 2: -math.inf})
    np.testing.assert_array_equal(adjusted(LOGITS, sampling, [0]), [11, -1, -math.inf, 3, 0.5])


def test_of_equal_logits_the_lower_ids_are_kept() -> None:
    assert kept_set(np.zeros(9), Sampling(**OFF | {"top_k": 4})) == [0, 1, 2, 3]
    assert kept_set(LOGITS, Sampling(**OFF | {"top_k": 1})) == [2]
    assert kept_set(LOGITS, Sampling(temperature=0)) == [2]


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    logits = np.log([0.5, 0.25, 0.125, 0.125])
    assert kept_set(logits, Sampling(**OFF | {"top_p": 0.5})) == [0]
    assert kept_set(logits, Sampling(**OFF | {"top_p": 0.51})) == [0, 1]
    assert kept_set(logits, Sampling(**OFF | {"top_p": 0.0})) == [0]
    assert kept_set(logits, Sampling(**OFF | {"top_k": 2, "top_p": 0.6})) == [0]  # 0.5 of the 0.75 that top-k left


def test_min_p_is_relative_to_the_likeliest() -> None:
    logits = np.log([0.5, 0.25, 0.15, 0.1])
    assert kept_set(logits, Sampling(**OFF | {"min_p": 0.4})) == [0, 1]
    assert kept_set(logits, Sampling(**OFF | {"min_p": 1.0})) == [0]


def test_a_banned_token_is_never_kept() -> None:
    assert kept_set(LOGITS, Sampling(**OFF | {"logit_bias": {2: -math.inf}})) == [0, 1, 3, 4]


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=60),
    st.integers(0, 70),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.05, 5),
)
def test_probabilities_are_those_of_the_kept_set(
    logits: list[float], top_k: int, top_p: float, min_p: float, temperature: float
) -> None:
    sampling = Sampling(top_k=top_k, top_p=top_p, min_p=min_p, temperature=temperature)
    drawn = probabilities(logits, sampling)
    kept = kept_in_order(logits, sampling)
    assert drawn.sum() == pytest.approx(1)
    assert 1 <= len(kept) <= (top_k or len(logits))
    assert set(np.flatnonzero(drawn)) <= set(kept.tolist())
    values = np.array(logits)
    dropped = np.setdiff1d(np.arange(len(logits)), kept)
    assert dropped.size == 0 or values[dropped].max() <= values[kept].min()
