"""Cutting an operation of a prefill into dispatches that are each assumed to be short. It changes no number."""

from .plan import FEWEST_KEYS, Extent
from .work import DISPATCH_SECONDS, Work


def shares(n: int, seconds: float) -> list[tuple[int, int]]:
    """(first, count) of as few dispatches as `n` parts of `seconds` each can be done by, about as large as each other.

    A dispatch is assumed to take at most DISPATCH_SECONDS, or is one part.
    """
    fitting = max(1, int(DISPATCH_SECONDS / seconds))
    size = -(-n // -(-n // fitting))
    return [(first, min(size, n - first)) for first in range(0, n, size)]


def head_shares(n_heads: int, rows: int, work: Work, context: int) -> list[tuple[int, Extent]]:
    """(first head, heads) of the dispatches of an attention whose workgroups make a head of a row each.

    While few keys are there it is one dispatch: a GPU is not filled by the workgroups that are short with all of them.
    """
    cut = shares(n_heads, rows * work.seconds(context))
    if len(cut) == 1:
        return [(0, Extent(n_heads))]
    keys = int(DISPATCH_SECONDS / (rows * n_heads * work.per_key))
    few = 1 << keys.bit_length() - 1 if keys >= FEWEST_KEYS else 0  # workgroups are counted for it
    return [(0, Extent(n_heads, up_to_keys=few))] + [(first, Extent(n, above_keys=few)) for first, n in cut]
