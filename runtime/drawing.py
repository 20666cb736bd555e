"""Drawing the tokens of an answer: prefill, then decode with steps under way; on another device where one is lost."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from .engine.decode import Decoder, Step
from .engine.engine import Engine
from .engine.prefill import PrefillCancelled, prefill_and_sample
from .engine.results import StepResult
from .engine.sequence import SamplingState, Sequence
from .errors import DeviceLost

RUN_AHEAD = 2  # steps under way while a token is handed out

Cancelled = Callable[[], bool]
Recover = Callable[[], Awaitable[Engine]]
Progress = Callable[[int, int], None]  # prompt tokens done, prompt tokens in all


@dataclass
class Seat:
    """Where an answer is computed: after its device was lost, on another."""

    engine: Engine
    sequence: Sequence
    recover: Recover | None

    async def move(self) -> bool:
        """Give the sequence's tokens to an engine on another device; False where there is nobody to make one."""
        if self.recover is None:
            return False
        tokens = self.sequence.tokens
        self.engine = await self.recover()
        self.sequence = self.engine.open_sequence()
        self.engine.set_tokens(self.sequence, tokens)
        return True


async def drawn_tokens(
    seat: Seat, state: SamplingState, limit: int, n_top: int, cancelled: Cancelled, progress: Progress | None
) -> AsyncGenerator[StepResult, None]:
    """Up to `limit` drawn tokens. Where the device is lost, they are computed again on another, and more follow there.

    Raises DeviceLost where there is no other, or that one is lost as well before it draws anything.
    """
    drawn, drawn_before, given_up = 0, -1, False
    while True:
        seat.engine.set_sampling(seat.sequence, state)
        try:
            tokens = _tokens(seat.engine, seat.sequence, limit - drawn, n_top, cancelled, progress)
            async with aclosing(tokens):
                async for result in tokens:
                    drawn += 1
                    try:
                        yield result
                    except GeneratorExit:
                        given_up = True
                        raise
            return
        except DeviceLost:
            if given_up:
                return
            if drawn == drawn_before or not await seat.move():
                raise
            drawn_before = drawn


async def _tokens(
    engine: Engine,
    sequence: Sequence,
    limit: int,
    n_top: int,
    cancelled: Cancelled,
    progress: Progress | None,
) -> AsyncGenerator[StepResult, None]:
    """Up to `limit` drawn tokens, each yielded when the next steps are already under way."""

    def go_on(done: int, total: int) -> bool:
        if progress is not None:
            progress(done, total)
        return not cancelled()

    if cancelled():
        return
    try:
        result = await prefill_and_sample(engine, sequence, n_top=n_top, progress=go_on)
    except PrefillCancelled:
        return
    yield result  # before the decode plan is made, which at its first use takes longer than a step
    if limit == 1 or result.ended or cancelled():
        return
    decoder = await Decoder.open(engine, [sequence])
    steps: deque[Step] = deque()
    drawn = submitted = 1
    try:
        while drawn < limit and not result.ended and not cancelled():
            while submitted < limit and len(steps) <= RUN_AHEAD:
                steps.append(decoder.submit(n_top=n_top))
                submitted += 1
            result = (await decoder.read(steps.popleft()))[0]
            drawn += 1
            yield result
    finally:
        await decoder.drain(steps)
