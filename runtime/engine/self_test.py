"""Kernels tried on a small known answer before a model is entrusted to them, once for each adapter and weight type.

A driver may compile a kernel and compute nonsense with it. Such a variant is dropped for the next; where none is right,
the adapter is refused: an error is better than gibberish.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..errors import KernelError, UnsuitableAdapter
from ..host import Adapter, Gpu, Store
from ..log import event
from ..planner.choice import PAGE, Arithmetic, KvDtype, choose_kernels, variants
from ..planner.compose import shaders_digest
from ..planner.memory import binding_limit
from ..planner.trials import subjects
from ..planner.tuned import Step, Tuned
from ..tensors import WeightType
from .blueprint import blueprint
from .decode import Decoder
from .engine import Engine
from .known_answers import EVERY, KNOWN
from .known_model import NEXT, PROMPT, known_model
from .prefill import prefill, prefill_and_sample
from .programs import LoadedPlan
from .sequence import Sequence as LiveSequence

TOLERANCES = {"f16": 3e-2, "f32": 2e-3, "fast": 6e-2}  # of the largest known logit
CONTEXT = 64


@dataclass(frozen=True)
class Finds:
    """What is known of an adapter: (weight type, dtype of the KV cache) that were right, and variants that were not."""

    passed: frozenset[str] = field(default=frozenset())
    dropped: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True)
class Case:
    """A known model, and how it is to be computed."""

    weight_type: WeightType
    kv_dtype: KvDtype
    arithmetic: Arithmetic

    def __str__(self) -> str:
        return f"{self.weight_type}/{self.kv_dtype}" + ("/fast" if self.arithmetic == "fast" else "")

    @property
    def tolerance(self) -> float:
        """Of the largest known logit."""
        return TOLERANCES["fast" if self.arithmetic == "fast" else self.kv_dtype]


async def dropped_variants(
    gpu: Gpu,
    store: Store,
    types: Collection[WeightType],
    kv_dtype: KvDtype,
    arithmetic: Arithmetic = "exact",
) -> frozenset[str]:
    """The kernel variants that compute wrongly on this device, as far as weights of these types need them.

    What was found is kept in `store`. Raises UnsuitableAdapter where no variant is right.
    """
    key = store_key(gpu.adapter)
    known = _read(await store.get(key))
    finds = known
    for weight_type in types:
        case = Case(weight_type, kv_dtype, arithmetic)
        name = str(case)
        if name not in finds.passed:
            dropped = await _settle(gpu, case, finds.dropped)
            finds = Finds(finds.passed | {name}, dropped)
    if finds != known:
        event("self_test", adapter=gpu.adapter.name, passed=sorted(finds.passed), dropped=sorted(finds.dropped))
        await store.put(key, _written(finds))
    return finds.dropped


def store_key(adapter: Adapter, what: str = "self-test") -> str:
    """Of an adapter with its driver, and of the kernels as they are."""
    told = json.dumps([adapter.name, adapter.driver, adapter.backend, adapter.subgroup_size, shaders_digest()])
    return f"{what}-{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"


async def is_right(gpu: Gpu, case: Case, dropped: Collection[str], step: Step, kernel: str) -> bool:
    """Whether the known model says what it must with all its linears by a variant that is not the default."""
    known = blueprint(known_model(case.weight_type))
    shapes = [found.shape for found in subjects(known.ops, known.types, binding_limit(gpu.adapter))]
    wrong = await _what_is_wrong(gpu, case, dropped, [Tuned(shape, kernel) for shape in shapes if shape.step == step])
    if wrong is not None:
        event("self_test", adapter=gpu.adapter.name, weight_type=str(case.weight_type), wrong=wrong, drops=[kernel])
    return wrong is None


async def _settle(gpu: Gpu, case: Case, dropped: frozenset[str]) -> frozenset[str]:
    """`dropped`, and as few variants more as make the answers right."""
    wrong = await _what_is_wrong(gpu, case, dropped)
    if wrong is None:
        return dropped
    for more in _drops(gpu.adapter, case.arithmetic, dropped):
        if await _what_is_wrong(gpu, case, dropped | more) is None:
            event(
                "self_test",
                adapter=gpu.adapter.name,
                weight_type=str(case.weight_type),
                wrong=wrong,
                drops=sorted(more),
            )
            return dropped | more
    raise UnsuitableAdapter(
        f"{gpu.adapter.name} computes wrong results with weights in {case.weight_type}: {wrong}. No other kernels are "
        "left to try. Update its driver, or take another adapter (`shaderlm devices`); please report it."
    )


def _drops(adapter: Adapter, arithmetic: Arithmetic, dropped: frozenset[str]) -> Iterator[frozenset[str]]:
    """What might be dropped: each variant in use that is not the last of its kind, then all of these."""
    left = [[name for name in names if name not in dropped] for names in variants(adapter, arithmetic)]
    singles = [names[0] for names in left if len(names) > 1]
    yield from (frozenset({name}) for name in singles)
    yield frozenset(singles)


async def _what_is_wrong(gpu: Gpu, case: Case, dropped: Collection[str], tuned: Sequence[Tuned] = ()) -> str | None:
    """Run the known model; None if it says what it must."""
    try:
        engine = await Engine.load(
            gpu,
            known_model(case.weight_type),
            context=CONTEXT,
            kv_dtype=case.kv_dtype,
            arithmetic=case.arithmetic,
            dropped_variants=dropped,
            tuned=tuned,
        )
    except KernelError as error:
        return str(error)
    _split_by_pages(engine)
    try:
        return await _difference(engine, case.weight_type, case.tolerance)
    except KernelError as error:
        return str(error)
    finally:
        engine.close()


def _split_by_pages(engine: Engine) -> None:
    """Let decode attend in parts that are small enough for the known prompt to have two, which are joined."""
    choice = replace(engine.deployment.choice, split=PAGE)
    engine.deployment = replace(engine.deployment, choice=choice)


async def _difference(engine: Engine, weight_type: WeightType, tolerance: float) -> str | None:
    known = KNOWN[weight_type.name]
    last = await _after_prompt(engine, PROMPT)
    after = await _after_token(engine, PROMPT, NEXT)
    first = PROMPT[: PAGE - 1]  # with the token behind it one part, which is not joined
    alone, by_prompt = await _after_token(engine, first, NEXT), await _after_prompt(engine, (*first, NEXT))
    return (
        _differs("a prompt", last[::EVERY], _numbers(known.last), tolerance)
        or _differs("a token", after[::EVERY], _numbers(known.after), tolerance)
        or _differs("a token behind a short prompt", alone[::EVERY], by_prompt[::EVERY], tolerance)
    )


async def _after_prompt(engine: Engine, tokens: Sequence[int]) -> list[float]:
    """Logits after the last of the tokens, all of which are prefilled."""
    sequence = _begun(engine, tokens)
    await prefill_and_sample(engine, sequence)
    engine.close_sequence(sequence, keep=False)
    return await _logits(engine, await engine.plan("prefill", engine.deployment.choice.prefill_rows))


async def _after_token(engine: Engine, tokens: Sequence[int], token: int) -> list[float]:
    """Logits after one more token, which a decode step computes."""
    sequence = _begun(engine, tokens)
    await prefill(engine, sequence)
    engine.set_tokens(sequence, [*tokens, token])
    decoder = await Decoder.open(engine, [sequence])
    await decoder.read(decoder.submit())
    engine.close_sequence(sequence, keep=False)
    return await _logits(engine, decoder.plan)


def _begun(engine: Engine, tokens: Sequence[int]) -> LiveSequence:
    sequence = engine.open_sequence()
    engine.set_tokens(sequence, tokens)
    engine.set_neutral_sampling(sequence)
    return sequence


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]


async def _logits(engine: Engine, plan: LoadedPlan) -> list[float]:
    """The first row of logits that the plan's last step left."""
    place = plan.bound(plan.plan.logits)
    data = await engine.gpu.read_buffer(place.buffer, place.offset, 4 * plan.plan.vocab_size)
    return list(memoryview(data).cast("f"))


def _differs(what: str, found: Sequence[float], right: Sequence[float], tolerance: float) -> str | None:
    """The worst of each EVERYth logit, in words, if it is off by more than `tolerance` of the largest right one."""
    errors = [abs(a - b) if a == a else float("inf") for a, b in zip(found, right, strict=True)]
    worst = max(range(len(errors)), key=errors.__getitem__)
    if errors[worst] <= tolerance * max(map(abs, right)):
        return None
    return f"after {what} logit {EVERY * worst} is {found[worst]:.4f}, not {right[worst]:.4f}"


def _read(data: bytes | None) -> Finds:
    """What was kept, nothing if that cannot be read."""
    try:
        kept = json.loads(data or b"{}")
        return Finds(frozenset(kept.get("passed", ())), frozenset(kept.get("dropped", ())))
    except (ValueError, AttributeError, TypeError):
        return Finds()


def _written(finds: Finds) -> bytes:
    return json.dumps({"passed": sorted(finds.passed), "dropped": sorted(finds.dropped)}).encode()


def warning(adapter: Adapter, dropped: frozenset[str]) -> str | None:
    """What a person should know of the variants that were dropped."""
    if not dropped:
        return None
    used = choose_kernels(adapter, CONTEXT, dropped)
    return (
        f"On {adapter.name} these kernels compute wrong results and are not used: {', '.join(sorted(dropped))}. "
        f"Answers are right, but slower ({used.prefill_kernel} for prompts, {used.decode_kernel} with {used.team} "
        f"lanes a pair of rows for decoding, attention by {used.attention_workgroup} lanes). A newer driver may "
        "cure it; please report it."
    )
