"""A loaded model behind both faces: its engine, its tokenizer and its chat template, all in coroutines."""

import operator
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .chat import ChatTemplate
from .drawing import Cancelled, Progress
from .engine.blueprint import blueprint
from .engine.engine import Engine
from .engine.prefill import prefill, prefill_logits
from .engine.self_test import dropped_variants, warning
from .engine.tuning import known_winners, tune, tune_at_load
from .errors import InvalidOption, TokenizerError
from .formats import read_checkpoint
from .formats.checkpoint import Checkpoint
from .generation import Chunk, Completion, Provenance, Request, check, generate
from .host import Adapter, Aside, ByteSource, Gpu, Store, TextCodec, at_once
from .log import event
from .messages import Message
from .options import FOR_TEMPLATES, make_request
from .planner.choice import Arithmetic, KvDtype
from .planner.tuned import Tuned
from .reasoning import Reasoning, is_opened, marks_of
from .sampling import plain_number
from .stages import Stages
from .tokenizer import Tokenizer
from .tokenizer_json import tokenizer_json

Prompt = str | Sequence[int]
MakeCodec = Callable[[Callable[[], Mapping[str, object]]], TextCodec]  # of what makes a tokenizer.json
Reopen = Callable[[], Awaitable[tuple[Gpu, ByteSource]]]
LoadProgress = Callable[[int, int], None]  # bytes of weights on the GPU, bytes in all


@dataclass
class Core:
    """What `load_core` makes. Every coroutine runs where the device lives."""

    name: str
    gpu: Gpu
    engine: Engine
    tokenizer: Tokenizer | None
    chat_template: str | None
    provenance: Provenance
    warnings: tuple[str, ...] = ()  # what a person should know of the device
    reopen: Reopen | None = None  # another device, and the model's bytes again, after the first device was lost
    tuning: Store | None = None  # where finds about kernel variants are kept, if there are to be any
    stages: Stages = field(default_factory=Stages)  # of its start
    _template: ChatTemplate | None = field(default=None, init=False)
    _is_lost: bool = field(default=False, init=False)  # the device, and there is no other yet

    def prompt_request(self, prompt: Prompt, options: Mapping[str, Any]) -> Request:
        """A request to go on from a text or from token ids. Raises InvalidOption, TokenizerError."""
        ids = self.text_tokenizer().encode(prompt, parse_special=True) if isinstance(prompt, str) else _ids(prompt)
        return self._request(ids, options, continues=any(self._is_text(token) for token in ids))

    def chat_request(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Request:
        """A request for the next message of a chat. Raises InvalidOption, TemplateError, TokenizerError."""
        tokenizer = self.text_tokenizer()
        template = self._chat_template(tokenizer)
        tools, arguments = options.get("tools"), options.get("chat_template_kwargs")
        prompt = template.render(messages, tools=tools, arguments=arguments)
        drawing = {name: value for name, value in options.items() if name not in FOR_TEMPLATES}
        request = self._request(tokenizer.encode(prompt, parse_special=True), drawing, continues=False)
        return replace(request, reasoning=reasoning_of(template.source, prompt, tokenizer))

    async def answer(
        self, request: Request, cancelled: Cancelled, progress: Progress | None
    ) -> AsyncGenerator[Chunk | Completion, None]:
        """Chunks, and last the completion."""
        await self._need_device()
        pieces = generate(
            self.engine,
            self.tokenizer,
            request,
            provenance=self.provenance,
            cancelled=cancelled,
            progress=progress,
            recover=self._recover if self.reopen else None,
        )
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def prepare(self) -> None:
        """Make the plans that every answer needs, whose kernels some hosts take seconds to compile."""
        await self.engine.plan("prefill", self.engine.deployment.choice.prefill_rows)
        await self.engine.decode_plan(1)

    async def tune_while(self, idle: Callable[[], bool]) -> bool:
        """Time kernel variants as long as nobody calls; this model's next load takes what is found.

        Returns whether something is left to be timed.
        """
        if self.tuning is None or self._is_lost:
            return False
        return not await tune(self.engine, self.tuning, idle)

    async def _need_device(self) -> None:
        """Another device, where the last one was lost and none could be had yet."""
        if self._is_lost:
            await self._recover()

    async def _recover(self) -> Engine:
        """The model on another device: its weights are read again, its KV cache is empty."""
        assert self.reopen is not None
        lost = self.engine
        if not self._is_lost:
            self._is_lost = True
            lost.close()
            self.gpu.close()
        event("recover", file=self.name, adapter=self.gpu.adapter.name)
        gpu, source = await self.reopen()
        try:
            self.engine = await Engine.load(
                gpu,
                replace(lost.model.checkpoint, source=source),
                context=lost.deployment.context,
                slots=lost.deployment.slots,
                kv_dtype=lost.deployment.kv_dtype,
                arithmetic=lost.arithmetic,
                dropped_variants=lost.dropped_variants,
                tuned=lost.deployment.choice.tuned if gpu.adapter == self.gpu.adapter else (),
            )
        except BaseException:
            gpu.close()
            raise
        finally:
            source.close()
        self.gpu, self._is_lost = gpu, False
        return self.engine

    async def logits(self, prompt: Prompt, *, first: int = 0) -> AsyncIterator[bytes]:
        """Logits after every token of the prompt from `first` on, f32 [rows, vocab] for some rows at a time."""
        request = self.prompt_request(prompt, {})
        check(request, self.engine)
        await self._need_device()
        sequence = self.engine.open_sequence()
        try:
            self.engine.set_neutral_sampling(sequence)
            self.engine.set_tokens(sequence, request.prompt[:first])
            await prefill(self.engine, sequence)
            self.engine.set_tokens(sequence, request.prompt)
            async for rows in prefill_logits(self.engine, sequence):
                yield rows
        finally:
            self.engine.close_sequence(sequence, keep=False)

    async def close(self) -> None:
        """Free everything of this model, and the device."""
        if not self._is_lost:
            self.engine.close()
            self.gpu.close()

    def text_tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises TokenizerError where the file has none."""
        if self.tokenizer is None:
            raise TokenizerError(f"{self.name} has no tokenizer: give its prompts as token ids.")
        return self.tokenizer

    def _is_text(self, token: int) -> bool:
        """Whether a token of a prompt is text that an answer goes on from, and no mark such as BOS."""
        if self.tokenizer is None or not 0 <= token < self.tokenizer.vocab_size:
            return True
        return not self.tokenizer.is_special(token)

    def _request(self, ids: Sequence[int], options: Mapping[str, Any], *, continues: bool) -> Request:
        ends = self.tokenizer.eos_ids if self.tokenizer is not None else ()
        request = make_request(ids, options, end_tokens=ends, continues=continues)
        check(request, self.engine)
        return request

    def _chat_template(self, tokenizer: Tokenizer) -> ChatTemplate:
        if self._template is None:
            bos = "" if tokenizer.bos_id is None else tokenizer.token_bytes(tokenizer.bos_id).decode()
            eos = tokenizer.token_bytes(tokenizer.eos_ids[0]).decode() if tokenizer.eos_ids else ""
            self._template = ChatTemplate(self.chat_template, bos_token=bos, eos_token=eos)
        return self._template


async def load_core(
    source: ByteSource,
    gpu: Gpu,
    make_codec: MakeCodec,
    store: Store | None,
    *,
    context: int | None,
    kv_dtype: KvDtype,
    arithmetic: Arithmetic = "exact",
    slots: int = 1,
    tuning: bool = False,
    progress: LoadProgress | None = None,
    reopen: Reopen | None = None,
    aside: Aside = at_once,
    stages: Stages | None = None,
) -> Core:
    """Read a model's file and put it on a device; its kernels are tested first if there is a `store` for the finds.

    With `tuning` it computes by the fastest of their variants, as far as these are known or found within a second.
    With `reopen` answers survive the loss of a device. `aside` makes the tokenizer meanwhile. `stages` has what was
    done before this, and gets the rest.
    """
    _check_options(context, kv_dtype, arithmetic)
    started = time.perf_counter()
    stages = Stages() if stages is None else stages
    with stages.stage("header"):
        checkpoint = await read_checkpoint(source)

    def tokenizer_of_file() -> Tokenizer | None:
        with stages.stage("tokenizer"):
            return make_tokenizer(checkpoint, make_codec)

    making_tokenizer = aside(tokenizer_of_file)
    total = sum(tensor.size for tensor in checkpoint.tensors.values())
    done = 0

    def uploaded(size: int) -> None:
        nonlocal done
        done += size
        if making_tokenizer.done():
            making_tokenizer.result()  # one that cannot be made is told before everything is on the GPU
        if progress is not None:
            progress(done, total)

    dropped: frozenset[str] = frozenset()
    tuned: Sequence[Tuned] = ()
    if store is not None:
        uploaded(0)  # from here on a bar may be shown
        types = dict.fromkeys(tensor.type for tensor in checkpoint.tensors.values() if len(tensor.shape) > 1)
        with stages.stage("self-test"):
            dropped = await dropped_variants(gpu, store, types, kv_dtype, arithmetic)
        if tuning:
            tuned = await known_winners(blueprint(checkpoint), gpu.adapter, store, dropped, kv_dtype, arithmetic)
    engine = await Engine.load(
        gpu,
        checkpoint,
        context=context,
        slots=slots,
        kv_dtype=kv_dtype,
        arithmetic=arithmetic,
        dropped_variants=dropped,
        tuned=tuned,
        progress=uploaded,
        stages=stages,
    )
    finds = store if tuning else None
    try:
        with stages.stage("waiting for the tokenizer"):
            tokenizer = making_tokenizer.result()
        if finds is not None:
            with stages.stage("tuning"):
                await tune_at_load(engine, finds)
    except BaseException:
        engine.close()
        raise
    template = checkpoint.tokenizer.chat_template if checkpoint.tokenizer else None
    _log_load(engine, asked=context, seconds=time.perf_counter() - started, stages=stages)
    told = warning(gpu.adapter, dropped)
    warnings = (told,) if told else ()
    return Core(
        checkpoint.name, gpu, engine, tokenizer, template, provenance_of(engine), warnings, reopen, finds, stages
    )


def provenance_of(engine: Engine) -> Provenance:
    """What all answers of a loaded model are computed by."""
    from importlib.metadata import version  # tens of milliseconds, which only a load pays

    adapter, deployment = engine.gpu.adapter, engine.deployment
    return Provenance(
        adapter.name,
        adapter.backend,
        adapter.driver,
        version("shaderlm"),
        deployment.kv_dtype,
        engine.model.arithmetic(deployment),
        deployment.choice,
    )


async def check_core(
    source: ByteSource,
    adapter: Adapter,
    available: int | None,
    make_codec: MakeCodec,
    *,
    context: int | None,
    kv_dtype: KvDtype,
    arithmetic: Arithmetic = "exact",
) -> None:
    """Raise what would keep a model from running on an adapter, as far as its headers tell it.

    `available` are the bytes that may be taken, None where nobody knows.
    """
    _check_options(context, kv_dtype, arithmetic)
    checkpoint = await read_checkpoint(source)
    make_tokenizer(checkpoint, make_codec)
    model = blueprint(checkpoint)
    deployment = model.fitting(adapter, available, context=context, kv_dtype=kv_dtype, arithmetic=arithmetic)
    model.check_adapter(deployment, adapter)


def _check_options(context: int | None, kv_dtype: KvDtype, arithmetic: Arithmetic) -> None:
    """Raise InvalidOption for what a model cannot be loaded with."""
    if kv_dtype not in ("f16", "f32"):
        raise InvalidOption(f'kv_dtype: must be "f16" or "f32", not {kv_dtype!r}.')
    if arithmetic not in ("exact", "fast"):
        raise InvalidOption(f'arithmetic: must be "exact" or "fast", not {arithmetic!r}.')
    if context is not None and (plain_number(context, whole=True) or 0) < 2:
        raise InvalidOption(f"context: must be a whole number from 2 on, or None, not {context!r}.")


def reasoning_of(template: str, prompt: str, tokenizer: Tokenizer) -> Reasoning | None:
    """How the answer to a prompt that `template` wrote tells its reasoning; None where nothing names marks for it."""
    marks = marks_of(template, lambda mark: tokenizer.token_of(mark) is not None)
    if marks is None:
        return None
    ids = {mark: tokenizer.token_of(mark) for mark in (marks.begin, marks.end)}
    special = {id: mark for mark, id in ids.items() if id is not None and tokenizer.is_special(id)}
    return Reasoning(marks, is_opened(prompt, marks), special)


def make_tokenizer(checkpoint: Checkpoint, make_codec: MakeCodec) -> Tokenizer | None:
    """The checkpoint's tokenizer, if it has one. Raises TokenizerError."""
    data = checkpoint.tokenizer
    try:
        return None if data is None else Tokenizer(data, make_codec(lambda: tokenizer_json(data)))
    except TokenizerError as error:
        raise TokenizerError(f"The tokenizer of {checkpoint.name} cannot be used. {error}") from error


def _log_load(engine: Engine, *, asked: int | None, seconds: float, stages: Stages) -> None:
    own, taken = engine.model.config.context_length, engine.deployment.context
    why = "asked for" if asked is not None else "the model's own" if taken == own else "what memory allows"
    event(
        "load",
        file=engine.model.checkpoint.name,
        adapter=engine.gpu.adapter.name,
        seconds=round(seconds, 3),
        stages={name: round(took, 3) for name, took in stages.seconds().items()},
        context=taken,
        context_is=why,
        model_context=own,
        kv_dtype=engine.deployment.kv_dtype,
        memory=asdict(engine.memory),
        kernels=asdict(engine.deployment.choice),
    )


def _ids(prompt: Sequence[int]) -> list[int]:
    try:
        if isinstance(prompt, bytes | bytearray):  # numbers too, but surely meant as text
            raise TypeError
        return [operator.index(token) for token in prompt]
    except TypeError as error:
        raise InvalidOption(f"The prompt must be a text or token ids, not {prompt!r:.80}.") from error
