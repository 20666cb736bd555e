"""Frequencies of the rotary position embedding, with every scaling in use."""

import math

from ..errors import InvalidConfig
from ..graph import Rope
from .decoder import Fields


def rope(fields: Fields, head_dim: int) -> Rope:
    """The turning frequencies of a model: theta^(-2i/d), then its scaling. Raises InvalidConfig."""
    dim = fields.integer("rope_dim", head_dim, minimum=2)
    if dim % 2 or dim > head_dim:
        raise InvalidConfig(f"rope_dim is {dim} in {fields.file}, but must be even and at most head_dim, {head_dim}.")
    theta = fields.number("rope_theta", 10000.0)
    if not (theta > 0 and math.isfinite(theta)):
        raise InvalidConfig(f"rope_theta is {theta} in {fields.file}, but must be positive.")
    plain = [theta ** (-2 * i / dim) for i in range(dim // 2)]
    interleaved = fields.flag("rope_interleaved", False)
    factors = fields.values.get("rope_frequency_factors")
    if factors is not None:
        plain = _divided(plain, factors, fields)
    kind = fields.values.get("rope_scaling", "none")
    if kind == "none":
        return Rope(tuple(plain), interleaved)
    factor = fields.number("rope_scaling_factor", 1.0)
    if not (factor > 0 and math.isfinite(factor)):
        raise InvalidConfig(f"rope_scaling_factor is {factor} in {fields.file}, but must be positive.")
    if kind == "linear":
        return Rope(tuple(f / factor for f in plain), interleaved)
    if kind == "yarn":
        return _yarn(plain, theta, dim, factor, fields, interleaved)
    raise InvalidConfig(f"rope_scaling is {kind!r} in {fields.file}; known are none, linear and yarn.")


def _divided(plain: list[float], factors: object, fields: Fields) -> list[float]:
    """Llama 3.1 gives one divisor per pair, as a tensor."""
    if not isinstance(factors, tuple) or len(factors) != len(plain) or not all(f > 0 for f in factors):
        raise InvalidConfig(f"rope_frequency_factors of {fields.file} must be {len(plain)} positive numbers.")
    return [f / divisor for f, divisor in zip(plain, factors, strict=True)]


def _yarn(plain: list[float], theta: float, dim: int, factor: float, fields: Fields, interleaved: bool) -> Rope:
    """YaRN (Peng et al. 2023, section 3.2 and 3.4): slow pairs are interpolated, fast ones kept, a ramp between."""
    original = fields.integer("rope_original_context")
    beta_fast = fields.number("rope_beta_fast", 32.0)
    beta_slow = fields.number("rope_beta_slow", 1.0)
    low = max(math.floor(_pair_of(beta_fast, theta, dim, original)), 0)
    high = min(math.ceil(_pair_of(beta_slow, theta, dim, original)), dim - 1)
    frequencies = []
    for i, f in enumerate(plain):
        interpolated = min(max((i - low) / max(high - low, 0.001), 0.0), 1.0)
        frequencies.append(f * (1 - interpolated) + f / factor * interpolated)
    magnitude = fields.number("rope_attention_factor", 1.0) * (0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0)
    return Rope(tuple(frequencies), interleaved, magnitude)


def _pair_of(turns: float, theta: float, dim: int, context: int) -> float:
    """The pair that turns `turns` times within `context` positions."""
    return dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(theta))
