"""Choosing kernel variants by timing them: for a second at a model's first load, then while nothing is asked of it.

What is timed are dispatches of the model's own plans over its own weights (planner/trials.py), by the device's clock or
else around a submit. A variant and the default run in turns, so that what else the machine does meets both alike.
"""

import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..errors import DeviceLost, KernelError, ShaderLMError
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
from .pace import TARGET_SECONDS
from .programs import LoadedPlan, load_plan
from .self_test import Case, is_right
from .tuning_finds import ROUNDS, Find, KeptFinds, Key, begun_name, is_ahead, key_of, read_finds, trial_name, winners

Clock = Callable[[], float]
GoOn = Callable[[], bool]
Measure = Callable[[LoadedPlan, int, int], Awaitable[float]]  # seconds of dispatches [start, stop) of a plan

FIRST_LOAD_SECONDS = 1.0
RUN_SECONDS = 0.004  # that a run shall take at least: clocks of browsers tick every 0.1 ms
SHORTEST = 1e-9  # that is added to each: its clock may not have moved


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


async def seconds_of(plan: LoadedPlan, start: int, stop: int) -> float:
    """What dispatches [start, stop) of a plan take for all its rows."""
    counts = plan.counts(plan.plan.rows, 1)
    seconds = await plan.gpu.run_timed(plan.program, counts, start, stop)
    if seconds is not None:
        return seconds
    begun = time.perf_counter()
    readback = plan.submit(plan.plan.rows, 1, start=start, stop=stop, read=BufferRange("rows", 0, 16))
    assert readback is not None
    await plan.gpu.finish_read(readback)
    return time.perf_counter() - begun


class TuningStopped(Exception):
    """There is no time for another step. What was found is kept."""


def submits(assumed: Sequence[float], most: float) -> Iterator[tuple[int, int]]:
    """[start, stop) of as few submits as are assumed to take `most` seconds each, or have but one dispatch.

    `assumed` are the seconds of each dispatch. A run that is not cut might freeze a screen.
    """
    start, together = 0, 0.0
    for i, seconds in enumerate(assumed):
        if i > start and together + seconds > most:
            yield start, i
            start, together = i, 0.0
        together += seconds
    yield start, len(assumed)


async def tune(engine: Engine, store: Store, go_on: GoOn, *, measure: Measure = seconds_of) -> bool:
    """Time variants as long as `go_on()`, which is asked before each step; every find is kept in `store` at once.

    Returns whether everything is known that can be. Raises DeviceLost; the variant that lost it is kept as wrong.
    """
    kept = await KeptFinds.open(store, engine.gpu.adapter)
    complete = await _logged(kept, Tuner(engine, kept, go_on, measure).settle())
    if complete:
        _forget_pipelines(engine)
    return complete


async def tune_at_load(
    engine: Engine, store: Store, *, clock: Clock = time.perf_counter, measure: Measure = seconds_of
) -> None:
    """Tune a model at its first load, for a second; let it compute by what is found. Raises DeviceLost.

    Later loads have as much time to try winners that were not yet tried: some programs never idle.
    """
    adapter, arithmetic = engine.gpu.adapter, engine.arithmetic
    kept = await KeptFinds.open(store, adapter)
    shapes = shapes_of(engine.model, adapter)
    largest = begun_name(key_of(next(iter(shapes)), arithmetic))
    tuner = Tuner(engine, kept, for_seconds(FIRST_LOAD_SECONDS, clock), measure)
    if largest in kept.finds.begun:
        await _logged(kept, tuner.try_winners())
    else:
        await _logged(kept, tuner.settle())
        await kept.add(lambda finds: finds.with_begun(largest))
    tuned = winners(kept.finds, shapes, adapter, engine.dropped_variants, engine.deployment.kv_dtype, arithmetic)
    if tuned != engine.deployment.choice.tuned:
        engine.take(tuned)
    _forget_pipelines(engine)


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


def _forget_pipelines(engine: Engine) -> None:
    """Free what was compiled for trials alone: 29 kernels for a tiny model, on lavapipe 53 MB."""
    loaded = [dispatch.kernel.source for one in engine.plans.values() for dispatch in one.plan.dispatches]
    engine.gpu.forget_pipelines({*engine.model.kernels(engine.deployment), *loaded})


async def _logged(kept: KeptFinds, tuning: Awaitable[None]) -> bool:
    """Let a tuner do something, and log what came of it. Returns whether it came to its end. Raises DeviceLost."""
    adapter, before = kept.adapter.name, kept.finds
    begun, complete = time.perf_counter(), True
    try:
        await tuning
    except TuningStopped:
        complete = False
    except DeviceLost:
        raise
    except ShaderLMError as error:  # the model answers all the same: its defaults have passed their test
        event("tuning", adapter=adapter, stopped=str(error))
    if kept.finds != before:
        seconds = round(time.perf_counter() - begun, 3)
        event("tuning", adapter=adapter, shapes=len(kept.finds.shapes), complete=complete, seconds=seconds)
    return complete


class Tuner:
    """Finds out what is not known yet of a model's linears, in short steps."""

    def __init__(self, engine: Engine, kept: KeptFinds, go_on: GoOn, measure: Measure) -> None:
        self._engine = engine
        self._kept = kept
        self._go_on = go_on
        self._measure = measure
        self._subjects = subjects(engine.model.ops, engine.model.types, engine.deployment.binding_limit)

    async def settle(self) -> None:
        """Time all shapes. Raises TuningStopped, DeviceLost, and whatever keeps the defaults from running."""
        await self.try_winners()
        for subject in self._subjects:
            await self._race(subject)
            while not await self._try_winner(subject):
                await self._race(subject)

    async def try_winners(self) -> None:
        """Try what has won so far on known answers. Raises TuningStopped, DeviceLost, and what keeps the model off."""
        for subject in self._subjects:
            await self._try_winner(subject)

    async def _try_winner(self, subject: Subject) -> bool:
        """Whether what won computes right, as the default does."""
        engine, find = self._engine, self._find(subject)
        kv_dtype, winner = engine.deployment.kv_dtype, find.winner
        tried = trial_name(find, kv_dtype)
        if winner == find.default or tried in self._kept.finds.passed:
            return True
        self._step()
        case = Case(WEIGHT_TYPES[find.shape.type], kv_dtype, find.arithmetic)
        async with self._blaming(winner):
            right = await is_right(engine.gpu, case, engine.dropped_variants, find.shape.step, winner)
        await self._kept.add(lambda finds: finds.with_passed(tried) if right else finds.with_wrong(winner))
        return right

    async def _race(self, subject: Subject) -> None:
        """Time the variants of a shape that were not yet, each against the default."""
        known = self._find(subject)
        default_name, *names = self._names(subject)
        names = [name for name in names if name not in known.times]
        if not names:
            return
        default = await self._open(subject, default_name)
        try:
            units = max(1, min(default.trial.units, int(RUN_SECONDS / await self._run(default, 1)) + 1))
            for name in names:
                try:
                    own, its = await self._rounds(subject, name, default, units)
                except _Wrong:
                    continue
                await self._add_times(subject, name, own, its)
        finally:
            default.close()

    async def _rounds(
        self, subject: Subject, name: str, default: "_Runner", units: int
    ) -> tuple[Sequence[float], Sequence[float]]:
        """Seconds of a variant and of the default, in turns, as long as it may still win."""
        own: list[float] = []
        its: list[float] = []
        async with self._blaming(name):
            runner = await self._open(subject, name)
        try:
            while len(own) < ROUNDS and (not own or is_ahead(own, its)):
                its.append(await self._run(default, units))
                async with self._blaming(name):
                    own.append(await self._run(runner, units))
        finally:
            runner.close()
        return own, its

    @asynccontextmanager
    async def _blaming(self, name: str) -> AsyncIterator[None]:
        """Keep a variant as wrong if what happens inside does not compile, or loses the device.

        Otherwise each load would try it again. Raises _Wrong, DeviceLost.
        """
        try:
            yield
        except (KernelError, DeviceLost) as error:
            await self._kept.add(lambda finds: finds.with_wrong(name))
            if isinstance(error, DeviceLost):
                raise
            raise _Wrong from error

    async def _add_times(self, subject: Subject, name: str, own: Sequence[float], its: Sequence[float]) -> None:
        key, names = self._key(subject), self._names(subject)
        await self._kept.add(lambda finds: finds.with_find(finds.of(key, names).with_times(name, own, its)))

    async def _open(self, subject: Subject, name: str) -> "_Runner":
        """Compile a variant and run it once, which on some adapters compiles it for good. Raises KernelError."""
        self._step()
        engine, model = self._engine, self._engine.model
        made = trial(subject, model.ops, model.types, engine.deployment, name)
        plan = await load_plan(engine.gpu, made.plan, {}, engine.resolve, max_keys=1)
        rows = b"".join(struct.pack("<4I", 0, 0, 1, m) for m in range(made.plan.rows))  # done: the cache stays as it is
        plan.write("rows", 0, rows)
        runner = _Runner(made, plan, made.plan.seconds(made.plan.rows, 1))
        try:
            await self._run(runner, 1)
        except BaseException:
            runner.close()
            raise
        return runner

    async def _run(self, runner: "_Runner", units: int) -> float:
        """Seconds that a linear took, of so many."""
        seconds = SHORTEST
        most = TARGET_SECONDS / max(1.0, self._engine.pace.slowness)
        for start, stop in submits(runner.assumed[: units * runner.trial.length], most):
            self._step()
            seconds += await self._measure(runner.plan, start, stop)
        return seconds / units

    def _step(self) -> None:
        if not self._go_on():
            raise TuningStopped

    def _find(self, subject: Subject) -> Find:
        return self._kept.finds.of(self._key(subject), self._names(subject))

    def _key(self, subject: Subject) -> Key:
        return key_of(subject.shape, self._engine.arithmetic)

    def _names(self, subject: Subject) -> tuple[str, ...]:
        """The variants of a shape, the default first."""
        engine = self._engine
        return candidates(
            engine.gpu.adapter,
            subject.shape,
            engine.dropped_variants,
            engine.arithmetic,
            wrong=self._kept.finds.wrong,
            makes_logits=subject.makes_logits,
        )


class _Wrong(Exception):
    """A variant does not compile."""


@dataclass(frozen=True)
class _Runner:
    """A variant of one shape on the GPU."""

    trial: Trial
    plan: LoadedPlan
    assumed: Sequence[float]  # seconds of its dispatches

    def close(self) -> None:
        self.plan.close()
