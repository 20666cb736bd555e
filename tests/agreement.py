"""Comparing numbers: by relative or absolute error, with the worst element in the message."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def agree(actual: ArrayLike, expected: ArrayLike, *, rel: float = 0.0, abs: float = 0.0) -> None:
    """Pass where each element is within `rel` of |expected| or within `abs`; else name the worst element.

    Equal infinities agree, a NaN agrees with nothing. Shapes must be equal, and not empty: nothing shows nothing.
    """
    a, e = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert a.shape == e.shape, f"the shapes differ: {a.shape}, expected {e.shape}"
    assert a.size, f"there is nothing to compare in shape {a.shape}"
    excess = _excess(a, e, rel, abs)
    if (excess <= 1).all():
        return
    worst = np.unravel_index(int(np.argmax(excess)), a.shape)
    error = float(np.abs(a[worst] - e[worst]))
    relative = error / float(np.abs(e[worst])) if e[worst] else float("inf")
    raise AssertionError(
        f"{np.count_nonzero(~(excess <= 1))} of {a.size} elements disagree, worst at {tuple(map(int, worst))} "
        f"of {a.shape}: {a[worst]:.9g}, expected {e[worst]:.9g}; "
        f"relative error {relative:.3g} (allowed {rel:.3g}), absolute error {error:.3g} (allowed {abs:.3g})"
    )


def _excess(a: NDArray[np.float64], e: NDArray[np.float64], rel: float, abs: float) -> NDArray[np.float64]:
    """How many times the allowed error each element is off: infinite for a NaN, and where none is allowed."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.where(a == e, 0.0, np.abs(a - e))
        allowed = np.where(np.isfinite(e), np.maximum(abs, rel * np.abs(e)), 0.0)
        excess = np.where(error > 0, error / allowed, error)
    return np.where(np.isnan(excess), np.inf, excess)


def margins(logits: ArrayLike) -> NDArray[np.float64]:
    """How far the largest logit of each row lies above the second, [tokens]; logits is [tokens, vocab]."""
    two = np.partition(np.asarray(logits, dtype=np.float64), -2, axis=-1)[..., -2:]
    return two[..., 1] - two[..., 0]


def agree_on_argmax(actual: ArrayLike, expected: ArrayLike, *, tolerance: float) -> None:
    """Pass if each row's argmax is the expected one wherever the expected top two are over twice `tolerance` apart."""
    a, e = np.asarray(actual), np.asarray(expected)
    assert a.shape == e.shape, f"the shapes differ: {a.shape}, expected {e.shape}"
    margin = margins(e)
    wrong = np.flatnonzero((a.argmax(-1) != e.argmax(-1)) & (margin > 2 * tolerance))
    assert not wrong.size, (
        f"{wrong.size} of {len(e)} rows have another argmax, first row {wrong[0]}: "
        f"{a[wrong[0]].argmax()}, expected {e[wrong[0]].argmax()} with a margin of {margin[wrong[0]]:.3g}"
    )
