"""The engine: a model's weights, its KV cache and its plans on one device. Text is not its business, tokens are."""

import time
from collections.abc import Collection, Mapping
from collections.abc import Sequence as Tokens
from dataclasses import replace

from ..errors import InvalidOption, OutOfMemory
from ..formats.checkpoint import Checkpoint
from ..host import Buffer, Gpu
from ..log import DEBUG, event
from ..planner.choice import DECODE_ROWS, PAGE, Arithmetic, Deployment, KvDtype, choose_kernels
from ..planner.lower import Mode
from ..planner.memory import SEQUENCE_BYTES, MemoryEstimate, ran_out, shared_sizes
from ..planner.tuned import Tuned
from ..planner.vocabulary import VocabularyLayout
from ..stages import Stages
from .blueprint import Blueprint, blueprint
from .kv_cache import KvCache
from .pace import Pace
from .prefix_cache import PrefixCache
from .programs import LoadedPlan, load_plan
from .sequence import MAX_END_TOKENS, SamplingState, Sequence, pack_bias
from .token_counts import TokenCounter
from .weights import Progress, ResidentWeight, load_weights


class Engine:
    """A loaded model. `Engine.load` makes one; `close` frees everything."""

    def __init__(self, gpu: Gpu, model: Blueprint, deployment: Deployment, memory: MemoryEstimate) -> None:
        self.gpu = gpu
        self.model = model
        self.deployment = deployment
        self.memory = memory
        self.vocabulary = VocabularyLayout(model.config.vocab_size)
        self.weights: dict[str, ResidentWeight] = {}
        self.shared: dict[str, tuple[Buffer, int]] = {}
        self.plans: dict[tuple[Mode, int], LoadedPlan] = {}
        self.cache = KvCache(
            gpu,
            model.layers,
            deployment.windows,
            deployment.kv_dtype,
            self._layer_moved,
            most_pages=deployment.cache_pages,
        )
        self.prefixes = PrefixCache(self.cache)
        self.counter = TokenCounter(gpu, self.vocabulary, deployment.context)
        self.free_slots = list(range(deployment.slots - 1, -1, -1))
        self.biased = [frozenset[int]()] * deployment.slots  # tokens whose bias on the GPU is not zero, per slot
        self.pace = Pace()
        self.rows_computed = 0
        self.arithmetic: Arithmetic = "exact"  # that was asked for
        self.dropped_variants: frozenset[str] = frozenset()

    @classmethod
    async def load(
        cls,
        gpu: Gpu,
        checkpoint: Checkpoint,
        *,
        context: int | None = None,
        slots: int = 1,
        kv_dtype: KvDtype = "f16",
        arithmetic: Arithmetic = "exact",
        dropped_variants: Collection[str] = (),
        tuned: Tokens[Tuned] = (),
        progress: Progress | None = None,
        stages: Stages | None = None,
    ) -> "Engine":
        """Put a model on a device. `context=None` takes the model's own, or what fits; `progress` gets bytes uploaded.

        `dropped_variants` are kernels that are not to be used, because they compute wrongly on the device;
        `tuned` those that were found to be faster than the default.

        Raises ModelTooLarge, UnsuitableAdapter, InvalidOption, OutOfMemory (everything freed), and what `blueprint`
        raises.
        """
        stages = Stages() if stages is None else stages
        with stages.stage("plans"):
            model = blueprint(checkpoint)
            deployment = model.fitting(
                gpu.adapter,
                gpu.available_memory(),
                context=context,
                slots=slots,
                kv_dtype=kv_dtype,
                arithmetic=arithmetic,
                dropped=dropped_variants,
                tuned=tuned,
            )
            model.check_adapter(deployment, gpu.adapter)
        engine = cls(gpu, model, deployment, model.memory(deployment))
        engine.arithmetic, engine.dropped_variants = arithmetic, frozenset(dropped_variants)
        gpu.expect_pipelines(model.kernels(deployment))
        try:
            with stages.stage("weights"):
                told = progress or (lambda _: None)
                engine.weights = await load_weights(gpu, checkpoint, model.specs(deployment), told)
            await engine._open()
        except BaseException as error:
            engine.close()
            if isinstance(error, OutOfMemory | MemoryError):
                raise OutOfMemory(ran_out(checkpoint.name, gpu.adapter.name, engine.memory, error)) from error
            raise
        return engine

    # Sequences

    def open_sequence(self) -> Sequence:
        """A new sequence, empty. There must be a free slot."""
        if not self.free_slots:
            raise RuntimeError(f"all {self.deployment.slots} sequences of this engine are in use: close one first")
        return Sequence(self.free_slots.pop(), pages=[[] for _ in self.deployment.windows])

    def close_sequence(self, sequence: Sequence, *, keep: bool = True) -> None:
        """Give a sequence's slot back; its keys and values are kept for prompts that begin alike, if `keep`."""
        if not keep:
            sequence.length = 0
        self.prefixes.keep(sequence)
        sequence.pages = [[] for _ in self.deployment.windows]
        self.free_slots.append(sequence.slot)

    def take_up_prefix(self, sequence: Sequence, prompt: Tokens[int]) -> int:
        """Start an empty sequence with what the cache holds of `prompt`; returns how many tokens that are."""
        length = self.prefixes.take_up(sequence, prompt)
        self._write_page_tables(sequence, 0)
        return length

    def forget(self, sequence: Sequence) -> None:
        """Give a sequence's pages back: its tokens will be computed anew."""
        for group, pages in enumerate(sequence.pages):
            for page in pages:
                if page is not None:
                    self.cache.pools[group].give_back(page)
        sequence.pages = [[] for _ in self.deployment.windows]
        sequence.length = 0

    def set_tokens(self, sequence: Sequence, tokens: Tokens[int]) -> None:
        """Give the sequence its tokens; those behind `length` are still to be computed. Raises PromptTooLong."""
        self.deployment.check_length(len(tokens))
        sequence.tokens = list(tokens)
        words = b"".join(token.to_bytes(4, "little") for token in tokens)
        self.gpu.write_buffer(self.shared["tokens"][0], 4 * sequence.slot * self.deployment.context, words)

    def reserve(self, sequence: Sequence, length: int) -> None:
        """Pages for `length` positions. Raises OutOfMemory."""
        lacking = sequence.pages_for(length)
        if lacking == 0:
            return
        self.prefixes.make_room(lacking)
        self.cache.reserve(lacking)
        for group, pages in enumerate(sequence.pages):
            pages.extend(self.cache.pools[group].take() for _ in range(lacking))
            self._leave_window(group, sequence)
        self._write_page_tables(sequence, len(sequence.pages[0]) - lacking)

    def set_sampling(self, sequence: Sequence, state: SamplingState) -> None:
        """What the sequence's next tokens are drawn by; its tokens so far count for penalties. Raises InvalidOption."""
        if len(state.end_tokens) > MAX_END_TOKENS:
            raise InvalidOption(f"{len(state.end_tokens)} end-of-turn tokens; at most {MAX_END_TOKENS} are supported.")
        self._write_bias(sequence, state.logit_bias)
        self.gpu.write_buffer(self.shared["sequences"][0], SEQUENCE_BYTES * sequence.slot, state.pack())
        if state.penalises:
            self.counter.count(sequence.slot, len(sequence.tokens), state.repeat_last_n)

    def set_neutral_sampling(self, sequence: Sequence) -> None:
        """Leave the logits as the model makes them."""
        self.set_sampling(sequence, SamplingState())

    # Plans

    async def plan(self, mode: Mode, rows: int) -> LoadedPlan:
        """The plan for a mode and number of rows, made at its first use."""
        key = (mode, rows)
        if key not in self.plans:
            started = time.perf_counter()
            plan = self.model.plan(self.deployment, mode, rows)
            self.plans[key] = await load_plan(
                self.gpu, plan, self.shared, self.resolve, max_keys=self.deployment.context
            )
            seconds = round(time.perf_counter() - started, 3)
            event("plan", level=DEBUG, mode=mode, rows=rows, dispatches=len(plan.dispatches), seconds=seconds)
        return self.plans[key]

    def take(self, tuned: Tokens[Tuned]) -> None:
        """Compute by these variants from now on. There must be no plan yet: a model keeps its kernels.

        Activations are as large as these need them. Raises OutOfMemory.
        """
        assert not self.plans
        own = self.deployment
        choice = choose_kernels(self.gpu.adapter, own.context, self.dropped_variants, self.arithmetic, tuned)
        self.deployment = replace(own, choice=choice)
        self.memory = self.model.memory(self.deployment)
        for name in [name for name in self.shared if name.startswith("activation:")]:
            self.gpu.destroy_buffer(self.shared.pop(name)[0])
        self._make(self.model.activations(self.deployment))

    async def decode_plan(self, n: int) -> LoadedPlan:
        """The smallest decode plan for `n` rows."""
        return await self.plan("decode", next(rows for rows in DECODE_ROWS if rows >= n))

    def close(self) -> None:
        """Free every GPU object of this model."""
        for plan in self.plans.values():
            plan.close()
        self.plans.clear()
        self.counter.close()
        self.cache.close()
        for buffer, _ in self.shared.values():
            self.gpu.destroy_buffer(buffer)
        for weight in self.weights.values():
            self.gpu.destroy_buffer(weight.buffer)
        self.shared.clear()
        self.weights.clear()

    async def _open(self) -> None:
        self._make(shared_sizes(self.deployment, self.vocabulary) | self.model.activations(self.deployment))
        mask = self._mask()
        for slot in range(self.deployment.slots):
            self.gpu.write_buffer(self.shared["vocabulary"][0], 4 * self.vocabulary.slot_words * slot, mask)
        await self.counter.open(self.shared["tokens"], self.shared["vocabulary"])
        self.cache.reserve(1)

    def _make(self, shared: Mapping[str, int]) -> None:
        """Buffers that plans share, of so many bytes."""
        for name, size in shared.items():
            self.shared[name] = self.gpu.create_buffer(name, size), size

    def _mask(self) -> bytes:
        """A bit per token that may be drawn: all but those that pad the output head beyond the tokenizer's."""
        tokenizer = self.model.checkpoint.tokenizer
        tokens = len(tokenizer.tokens) if tokenizer is not None else self.vocabulary.size
        return ((1 << tokens) - 1).to_bytes(4 * self.vocabulary.mask_words, "little")

    def resolve(self, name: str) -> tuple[Buffer, int]:
        kind, _, rest = name.partition(":")
        if kind == "weight":
            weight = self.weights[rest]
            return weight.buffer, weight.size
        if kind == "kv":
            return self.cache.buffers[int(rest)]
        return self.shared[name]

    def _layer_moved(self, layer: int) -> None:
        anew = [(plan, plan.bound_anew(f"kv:{layer}")) for plan in self.plans.values()]  # all, or an error before any
        for plan, groups in anew:
            plan.rebind(groups)

    def _leave_window(self, group: int, sequence: Sequence) -> None:
        """Free the pages that no row from the sequence's length on can see, but one page more for a rollback."""
        window = self.deployment.windows[group]
        if window is None:
            return
        pages = sequence.pages[group]
        for i in range(max(0, (sequence.length - window) // PAGE - 1)):
            page = pages[i]
            if page is not None:
                self.cache.pools[group].give_back(page)
                pages[i] = None

    def _write_page_tables(self, sequence: Sequence, start: int) -> None:
        """Tell the GPU of the sequence's pages from the `start`th on."""
        d = self.deployment
        for group, pages in enumerate(sequence.pages):
            words = b"".join((page or 0).to_bytes(4, "little") for page in pages[start:])
            if words:
                first = (group * d.slots + sequence.slot) * d.max_pages + start
                self.gpu.write_buffer(self.shared["pages"][0], 4 * first, words)

    def _write_bias(self, sequence: Sequence, bias: Mapping[int, float]) -> None:
        buffer = self.shared["vocabulary"][0]
        first = self.vocabulary.slot_words * sequence.slot + self.vocabulary.bias
        for token in bias:
            if not 0 <= token < self.vocabulary.size:
                raise InvalidOption(f"logit_bias names token {token}; this model has 0 to {self.vocabulary.size - 1}.")
        for token, value in (dict.fromkeys(self.biased[sequence.slot], 0.0) | dict(bias)).items():
            self.gpu.write_buffer(buffer, 4 * (first + token), pack_bias(value))
        self.biased[sequence.slot] = frozenset(bias)
