"""Choosing kernel variants by timing them: for a second at a model's first load, then while nothing is asked of it.

What is timed are dispatches of the model's own plans over its own weights (planner/trials.py), by the device's clock or
else around a submit. A variant and the default run in turns, so that what else the machine does meets both alike.
"""

import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ..errors import DeviceLost, KernelError, OutOfMemory
from ..host import Adapter, Store
from ..log import event
from ..planner.choice import Arithmetic, KvDtype, candidates
from ..planner.memory import binding_limit
from ..planner.plan import BufferRange
from ..planner.trials import Subject, Trial, subjects, trial
from ..planner.tuned import LinearShape, Tuned
from ..tensors import WEIGHT_TYPES
from .blueprint import Blueprint
from .engine import Engine
from .programs import LoadedPlan, load_plan
from .self_test import Case, is_right
from .tuning_finds import ROUNDS, Finds, is_ahead, key_of, read_finds, trial_name, winners, write_finds

Clock = Callable[[], float]
GoOn = Callable[[], bool]
Measure = Callable[[LoadedPlan, int], Awaitable[float]]  # seconds of the first dispatches of a plan, so many

FIRST_LOAD_SECONDS = 1.0
RUN_SECONDS = 0.004  # that a run shall take at least: clocks of browsers tick every 0.1 ms


def for_seconds(seconds: float, clock: Clock = time.perf_counter) -> GoOn:
    """Steps for so long: one that would end later, if it took as long as the longest so far, is not begun."""
    begun = before = clock()
    longest = 0.0

    def go_on() -> bool:
        nonlocal longest, before
        now = clock()
        longest, before = max(longest, now - before), now
        return now + longest <= begun + seconds

    return go_on


async def seconds_of(plan: LoadedPlan, stop: int) -> float:
    """What dispatches [0, stop) of a plan take for all its rows."""
    counts = plan.counts(plan.plan.rows, 1)
    if seconds := await plan.gpu.run_timed(plan.program, counts, stop):
        return seconds
    begun = time.perf_counter()
    readback = plan.submit(plan.plan.rows, 1, stop=stop, read=BufferRange("rows", 0, 16))
    assert readback is not None
    await plan.gpu.finish_read(readback)
    return time.perf_counter() - begun


async def tune(engine: Engine, store: Store, go_on: GoOn, *, measure: Measure = seconds_of) -> bool:
    """Time variants as long as `go_on()`, which is asked after each step; what was found is kept in `store`.

    Returns whether everything is known that can be. Raises DeviceLost; the variant that lost it is kept as wrong.
    """
    gpu, begun = engine.gpu, time.perf_counter()
    finds = kept = await read_finds(store, gpu.adapter)
    complete = True
    async with aclosing(tuning_steps(engine, kept, measure)) as steps:
        try:
            async for known in steps:
                finds = known
                if not go_on():
                    complete = False
                    break
        except (KernelError, OutOfMemory) as error:  # the defaults do, and they have passed their test
            event("tuning", adapter=gpu.adapter.name, stopped=str(error))
        finally:
            if finds != kept:
                await write_finds(store, gpu.adapter, finds)
    seconds = round(time.perf_counter() - begun, 3)
    event("tuning", adapter=gpu.adapter.name, shapes=len(finds.shapes), complete=complete, seconds=seconds)
    return complete


async def tune_at_load(
    engine: Engine, store: Store, *, clock: Clock = time.perf_counter, measure: Measure = seconds_of
) -> None:
    """Tune a model of which nothing is known for a second; let it compute by what is found."""
    adapter, arithmetic = engine.gpu.adapter, engine.arithmetic
    finds = await read_finds(store, adapter)
    if not any(key_of(shape, arithmetic) in finds.shapes for shape in shapes_of(engine.model, adapter)):
        await tune(engine, store, for_seconds(FIRST_LOAD_SECONDS, clock), measure=measure)
        kv_dtype, dropped = engine.deployment.kv_dtype, engine.dropped_variants
        tuned = await known_winners(engine.model, adapter, store, dropped, kv_dtype, arithmetic)
        if tuned != engine.deployment.choice.tuned:
            engine.take(tuned)


async def known_winners(
    model: Blueprint,
    adapter: Adapter,
    store: Store,
    dropped: Collection[str],
    kv_dtype: KvDtype,
    arithmetic: Arithmetic,
) -> tuple[Tuned, ...]:
    """What was found to be better than the defaults for a model, and right."""
    finds = await read_finds(store, adapter)
    return winners(finds, shapes_of(model, adapter), adapter, dropped, kv_dtype, arithmetic)


def shapes_of(model: Blueprint, adapter: Adapter) -> dict[LinearShape, bool]:
    """What there is to tune in a model, what takes most of a step first; and whether it makes logits."""
    return {s.shape: s.makes_logits for s in subjects(model.ops, model.types, binding_limit(adapter))}


async def tuning_steps(engine: Engine, finds: Finds, measure: Measure) -> AsyncGenerator[Finds, None]:
    """Find what is not known yet, in short steps; after each, all that is. Closing it frees what it has on the GPU."""
    gpu, kv_dtype, dropped = engine.gpu, engine.deployment.kv_dtype, engine.dropped_variants
    for subject in subjects(engine.model.ops, engine.model.types, engine.deployment.binding_limit):
        shape, key = subject.shape, key_of(subject.shape, engine.arithmetic)
        while True:
            names = candidates(
                gpu.adapter,
                shape,
                dropped,
                engine.arithmetic,
                wrong=finds.wrong,
                makes_logits=subject.makes_logits,
            )
            find = finds.of(key, names)
            tried, case = trial_name(find, kv_dtype), Case(WEIGHT_TYPES[shape.type], kv_dtype, find.arithmetic)
            if any(name not in find.times for name in names[1:]):
                async with aclosing(_race(engine, subject, names, finds, measure)) as steps:
                    async for finds in steps:
                        yield finds
            elif find.winner == find.default or tried in finds.passed:
                break
            elif await is_right(gpu, case, dropped, shape.step, find.winner):
                finds = finds.with_passed(tried)
            else:
                finds = finds.with_wrong(find.winner)
            yield finds


async def _race(
    engine: Engine, subject: Subject, names: Sequence[str], finds: Finds, measure: Measure
) -> AsyncGenerator[Finds, None]:
    """Time the variants of a shape that were not yet, each against the default, the first of `names`."""
    find = finds.of(key_of(subject.shape, engine.arithmetic), names)
    default = await _Runner.open(engine, subject, names[0], measure)
    try:
        units = max(1, min(default.trial.units, int(RUN_SECONDS / await default.run(1, measure)) + 1))
        yield finds
        for name in names[1:]:
            if name in find.times:
                continue
            try:
                runner = await _Runner.open(engine, subject, name, measure)
                try:
                    own: list[float] = []
                    its: list[float] = []
                    while len(own) < ROUNDS and (not own or is_ahead(own, its)):
                        yield finds
                        its.append(await default.run(units, measure))
                        own.append(await runner.run(units, measure))
                finally:
                    runner.close()
            except KernelError:
                finds = finds.with_wrong(name)
            except DeviceLost:
                yield finds.with_wrong(name)  # or each load would try it again
                raise
            else:
                finds = finds.with_find(find := find.with_times(name, own, its))
            yield finds
    finally:
        default.close()


@dataclass(frozen=True)
class _Runner:
    """A variant of one shape on the GPU."""

    trial: Trial
    plan: LoadedPlan

    @classmethod
    async def open(cls, engine: Engine, subject: Subject, name: str, measure: Measure) -> "_Runner":
        """Compile a variant and run it once, which on some adapters compiles it for good. Raises KernelError."""
        model = engine.model
        made = trial(subject, model.ops, model.types, engine.deployment, name)
        plan = await load_plan(engine.gpu, made.plan, {}, engine.resolve, max_keys=1)
        rows = b"".join(struct.pack("<4I", 0, 0, 1, m) for m in range(made.plan.rows))  # done: the cache stays as it is
        plan.write("rows", 0, rows)
        runner = cls(made, plan)
        try:
            await runner.run(1, measure)
        except BaseException:
            runner.close()
            raise
        return runner

    async def run(self, units: int, measure: Measure) -> float:
        """Seconds that a linear took, of so many."""
        return await measure(self.plan, units * self.trial.length) / units

    def close(self) -> None:
        self.plan.close()
