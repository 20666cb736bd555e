"""What every decoder has in common: its sizes, read and checked from a checkpoint's hyperparameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..errors import InvalidConfig

T = TypeVar("T")

# Far from any real model. What a broken file claims must not become a graph of a billion layers, or an overflow.
INTEGER_LIMIT = 2**31 - 1
LAYER_LIMIT = 4096
HEAD_DIM_LIMIT = 65536
SMALLEST_NUMBER, NUMBER_LIMIT = 1e-6, 1e12


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder-only transformer."""

    vocab_size: int
    context_length: int  # positions that the model was trained for
    hidden_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    intermediate_size: int
    norm_eps: float


class Fields:
    """Typed look-ups in a checkpoint's hyperparameters.

    Raises InvalidConfig with the field's name, its value and the file.
    """

    def __init__(self, values: Mapping[str, object], file: str) -> None:
        self.values = values
        self.file = file

    def integer(self, name: str, default: int | None = None, minimum: int = 1, maximum: int = INTEGER_LIMIT) -> int:
        value = self._get(name, int, default)
        if not minimum <= value <= maximum:
            raise InvalidConfig(f"{name} is {value:,} in {self.file}, but must be from {minimum:,} to {maximum:,}.")
        return value

    def number(
        self, name: str, default: float | None = None, minimum: float = SMALLEST_NUMBER, maximum: float = NUMBER_LIMIT
    ) -> float:
        value = self.values.get(name)
        number = float(value) if type(value) is int else self._get(name, float, default)
        if not minimum <= number <= maximum:
            raise InvalidConfig(f"{name} is {number} in {self.file}, but must be from {minimum} to {maximum}.")
        return number

    def flag(self, name: str, default: bool) -> bool:
        return self._get(name, bool, default)

    def _get(self, name: str, kind: type[T], default: T | None) -> T:
        value = self.values.get(name)
        if value is None:
            if default is None:
                raise InvalidConfig(
                    f"{self.file} lacks the hyperparameter {name}, which its architecture needs. "
                    "Convert the model again, or take another file of it."
                )
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InvalidConfig(f"{name} is {value!r:.80} in {self.file}, but must be of type {kind.__name__}.")
        return value


def decoder_sizes(fields: Fields) -> dict[str, int | float]:
    """The arguments of DecoderConfig."""
    n_heads = fields.integer("n_heads")
    n_kv_heads = fields.integer("n_kv_heads", n_heads)
    hidden_size = fields.integer("hidden_size")
    if n_heads % n_kv_heads:
        raise InvalidConfig(f"n_heads {n_heads} is no multiple of n_kv_heads {n_kv_heads} in {fields.file}.")
    if "head_dim" not in fields.values and hidden_size % n_heads:
        raise InvalidConfig(f"hidden_size {hidden_size} is no multiple of n_heads {n_heads} in {fields.file}.")
    return {
        "vocab_size": fields.integer("vocab_size"),
        "context_length": fields.integer("context_length"),
        "hidden_size": hidden_size,
        "n_layers": fields.integer("n_layers", maximum=LAYER_LIMIT),
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "head_dim": fields.integer("head_dim", hidden_size // n_heads, maximum=HEAD_DIM_LIMIT),
        "intermediate_size": fields.integer("intermediate_size"),
        "norm_eps": fields.number("norm_eps", minimum=0.0),
    }
