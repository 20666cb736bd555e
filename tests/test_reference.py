"""The float64 reference against models whose logits or texts others computed."""

from pathlib import Path

import numpy as np
import pytest

from agreement import agree, agree_on_argmax
from oracle_models import stories260k, stories260k_text, tiny_llama_interleaved
from random_llama import VARIANTS, prompt, random_llama
from reference import Cache, Reference, reference_of, rotated
from shaderlm.graph import Rope
from tiny_model import END_OF_TEXT, END_OF_TURN, TINY, Golden, golden_logits, goldens

DATA = Path(__file__).parent / "data"


def test_logits_of_a_random_llama_are_those_of_torch(oracles: Path) -> None:
    model = tiny_llama_interleaved(oracles)
    reference, cache = Reference(model.config, model.weights), Cache()
    steps = [reference.logits(model.prompt, cache), *(reference.logits([t], cache) for t in model.decode_tokens)]
    agree(np.concatenate(steps), model.logits, abs=1e-5)


def test_decoding_token_by_token_gives_the_logits_of_prefill(oracles: Path) -> None:
    model = tiny_llama_interleaved(oracles)
    reference, cache = Reference(model.config, model.weights), Cache()
    one_by_one = np.concatenate([reference.logits([token], cache) for token in model.prompt])
    agree(one_by_one, reference.logits(model.prompt), abs=1e-12)


def test_stories260k_tells_its_published_story(oracles: Path) -> None:
    model = stories260k(oracles)
    tokens = Reference(model.config, model.weights).greedy([1], 200, stop=[1])
    assert stories260k_text(model, tokens) == (oracles / "models/stories260K.expected.txt").read_bytes()


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {"rope-partial"}))  # transformers turns whole heads
def test_logits_of_each_variant_are_those_of_transformers(variant: str) -> None:
    hyperparameters, weights = random_llama(0, **VARIANTS[variant])
    logits = Reference.of(hyperparameters, weights).logits(prompt(hyperparameters, 80))
    agree(logits[-4:], np.load(DATA / "llama.goldens.npz")[variant], abs=1e-4)  # transformers computed in float32


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith("rope-") or "window" in name])
def test_each_variant_of_positions_changes_the_logits(variant: str) -> None:
    plain, weights = random_llama(0)
    hyperparameters, same_weights = random_llama(0, **VARIANTS[variant])
    tokens = prompt(plain, 80)
    moved = Reference.of(hyperparameters, same_weights).logits(tokens) - Reference.of(plain, weights).logits(tokens)
    assert np.abs(moved[-1]).max() > 0.1


def test_rope_beyond_the_turned_part_leaves_values_alone() -> None:
    x = np.random.default_rng(0).standard_normal((5, 2, 10))
    rope = Rope((1.0, 0.1), interleaved=True)
    assert (rotated(x, np.arange(5), rope)[..., 4:] == x[..., 4:]).all()


def test_logits_of_the_tiny_model_are_those_of_transformers() -> None:
    golden = golden_logits()
    agree(reference_of(TINY).logits(golden.prompt_ids), golden.logits, abs=1e-4)


@pytest.mark.parametrize("golden", goldens().values(), ids=list(goldens()))
def test_greedy_text_of_the_tiny_model_is_that_of_transformers(golden: Golden) -> None:
    ids = reference_of(TINY).greedy(golden.prompt_ids, golden.max_tokens, stop={END_OF_TEXT, END_OF_TURN})
    assert ids == golden.ids


def test_agree_names_the_worst_element_and_both_its_errors() -> None:
    expected = np.array([[1.0, 2.0], [100.0, 0.0]])
    actual = np.array([[1.0, 2.5], [101.0, 0.0]])
    with pytest.raises(AssertionError) as failure:
        agree(actual, expected, rel=0.02, abs=0.1)
    assert str(failure.value) == (
        "1 of 4 elements disagree, worst at (0, 1) of (2, 2): 2.5, expected 2; "
        "relative error 0.25 (allowed 0.02), absolute error 0.5 (allowed 0.1)"
    )


@pytest.mark.parametrize(("rel", "absolute"), [(0.25, 0.0), (0.0, 0.5)])
def test_agree_takes_a_relative_or_an_absolute_error(rel: float, absolute: float) -> None:
    agree([2.5, 4.0], [2.0, 4.0], rel=rel, abs=absolute)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [([np.nan], [1.0]), ([np.nan], [np.nan]), ([1.0], [np.inf]), ([np.inf], [1.0]), ([1.0], [1.0, 1.0]), ([], [])],
)
def test_agree_refuses_what_no_tolerance_covers(actual: list[float], expected: list[float]) -> None:
    with pytest.raises(AssertionError):
        agree(actual, expected, rel=0.5, abs=1e9)


def test_agree_takes_equal_infinities() -> None:
    agree([-np.inf, 1.0], [-np.inf, 1.0])


def test_agree_on_argmax_forgives_only_a_narrow_margin() -> None:
    expected = np.array([[0.0, 1.0, 5.0], [0.0, 1.0, 1.1]])
    agree_on_argmax(expected[:, [0, 2, 1]] * [1, 0.3, 1.2] + [[0, 0, 5], [0, 0, 0]], expected, tolerance=0.1)
    with pytest.raises(AssertionError, match="1 of 2 rows have another argmax, first row 0: 1, expected 2"):
        agree_on_argmax(expected[:, [0, 2, 1]], expected, tolerance=0.1)
