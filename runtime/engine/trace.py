"""A look inside a prefill: what each layer makes of a prompt, to find where an answer turns to gibberish."""

import heapq
import operator
from array import array
from collections.abc import Sequence as Tokens
from dataclasses import dataclass

from .engine import Engine
from .prefill import begin_chunk, submit_in_parts
from .programs import LoadedPlan
from .sequence import Sequence


@dataclass(frozen=True)
class Spread:
    """The values of the residual stream behind one part of the model, or the last token's logits."""

    part: str  # "embedding", "layer 0", ..., "logits"
    minimum: float  # NaNs apart; infinities are shown as they are
    maximum: float
    nans: int
    values: int

    def joined(self, other: "Spread") -> "Spread":
        """The spread of both."""
        return Spread(
            self.part,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.nans + other.nans,
            self.values + other.values,
        )


@dataclass(frozen=True)
class Trace:
    """What a prompt looks like on its way. `top` are the likeliest next tokens with their logits."""

    spreads: tuple[Spread, ...]
    top: tuple[tuple[int, float], ...]


async def trace_prefill(engine: Engine, tokens: Tokens[int], *, n_top: int = 10) -> Trace:
    """Run a prompt through the prefill's own plan, layer by layer. Raises PromptTooLong, OutOfMemory, DeviceLost."""
    plan = await engine.plan("prefill", engine.deployment.choice.prefill_rows)
    sequence = engine.open_sequence()
    spreads: list[Spread] = []
    try:
        engine.set_tokens(sequence, tokens)
        engine.set_neutral_sampling(sequence)
        while sequence.length < len(tokens):
            chunk = await _trace_chunk(engine, sequence, plan)
            spreads = [old.joined(new) for old, new in zip(spreads, chunk, strict=True)] if spreads else chunk
        plan.submit(1, sequence.length, start=plan.plan.head, stop=plan.plan.head + 1)
        logits = await _floats(engine, plan, plan.plan.vocab_size, logits=True)
    finally:
        engine.close_sequence(sequence, keep=False)
    top = heapq.nlargest(n_top, range(len(logits)), key=lambda token: _sortable(logits[token]))
    return Trace((*spreads, _spread("logits", logits)), tuple((token, logits[token]) for token in top))


async def _trace_chunk(engine: Engine, sequence: Sequence, plan: LoadedPlan) -> list[Spread]:
    """Compute the next chunk of the prompt and take down the residual stream behind the embedding and every layer."""
    first = sequence.length
    rows = begin_chunk(engine, sequence, plan, every_row=False)
    embedding, *layers = [1, *(end for end in plan.plan.layer_ends if end <= plan.plan.head)]
    spreads = []
    start = 0
    for name, end in [("embedding", embedding), *((f"layer {i}", end) for i, end in enumerate(layers))]:
        await submit_in_parts(engine, plan, rows, first + rows, start, end, lambda done: None)
        spreads.append(_spread(name, await _floats(engine, plan, rows * engine.model.config.hidden_size)))
        start = end
    sequence.length += rows
    return spreads


async def _floats(engine: Engine, plan: LoadedPlan, count: int, *, logits: bool = False) -> "array[float]":
    """The first values of the residual stream, [rows, hidden], or of the logits."""
    place = plan.bound(plan.plan.logits if logits else plan.plan.residual)
    return array("f", await engine.gpu.read_buffer(place.buffer, place.offset, 4 * count))


def _spread(part: str, values: "array[float]") -> Spread:
    nans = sum(map(operator.ne, values, values))
    numbers = [value for value in values if value == value] if nans else values
    return Spread(part, min(numbers, default=float("nan")), max(numbers, default=float("nan")), nans, len(values))


def _sortable(logit: float) -> float:
    """NaN before all: if there is one, it is what is looked for."""
    return logit if logit == logit else float("inf")
