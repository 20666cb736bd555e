"""How the next token is drawn: the options of one request, checked."""

import dataclasses
import math
import numbers
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import InvalidOption

LARGEST_INTEGER = (1 << 31) - 1
SMALLEST_TEMPERATURE = 1e-6  # below it logits / temperature leaves f32; 0 is greedy


@dataclass(frozen=True)
class Range:
    """The values of an option: from `low` to `high`, both allowed."""

    low: float
    high: float
    whole: bool = False
    optional: bool = False
    note: str = ""

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        ends = f"{kind} from {self.low:,} to {self.high:,}"
        return ends + (f" ({self.note})" if self.note else "") + (", or None" if self.optional else "")

    def __contains__(self, value: object) -> bool:
        if value is None:
            return self.optional
        number = plain_number(value, whole=self.whole)
        return number is not None and self.low <= number <= self.high


def plain_number(value: object, *, whole: bool) -> float | None:
    """Any library's number as Python's own, None for what is none: bools, text, and fractions where `whole`."""
    if isinstance(value, bool):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) and not whole else None


RANGES: Mapping[str, Range] = {
    "temperature": Range(0, 1000, note=f"0 is greedy, the next smallest {SMALLEST_TEMPERATURE}"),
    "top_k": Range(0, LARGEST_INTEGER, whole=True, note="0 is off"),
    "top_p": Range(0, 1, note="1 is off"),
    "min_p": Range(0, 1, note="0 is off"),
    "repeat_penalty": Range(0.01, 100, note="1 is off"),
    "frequency_penalty": Range(-100, 100, note="0 is off"),
    "presence_penalty": Range(-100, 100, note="0 is off"),
    "repeat_last_n": Range(0, LARGEST_INTEGER, whole=True, note="0 turns the penalties off"),
    "seed": Range(0, (1 << 32) - 1, whole=True, optional=True),
    "logprobs": Range(0, 20, whole=True, optional=True),
}
TOKEN_ID = Range(0, LARGEST_INTEGER, whole=True)
BIAS = Range(-1000, 1000, note="or -inf, which bans the token")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The options of drawing, applied in this order, which is llama.cpp's: penalties, logit_bias, top_k, top_p, min_p,
    temperature. Raises InvalidOption for a value outside its range.
    """

    temperature: float = 0.8  # logits are divided by it; 0: always the likeliest token
    top_k: int = 40  # keep the k likeliest
    top_p: float = 0.95  # keep the fewest likeliest whose probabilities sum to top_p
    min_p: float = 0.05  # keep what has at least min_p times the likeliest's probability
    repeat_penalty: float = 1.0  # a repeated token's logit is divided by it, a negative one multiplied
    frequency_penalty: float = 0.0  # taken off the logit for each time that the token came
    presence_penalty: float = 0.0  # taken off the logit of each token that came
    repeat_last_n: int = 64  # of how many last tokens, prompt included, the penalties know
    seed: int | None = None  # None: another one for every answer
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)  # token id -> added to its logit
    logprobs: int | None = None  # how many likeliest tokens to report with each drawn one

    def __post_init__(self) -> None:
        options = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}
        for name, value in checked_options(options).items():
            object.__setattr__(self, name, value)

    def with_seed(self) -> "Sampling":
        """These options with a seed: its own, or else a random one of 32 bits."""
        return self if self.seed is not None else dataclasses.replace(self, seed=secrets.randbits(32))


def checked_options(options: Mapping[str, object]) -> dict[str, object]:
    """The options as Python's own numbers. Raises InvalidOption with the option, its value and its range."""
    checked: dict[str, object] = {}
    for name, range in RANGES.items():
        value = options[name]
        number = plain_number(value, whole=range.whole)
        too_cold = name == "temperature" and number is not None and 0 < number < SMALLEST_TEMPERATURE
        if value not in range or too_cold:
            raise InvalidOption(f"{name}: must be {range}, not {value!r}.")
        checked[name] = number
    return checked | {"logit_bias": _checked_bias(options["logit_bias"] or {})}


def _checked_bias(biases: object) -> dict[int, float]:
    if not isinstance(biases, Mapping):
        raise InvalidOption(f"logit_bias: must be a mapping from token ids to numbers, not {type(biases).__name__}.")
    checked: dict[int, float] = {}
    for id, bias in biases.items():
        token, number = plain_number(id, whole=True), plain_number(bias, whole=False)
        if token is None or id not in TOKEN_ID:
            raise InvalidOption(f"logit_bias: a token id must be {TOKEN_ID}, not {id!r}.")
        if number is None or (number not in BIAS and number != -math.inf):
            raise InvalidOption(f"logit_bias: the bias of token {id} must be {BIAS}, not {bias!r}.")
        checked[int(token)] = float(number)
    return checked
