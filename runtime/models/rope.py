"""Frequencies of the rotary position embedding, with linear, Llama 3.1 and YaRN scaling."""

import math

from ..errors import InvalidConfig
from ..graph import Rope
from .decoder import Fields


def rope(fields: Fields, head_dim: int) -> Rope:
    """The turning frequencies of a model: theta^(-2i/d), then its scaling. Raises InvalidConfig.

    `rope_attention_factor` multiplies cosine and sine on top of what the scaling itself asks for.
    """
    dim = fields.integer("rope_dim", head_dim, minimum=2)
    if dim % 2 or dim > head_dim:
        raise InvalidConfig(f"rope_dim is {dim} in {fields.file}, but must be even and at most head_dim, {head_dim}.")
    theta = fields.number("rope_theta", 10000.0, minimum=1.001)
    frequencies = [theta ** (-2 * i / dim) for i in range(dim // 2)]
    factors = fields.values.get("rope_frequency_factors")
    if factors is not None:
        frequencies = _divided(frequencies, factors, fields)
    frequencies, yarn_magnitude = _scaled(frequencies, theta, dim, fields)
    magnitude = yarn_magnitude * fields.number("rope_attention_factor", 1.0)
    return Rope(tuple(frequencies), fields.flag("rope_interleaved", False), magnitude)


def _scaled(plain: list[float], theta: float, dim: int, fields: Fields) -> tuple[list[float], float]:
    """Frequencies and magnitude after the scaling that the model names."""
    kind = fields.values.get("rope_scaling", "none")
    if kind == "none":
        return plain, 1.0
    factor = fields.number("rope_scaling_factor", 1.0)
    if kind == "linear":
        return [f / factor for f in plain], 1.0
    if kind == "yarn":
        return _yarn(plain, theta, dim, factor, fields), 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0
    raise InvalidConfig(f"rope_scaling is {kind!r:.80} in {fields.file}; known are none, linear and yarn.")


def _divided(plain: list[float], factors: object, fields: Fields) -> list[float]:
    """Llama 3.1 gives one divisor per pair, as a tensor."""
    if not isinstance(factors, tuple) or len(factors) != len(plain) or not all(map(_is_divisor, factors)):
        raise InvalidConfig(f"rope_frequency_factors of {fields.file} must be {len(plain)} positive numbers.")
    return [f / divisor for f, divisor in zip(plain, factors, strict=True)]


def _is_divisor(factor: object) -> bool:
    return isinstance(factor, int | float) and factor > 0 and math.isfinite(factor)


def _yarn(plain: list[float], theta: float, dim: int, factor: float, fields: Fields) -> list[float]:
    """YaRN (Peng et al. 2023, section 3.2 and 3.4): slow pairs are interpolated, fast ones kept, a ramp between."""
    original = fields.integer("rope_original_context")
    low = max(math.floor(_pair_of(fields.number("rope_beta_fast", 32.0), theta, dim, original)), 0)
    high = min(math.ceil(_pair_of(fields.number("rope_beta_slow", 1.0), theta, dim, original)), dim - 1)
    extrapolation = fields.number("rope_extrapolation_factor", 1.0, minimum=0.0)
    frequencies = []
    for i, f in enumerate(plain):
        kept = (1 - min(max((i - low) / max(high - low, 0.001), 0.0), 1.0)) * extrapolation
        frequencies.append(f * kept + f / factor * (1 - kept))
    return frequencies


def _pair_of(turns: float, theta: float, dim: int, context: int) -> float:
    """The pair that turns `turns` times within `context` positions."""
    return dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(theta))
