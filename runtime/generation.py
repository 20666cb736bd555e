"""Answers: a prompt's tokens in, text out as it comes, and how it ended."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from .drawing import Cancelled, Progress, Recover, Seat, drawn_tokens
from .engine.engine import Engine
from .engine.results import StepResult
from .engine.sequence import MAX_END_TOKENS, SamplingState
from .errors import ContextFull, InvalidOption
from .log import event
from .planner.choice import Arithmetic, KernelChoice, KvDtype
from .reasoning import Reasoning, ReasoningSplit
from .sampling import Sampling, plain_number
from .stops import StopStrings
from .tokenizer import TextStream, Tokenizer

WINDOW_SEED = 0x9E3779B9  # added to the seed at each shift of the context

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class TokenLogprobs:
    """A token of an answer with its log probability, and the likeliest tokens in its place, the likeliest first."""

    token: int
    logprob: float  # natural, of the logits after penalties and bias, before top_k and its like
    top: tuple[tuple[int, float], ...] = ()  # (token, log probability)


@dataclass(frozen=True)
class Chunk:
    """A piece of an answer. Text is held back while it may be half a character, or begin a stop string or a mark.

    The last one is empty and brings the whole answer: why it ended, what it took.
    """

    text: str
    tokens: tuple[int, ...]  # whose text this is; several where it was held back
    logprobs: tuple[TokenLogprobs, ...] = ()  # of these tokens, if asked for
    completion: "Completion | None" = None  # in the last chunk
    reasoning: str = ""  # of a chat: what the model writes to itself before it answers


@dataclass(frozen=True)
class Usage:
    """Tokens of a request. Of the prompt's, `reused_tokens` were found in the KV cache."""

    prompt_tokens: int  # BOS and the marks of a chat included
    completion_tokens: int
    reused_tokens: int  # that were not computed again


@dataclass(frozen=True)
class Timings:
    """How fast an answer was, in seconds and tokens per second."""

    time_to_first_token: float  # from when the model turned to this request
    prefill_tokens_per_second: float  # of the prompt, reused tokens apart
    decode_tokens_per_second: float  # of the answer, from its second token on


@dataclass(frozen=True)
class Provenance:
    """What computed an answer: where all of this is the same, a seed gives the same answer to the same prompt.

    What earlier answers left in the KV cache may differ in its last bits; `reuse_prefix=False` leaves it out.
    """

    adapter: str  # its name
    backend: str  # "Vulkan", "Metal", "D3D12"
    driver: str  # and its version
    version: str  # of shaderlm
    kv_dtype: KvDtype  # precision of the KV cache
    arithmetic: Arithmetic  # exact: activations as they are; fast: some are rounded to bytes. Sums are f32
    kernels: KernelChoice  # variants and tile sizes


@dataclass(frozen=True)
class Completion:
    """A whole answer."""

    text: str  # up to the stop string that ended it
    tokens: tuple[int, ...]  # without the end token, with those of a stop string
    finish_reason: FinishReason  # "stop", "length" or "cancelled"
    usage: Usage
    timings: Timings
    seed: int  # gives the same answer again, where `provenance` is the same
    provenance: Provenance  # one object for all answers of a model
    logprobs: tuple[TokenLogprobs, ...] = ()  # one for each token, if asked for
    reasoning: str = ""  # of a chat: what came before the text, without its marks; never in the text


@dataclass(frozen=True)
class Request:
    """What to generate from. `max_tokens=None` goes on to the end of the context."""

    prompt: Sequence[int]
    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    end_tokens: tuple[int, ...] = ()
    on_context_full: Literal["error", "shift"] = "error"
    reuse_prefix: bool = True
    continues: bool = False  # the prompt ends in mid-text, so that a first space belongs to the answer
    reasoning: Reasoning | None = None  # how it is told from the answer; None leaves all text in one


@dataclass
class Answer:
    """An answer in the making."""

    request: Request
    seed: int
    provenance: Provenance
    started: float = field(default_factory=time.perf_counter)
    first_token: float = 0.0
    text: str = ""
    reasoning: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    reused: int = 0

    def completion(self, reason: FinishReason) -> Completion:
        """The answer as it stands."""
        now = time.perf_counter()
        first = self.first_token or now
        prompt = len(self.request.prompt)
        decoded = len(self.tokens) - 1
        return Completion(
            self.text,
            tuple(self.tokens),
            reason,
            Usage(prompt, len(self.tokens), self.reused),
            Timings(
                first - self.started,
                (prompt - self.reused) / max(first - self.started, 1e-9),
                decoded / max(now - first, 1e-9) if decoded > 0 else 0.0,
            ),
            self.seed,
            self.provenance,
            tuple(self.logprobs),
            reasoning=self.reasoning,
        )


async def generate(
    engine: Engine,
    tokenizer: Tokenizer | None,
    request: Request,
    *,
    provenance: Provenance,
    cancelled: Cancelled = lambda: False,
    progress: Progress | None = None,
    recover: Recover | None = None,
) -> AsyncGenerator[Chunk | Completion, None]:
    """Chunks as they come, and last the Completion. `recover` makes an engine after the device was lost.

    Raises PromptTooLong, ContextFull (with the answer so far), InvalidOption, OutOfMemory, DeviceLost.
    """
    check(request, engine)
    sampling = request.sampling.with_seed()
    answer = Answer(request, sampling.seed or 0, provenance)
    writer = _Writer(tokenizer, request, answer)
    seat = Seat(engine, engine.open_sequence(), recover)
    kept = False
    try:
        if request.reuse_prefix:
            answer.reused = engine.take_up_prefix(seat.sequence, request.prompt)
        prompt, windows = list(request.prompt), 0
        while True:
            room = engine.deployment.context - len(prompt) + 1
            left = None if request.max_tokens is None else request.max_tokens - len(answer.tokens)
            limit = room if left is None else min(room, left)
            seat.engine.set_tokens(seat.sequence, prompt)
            # Positions come again after a shift, and each draw is a hash of seed and position.
            window_sampling = replace(sampling, seed=(answer.seed + windows * WINDOW_SEED) % (1 << 32))
            state = sampling_state(window_sampling, request.end_tokens, len(prompt) + limit - 1)
            reason: FinishReason | None = None
            drawn = drawn_tokens(seat, state, limit, sampling.logprobs or 0, cancelled, progress)
            async with aclosing(drawn):
                async for result in drawn:
                    answer.first_token = answer.first_token or time.perf_counter()
                    chunk, reason = writer.push(result)
                    if chunk is not None:
                        yield chunk
                    if reason is not None:
                        break
            if reason is None and cancelled():
                reason = "cancelled"
            if reason is None and limit == left:
                reason = "length"
            if reason is not None or request.on_context_full == "error":
                break
            prompt, windows = seat.sequence.tokens[-max(1, engine.deployment.context // 2) :], windows + 1
            seat.engine.forget(seat.sequence)
        kept = True
        chunk = writer.flush()
        if chunk is not None:
            yield chunk
        if reason is None:
            raise ContextFull(
                f"The context of {engine.deployment.context:,} tokens is full; {len(answer.tokens):,} of them are "
                'the answer\'s. Load the model with a larger context, or pass on_context_full="shift".',
                partial=answer.completion("length"),
            )
        completion = answer.completion(reason)
        event("answer", end=reason, **asdict(completion.usage), **asdict(completion.timings), seed=answer.seed)
        yield completion
    finally:
        seat.engine.close_sequence(seat.sequence, keep=kept and request.reuse_prefix)


def check(request: Request, engine: Engine) -> None:
    """Raise InvalidOption or PromptTooLong for what can't be generated from."""
    vocab_size = engine.vocabulary.size
    if not request.prompt:
        raise InvalidOption("The prompt is empty: it needs at least one token.")
    for token in request.prompt:
        if not 0 <= token < vocab_size:
            raise InvalidOption(f"The prompt holds token {token}; this model has 0 to {vocab_size - 1}.")
    if request.max_tokens is not None and (plain_number(request.max_tokens, whole=True) or 0) < 1:
        raise InvalidOption(f"max_tokens: must be a whole number from 1 on, or None, not {request.max_tokens!r}.")
    if request.on_context_full not in ("error", "shift"):
        raise InvalidOption(f'on_context_full: must be "error" or "shift", not {request.on_context_full!r}.')
    engine.deployment.check_length(len(request.prompt))


def sampling_state(sampling: Sampling, end_tokens: tuple[int, ...], last_position: int) -> SamplingState:
    """The options of a request in the engine's numbers."""
    return SamplingState(
        seed=sampling.seed or 0,
        top_k=sampling.top_k,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        repeat_penalty=sampling.repeat_penalty,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
        repeat_last_n=sampling.repeat_last_n,
        logit_bias=dict(sampling.logit_bias),
        last_position=last_position,
        end_tokens=end_tokens[:MAX_END_TOKENS],  # of any more the host takes notice
    )


class _Writer:
    """Turns drawn tokens into chunks of text, and finds where the answer ends."""

    def __init__(self, tokenizer: Tokenizer | None, request: Request, answer: Answer) -> None:
        self.stream: TextStream | None = tokenizer.stream(continues=request.continues) if tokenizer else None
        self.stops = StopStrings(request.stop)  # of the answer; reasoning passes them by
        how = request.reasoning
        self.split = ReasoningSplit(how.marks, opened=how.opened) if how else None
        self.marks = how.tokens if how else {}
        self.request = request
        self.answer = answer
        self.stopped = False
        self.pending: list[TokenLogprobs] = []  # tokens whose text has not been shown

    def push(self, result: StepResult) -> tuple[Chunk | None, FinishReason | None]:
        """A chunk, if there is something to show, and a reason, if the answer ends with this token."""
        if result.token in self.request.end_tokens:
            return None, "stop"
        entry = TokenLogprobs(result.token, result.log_probability, result.top[: self.request.sampling.logprobs or 0])
        self.pending.append(entry)
        self.answer.tokens.append(result.token)
        if self.request.sampling.logprobs is not None:
            self.answer.logprobs.append(entry)
        if self.stream is None:
            return self._chunk(""), None
        reasoning, text = self._split(self._mark(result.token) or self.stream.push(result.token))
        text, self.stopped = self.stops.push(text)
        chunk = self._chunk(text, reasoning) if text or reasoning or self.stopped else None
        return chunk, ("stop" if self.stopped else None)

    def flush(self) -> Chunk | None:
        """What was held back, now that nothing follows; nothing behind a stop string."""
        if self.stream is None or self.stopped:
            return None
        reasoning, text = self._split(self.stream.flush())
        text, stopped = self.stops.push(text + (self.split.flush() if self.split else ""))
        text += "" if stopped else self.stops.flush()
        return self._chunk(text, reasoning) if text or reasoning or self.pending else None

    def _mark(self, token: int) -> str:
        """The text of a special token that begins or ends the reasoning."""
        mark = self.marks.get(token, "")
        return mark if self.split and mark == self.split.awaited else ""

    def _split(self, text: str) -> tuple[str, str]:
        """Reasoning and answer."""
        return self.split.push(text) if self.split else ("", text)

    def _chunk(self, text: str, reasoning: str = "") -> Chunk:
        self.answer.text += text
        self.answer.reasoning += reasoning
        entries, self.pending = tuple(self.pending), []
        wanted = self.request.sampling.logprobs is not None
        return Chunk(text, tuple(entry.token for entry in entries), entries if wanted else (), reasoning=reasoning)
