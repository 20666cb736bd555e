"""What a step gives back: for every row a token, and the likeliest tokens where they were asked for."""

import struct
from dataclasses import dataclass

from ..planner.lower_sampling import MAX_TOP

TOP_BYTES = 8 * MAX_TOP  # ids and log probabilities of a row


@dataclass(frozen=True)
class StepResult:
    """A drawn token. `top` are the likeliest tokens with their log probabilities, the likeliest first."""

    token: int
    log_probability: float  # of the token, by the softmax of the logits that it was drawn from, before any cut
    position: int
    ended: bool  # by an end token, or because it stands at the last position
    top: tuple[tuple[int, float], ...] = ()


def results_bytes(outputs: int, n_top: int) -> int:
    """Bytes to read for a step: 16 a row, and 8 for every alternative."""
    if n_top == 0:
        return 16 * outputs
    return 16 * outputs + TOP_BYTES * (outputs - 1) + 8 * n_top


def read_results(data: bytes, rows: int, outputs: int, n_top: int) -> list[StepResult]:
    """The first `rows` results of a plan with `outputs`."""
    results = []
    for m in range(rows):
        token, log_probability, position, ended = struct.unpack_from("<IfII", data, 16 * m)
        first = 16 * outputs + TOP_BYTES * m
        top = tuple(struct.unpack_from("<If", data, first + 8 * i) for i in range(n_top))
        results.append(StepResult(token, log_probability, position, bool(ended), top))
    return results
