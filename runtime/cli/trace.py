"""What each layer makes of a prompt, printed for --trace."""

from collections.abc import Sequence

from ..core import Core
from ..engine.trace import Spread, Trace, trace_prefill
from ..messages import Message
from ..model import Model
from ..options import ChatOptions
from .loading import prompt_ids
from .terminal import note, warn


def show_trace(model: Model, prompt: str | Sequence[Message], options: ChatOptions | None = None) -> None:
    """Print the residual stream's range and NaNs behind every layer, and the likeliest next tokens, on stderr."""
    ids = prompt_ids(model, prompt, options)

    async def trace(core: Core) -> Trace:
        return await trace_prefill(core.engine, ids)

    traced = model.run_on_engine(trace)
    note(f"trace of {len(ids):,} tokens: {ids if len(ids) <= 20 else f'{ids[:10]} ... {ids[-10:]}'}")
    note(f"  {'':10} {'min':>12} {'max':>12} {'NaN':>8}")
    for spread in traced.spreads:
        show = warn if is_suspect(spread) else note
        show(f"  {spread.part:10} {spread.minimum:12.4g} {spread.maximum:12.4g} {spread.nans:8,}")
    for token, logit in traced.top:
        text = model.tokenizer.token_bytes(token).decode(errors="replace")
        note(f"  {logit:10.3f}  {token:6}  {text!r}")


def is_suspect(spread: Spread) -> bool:
    """Whether no working model makes such values: NaN, infinity, or nothing but zeros."""
    finite = abs(spread.minimum) < float("inf") and abs(spread.maximum) < float("inf")
    return spread.nans > 0 or not finite or spread.minimum == spread.maximum
