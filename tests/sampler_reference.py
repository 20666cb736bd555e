"""The sampler in float64, by sorting: what the one on the GPU must agree with.

Its order is llama.cpp's: penalties, bias, top-k, top-p, min-p, temperature. Of equal logits the lower id comes first.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shaderlm.sampling import Sampling

Logits = npt.NDArray[np.float64]


def adjusted(logits: npt.ArrayLike, sampling: Sampling, history: Sequence[int] = ()) -> Logits:
    """Logits [vocab] after penalties and bias; `history` is the prompt's and the answer's tokens so far."""
    result = np.array(logits, dtype=np.float64)
    window = history[-sampling.repeat_last_n :] if sampling.repeat_last_n else []
    tokens, counts = np.unique(np.asarray(window, dtype=np.int64), return_counts=True)
    seen = result[tokens]
    seen = np.where(seen > 0, seen / sampling.repeat_penalty, seen * sampling.repeat_penalty)
    result[tokens] = seen - counts * sampling.frequency_penalty - sampling.presence_penalty
    for token, bias in sampling.logit_bias.items():
        result[token] += bias
    return result


def softmax(logits: Logits) -> Logits:
    """Shape [n] -> [n]; -inf has probability 0."""
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def kept_in_order(logits: npt.ArrayLike, sampling: Sampling, history: Sequence[int] = ()) -> npt.NDArray[np.int64]:
    """The ids that may be drawn, likeliest first."""
    values = adjusted(logits, sampling, history)
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > -np.inf]
    if sampling.temperature == 0:
        return order[:1]
    if sampling.top_k:
        order = order[: sampling.top_k]
    if sampling.top_p < 1:
        reached = np.cumsum(softmax(values[order])) >= sampling.top_p
        order = order[: int(np.argmax(reached)) + 1] if reached.any() else order
    if sampling.min_p > 0:
        order = order[values[order] >= values[order[0]] + np.log(sampling.min_p)]
    return order


def kept_set(logits: npt.ArrayLike, sampling: Sampling, history: Sequence[int] = ()) -> list[int]:
    """The ids that may be drawn, in ascending order."""
    return sorted(kept_in_order(logits, sampling, history).tolist())


def probabilities(logits: npt.ArrayLike, sampling: Sampling, history: Sequence[int] = ()) -> Logits:
    """With which probability each token is drawn, [vocab]."""
    values = adjusted(logits, sampling, history)
    kept = kept_in_order(logits, sampling, history)
    result = np.zeros_like(values)
    result[kept] = 1.0 if sampling.temperature == 0 else softmax(values[kept] / sampling.temperature)
    return result
