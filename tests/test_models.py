"""Architectures: hyperparameters are checked, RoPE's frequencies are those of the papers, graphs name their weights."""

import math
from collections.abc import Collection
from typing import Any

import pytest

from random_llama import llama_3_1_factors, random_llama
from shaderlm.errors import InvalidConfig, UnknownArchitecture
from shaderlm.graph import Graph, Rope
from shaderlm.models import ARCHITECTURES, architecture
from shaderlm.models.decoder import Fields
from shaderlm.models.llama import LlamaConfig, build, config

SMALL: dict[str, Any] = {
    "vocab_size": 10,
    "context_length": 64,
    "hidden_size": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 16,
    "intermediate_size": 48,
    "norm_eps": 1e-5,
}


def llama(tensors: Collection[str] = (), **changes: object) -> LlamaConfig:
    values = {**SMALL, **changes}
    return config(Fields({k: v for k, v in values.items() if v is not None}, "model.gguf"), tensors)


def rope(**changes: object) -> Rope:
    return llama(**changes).rope


def weights(c: LlamaConfig) -> dict[str, tuple[int, ...]]:
    g = Graph()
    build(g, c)
    return g.weights


# Frequencies. The numbers are those of transformers 5 (modeling_rope_utils), which computes them in float32.


def assert_close(found: tuple[float, ...], expected: list[float]) -> None:
    assert len(found) == len(expected)
    worst = max(range(len(found)), key=lambda i: abs(found[i] / expected[i] - 1))
    assert found[worst] == pytest.approx(expected[worst], rel=3e-7), f"pair {worst}"


def test_plain_frequencies_fall_from_one_turn_to_theta() -> None:
    found = rope(rope_theta=10000.0)
    assert_close(found.frequencies, [10000.0 ** (-i / 8) for i in range(8)])
    assert found.magnitude == 1
    assert not found.interleaved


def test_linear_scaling_slows_every_pair() -> None:
    expected = [0.25, 0.079056941, 0.025, 0.00790569466, 0.0025, 0.000790569466, 0.00025, 7.90569466e-05]
    assert_close(rope(rope_scaling="linear", rope_scaling_factor=4.0).frequencies, expected)


def test_yarn_keeps_fast_pairs_and_slows_slow_ones() -> None:
    found = rope(rope_scaling="yarn", rope_scaling_factor=4.0, rope_original_context=64)
    expected = [1.0, 0.237170815, 0.05, 0.00790569466, 0.0025, 0.000790569466, 0.00025, 7.90569466e-05]
    assert_close(found.frequencies, expected)
    assert found.magnitude == pytest.approx(1.138629436111989)


def test_yarn_reads_the_borders_of_its_ramp() -> None:
    found = rope(
        rope_theta=500000.0,
        rope_scaling="yarn",
        rope_scaling_factor=32.0,
        rope_original_context=4096,
        rope_beta_fast=16.0,
        rope_beta_slow=2.0,
    )
    expected = [1.0, 0.193922758, 0.0376060307, 0.00376028032]
    expected += [4.41941702e-05, 8.57025589e-06, 1.66196742e-06, 3.22293289e-07]
    assert_close(found.frequencies, expected)
    assert found.magnitude == pytest.approx(1.3465735902799727)


def test_yarn_without_extrapolation_is_linear() -> None:
    options: dict[str, Any] = {"rope_scaling_factor": 4.0, "rope_original_context": 64}
    linear = rope(rope_scaling="linear", **options)
    assert_close(
        rope(rope_scaling="yarn", rope_extrapolation_factor=0.0, **options).frequencies, list(linear.frequencies)
    )


def test_yarn_of_a_factor_below_one_has_no_magnitude() -> None:
    assert rope(rope_scaling="yarn", rope_scaling_factor=0.5, rope_original_context=64).magnitude == 1


def test_llama_3_1_factors_divide_the_frequencies() -> None:
    factors = llama_3_1_factors(16, 500000.0, original_context=8192, factor=8.0, low=1.0, high=4.0)
    expected = [1.0, 0.193922758, 0.0376060307, 0.00729266508]
    expected += [0.000524846022, 3.42810235e-05, 6.64786967e-06, 1.28917316e-06]
    assert_close(rope(rope_theta=500000.0, rope_frequency_factors=factors).frequencies, expected)


def test_factors_and_a_scaling_both_count() -> None:
    found = rope(rope_frequency_factors=(2.0,) * 8, rope_scaling="linear", rope_scaling_factor=4.0)
    assert_close(found.frequencies, [10000.0 ** (-i / 8) / 8 for i in range(8)])


def test_an_attention_factor_multiplies_the_magnitude() -> None:
    assert rope(rope_attention_factor=1.19).magnitude == pytest.approx(1.19)
    scaled = rope(rope_scaling="yarn", rope_scaling_factor=4.0, rope_original_context=64, rope_attention_factor=0.5)
    assert scaled.magnitude == pytest.approx(0.5 * 1.138629436111989)


def test_a_part_of_the_head_may_turn() -> None:
    assert_close(rope(rope_dim=4).frequencies, [1.0, 0.01])


def test_interleaved_is_read() -> None:
    assert rope(rope_interleaved=True).interleaved


# Hyperparameters

NEEDED = ["vocab_size", "context_length", "hidden_size", "n_layers", "n_heads", "intermediate_size", "norm_eps"]


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_hyperparameter_is_named(name: str) -> None:
    with pytest.raises(InvalidConfig, match=rf"model\.gguf lacks the hyperparameter {name}"):
        llama(**{name: None})


@pytest.mark.parametrize("name", [*SMALL, "rope_dim", "rope_theta", "rope_scaling", "rope_interleaved"])
def test_a_hyperparameter_of_the_wrong_type_is_named(name: str) -> None:
    with pytest.raises(InvalidConfig, match=rf"{name} is \['four'\] in model\.gguf"):
        llama(**{name: ["four"]})


@pytest.mark.parametrize("name", [*(name for name in SMALL if name != "norm_eps"), "rope_dim", "sliding_window"])
@pytest.mark.parametrize("value", [0, -1, 2**31, True, 1.5])
def test_a_size_must_be_a_positive_whole_number(name: str, value: object) -> None:
    with pytest.raises(InvalidConfig, match=rf"{name} is .* in model\.gguf"):
        llama(**{name: value})


YARN: dict[str, Any] = {"rope_scaling": "yarn", "rope_scaling_factor": 4.0, "rope_original_context": 64}
NUMBERS = ["norm_eps", "rope_theta", "rope_scaling_factor", "rope_beta_fast", "rope_beta_slow", "rope_attention_factor"]


@pytest.mark.parametrize("name", [*NUMBERS, "rope_extrapolation_factor"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 1e300, 2**63, "1", True])
def test_a_number_must_be_finite_and_not_negative(name: str, value: object) -> None:
    with pytest.raises(InvalidConfig, match=rf"{name} is .* in model\.gguf, but must be"):
        llama(**{**YARN, name: value})


@pytest.mark.parametrize("name", [name for name in NUMBERS if name != "norm_eps"])
@pytest.mark.parametrize("value", [0.0, 5e-324, 0])
def test_a_divisor_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(InvalidConfig, match=rf"{name} is .* in model\.gguf, but must be from"):
        llama(**{**YARN, name: value})


def test_a_whole_number_passes_for_a_float() -> None:
    assert llama(rope_theta=10000).rope == llama(rope_theta=10000.0).rope


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_kv_heads": 3}, "n_heads 4 is no multiple of n_kv_heads 3"),
        ({"n_heads": 5, "n_kv_heads": 5, "head_dim": None}, "hidden_size 32 is no multiple of n_heads 5"),
        ({"n_layers": 5000}, "n_layers is 5,000 .* from 1 to 4,096"),
        ({"head_dim": 70000}, "head_dim is 70,000 .* from 1 to 65,536"),
        ({"rope_dim": 18}, "rope_dim is 18 .* at most head_dim, 16"),
        ({"rope_dim": 7}, "rope_dim is 7 .* must be even"),
        ({"head_dim": 15}, "rope_dim is 15 .* must be even"),
        ({"rope_scaling": "longrope"}, "rope_scaling is 'longrope' .* known are none, linear and yarn"),
        ({"rope_scaling": "yarn"}, "lacks the hyperparameter rope_original_context"),
        ({"rope_frequency_factors": (1.0,) * 7}, "must be 8 positive numbers"),
        ({"rope_frequency_factors": (1.0,) * 7 + (0.0,)}, "must be 8 positive numbers"),
        ({"rope_frequency_factors": (1.0,) * 7 + (math.nan,)}, "must be 8 positive numbers"),
        ({"rope_frequency_factors": 2.0}, "must be 8 positive numbers"),
    ],
)
def test_a_contradiction_is_explained(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        llama(**changes)


def test_the_head_width_comes_from_the_hidden_size() -> None:
    assert llama(head_dim=None).head_dim == 8


def test_without_key_heads_of_its_own_a_model_has_as_many_as_heads() -> None:
    assert llama(n_kv_heads=None).n_kv_heads == 4


# Architectures


def test_an_unknown_architecture_names_the_known_ones() -> None:
    with pytest.raises(UnknownArchitecture, match=r"x\.gguf holds .* 'mamba', which is not known\. Known: llama"):
        architecture("mamba", "x.gguf")


def test_a_mixture_of_experts_is_refused() -> None:
    with pytest.raises(UnknownArchitecture, match=r"model\.gguf holds a mixture of 8 experts"):
        llama(n_experts=8)


def test_every_architecture_is_found_by_its_name() -> None:
    for name, found in ARCHITECTURES.items():
        assert architecture(name, "x.gguf") is found


VARIANTS: list[dict[str, Any]] = [
    {},
    {"attention_bias": True},
    {"output_bias": True, "mlp_bias": True},
    {"tied_output": False},
    {"n_layers": 1, "n_kv_heads": 1, "sliding_window": 3},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_llama_needs_exactly_the_weights_that_one_has(options: dict[str, Any]) -> None:
    h, tensors = random_llama(1, **options)
    c = config(Fields(h, "model.gguf"), tensors)
    assert weights(c) == {name: tensor.shape for name, tensor in tensors.items()}


def test_one_name_cannot_have_two_shapes() -> None:
    g = Graph()
    x = g.embed("w", vocab_size=8, width=4)
    with pytest.raises(ValueError, match="weight w is used as"):
        g.linear(x, "w", 9)
