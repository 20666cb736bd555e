"""Rope frequencies as the kernel wants them: 64-bit binary fractions of a turn per position."""

import math
from fractions import Fraction

from ..errors import InvalidConfig
from ..graph import Rope

MAX_PAIRS = 256

# 1 / (2 pi) to 40 digits, so that every bit of the product with a double is right.
_TURNS_PER_RADIAN = Fraction(1591549430918953357688837633725143620344596, 10**43)


def rope_uniform(rope: Rope | None) -> dict[str, object]:
    """Members of the uniform `Rope` in rope.wgsl. Raises InvalidConfig for a head with too many pairs."""
    frequencies = rope.frequencies if rope is not None else ()
    if len(frequencies) > MAX_PAIRS:
        raise InvalidConfig(f"RoPE turns {len(frequencies)} pairs a head; at most {MAX_PAIRS} are supported.")
    turns = [word for frequency in frequencies for word in _turn(frequency)]
    return {
        "magnitude": rope.magnitude if rope is not None else 1.0,
        "n_pairs": len(frequencies),
        "turns": turns + [0] * (2 * MAX_PAIRS - len(turns)),
    }


def _turn(frequency: float) -> tuple[int, int]:
    fraction = Fraction(frequency) * _TURNS_PER_RADIAN
    bits = math.floor((fraction - math.floor(fraction)) * 2**64)
    return bits >> 32, bits & 0xFFFFFFFF
