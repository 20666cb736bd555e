"""What `bench --profile` measures: decode steps at one position, and the prompt before it, dispatch by dispatch."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, cast

from ..core import Core
from ..engine.decode import Decoder
from ..engine.engine import Engine
from ..engine.prefill import prefill_and_sample
from ..engine.profile import Part, Step, Sum, Timed, busy, parts, span, summed, timed
from ..engine.programs import LoadedPlan
from ..engine.sequence import Sequence as Live
from ..generation import sampling_state
from ..hosts.native.gpu import NativeGpu
from ..hosts.native.timestamps import Stopwatch, Submission
from ..model import AsyncModel
from ..sampling import Sampling
from . import measuring
from .measuring import Settings, Spread
from .profile_table import OUTSIDE
from .terminal import note

WARM_UP = 2  # rounds that do not count: kernels are compiled, buffers touched for the first time
MOST_EMPTY = 200  # passes, in which their cost is measured


async def profile(model: AsyncModel, settings: Settings, steps: int) -> dict[str, Any]:
    """Profiles of `steps` decode steps behind a prompt, and of `settings.runs` prefills of it.

    Raises UnsuitableAdapter.
    """
    ids = measuring.prompt(await measuring.vocab_size(model), settings.prompt_tokens)
    return await model.run_on_engine(lambda core: _profile(core, ids, settings.runs, steps))


async def _profile(core: Core, ids: Sequence[int], runs: int, steps: int) -> dict[str, Any]:
    gpu = cast(NativeGpu, core.gpu)  # the command line has no other
    with gpu.stopwatch() as watch:
        bench = _Bench(core.engine, gpu, watch, ids)
        note("timing decode steps ...")
        decode = await bench.decode(steps)
        note("timing the prompt ...")
        return {"decode": decode, "prefill": await bench.prefill(runs)}


class _Bench:
    """Runs the same step again and again: as ever, in one timed pass, and each dispatch in a pass of its own.

    `decode` comes first: the prompt that it computes has the kernels of a prefill compiled.
    """

    def __init__(self, engine: Engine, gpu: NativeGpu, watch: Stopwatch, ids: Sequence[int]) -> None:
        self.engine = engine
        self.gpu = gpu
        self.watch = watch
        self.ids = ids

    async def decode(self, steps: int) -> dict[str, Any]:
        """Steps in turns, so that what else the machine does falls on all kinds alike."""
        sequence = await self.prefilled()
        try:
            position = sequence.length
            plan = await self.engine.decode_plan(1)
            known = parts(self.engine, plan.plan, 1, position + 1)
            normal, clocked, one_pass, apart, empty = [], [], [], [], []
            for _ in range(WARM_UP + steps):
                normal.append(await self.step(sequence, plan, position))
                with self.watch.timing(self.gpu, apart=False) as submitted:
                    await self.step(sequence, plan, position)
                one_pass.append(sum(each.nanoseconds for each in submitted))
                with self.watch.timing(self.gpu, apart=True) as submitted:
                    clocked.append(await self.step(sequence, plan, position))
                apart.append(_timed(submitted, known))
                passes = min(MOST_EMPTY, len(apart[-1]))
                empty.append(self.watch.empty(passes).nanoseconds / passes)
        finally:
            self.engine.close_sequence(sequence, keep=False)
        counted = apart[WARM_UP:]
        return {
            "position": position,
            "steps": steps,
            **section(counted),
            "one_pass_ms": _spread(one_pass[WARM_UP:], 1e-6),
            "normal_clock_ms": _spread(normal[WARM_UP:], 1e3),
            "clock_ms": _spread(clocked[WARM_UP:], 1e3),
            "empty_pass_us": _spread(empty[WARM_UP:], 1e-3),
        }

    async def step(self, sequence: Live, plan: LoadedPlan, position: int) -> float:
        """The step at a position once more; seconds by the clock."""
        sequence.length = position
        del sequence.tokens[position + 1 :]
        decoder = Decoder(self.engine, [sequence], plan)
        started = time.perf_counter()
        await decoder.read(decoder.submit())
        return time.perf_counter() - started

    async def prefill(self, runs: int) -> dict[str, Any]:
        """Prefills in turns. A step is one chunk of the prompt; the last has the first token's logits and draw too."""
        plan = await self.engine.plan("prefill", self.engine.deployment.choice.prefill_rows)
        places = list(self.places(plan))
        known = [parts(self.engine, plan.plan, rows, first + rows) for first, rows in places]
        normal, clocked, chunks = [], [], []
        for _ in range(runs):
            normal.append(await self.whole_prompt())
            with self.watch.timing(self.gpu, apart=True) as submitted:
                clocked.append(await self.whole_prompt())
            apart = [each for each in submitted if each.program is plan.program]
            chunks.append([_timed(own, known[i]) for i, own in enumerate(_by_chunk(apart))])
        return {
            "tokens": len(self.ids),
            "runs": runs,
            **section([chunk for run in chunks for chunk in run]),
            "normal_clock_ms": _spread(normal, 1e3),
            "clock_ms": _spread(clocked, 1e3),
            "chunks": [
                {"first": first, "rows": rows, "gpu_ms": _spread([busy(run[i]) for run in chunks], 1e-6)}
                for i, (first, rows) in enumerate(places)
            ],
        }

    async def whole_prompt(self) -> float:
        """Compute the prompt and draw the first token; seconds by the clock."""
        started = time.perf_counter()
        self.engine.close_sequence(await self.prefilled(), keep=False)
        return time.perf_counter() - started

    async def prefilled(self) -> Live:
        """A new sequence with the prompt computed and the next token drawn by the default options."""
        sequence = self.engine.open_sequence()
        self.engine.set_tokens(sequence, self.ids)
        self.engine.set_sampling(sequence, sampling_state(Sampling(seed=1), (), len(self.ids)))
        await prefill_and_sample(self.engine, sequence)
        return sequence

    def places(self, plan: LoadedPlan) -> Iterator[tuple[int, int]]:
        """First position and rows of each chunk of the prompt."""
        first = 0
        while first < len(self.ids):
            rows = min(plan.plan.rows_at(first, self.engine.deployment.choice.tile_rows), len(self.ids) - first)
            yield first, rows
            first += rows


def section(steps: Sequence[Step]) -> dict[str, Any]:
    """Steps summed by op, kernel and layer, and the one of median length dispatch by dispatch."""
    middle = sorted(steps, key=busy)[len(steps) // 2]
    total = sum(busy(step) for step in steps)
    sums = {"by_op": _op, "by_kernel": _kernel, "by_layer": _layer}
    cells = summed(steps, lambda part: (_layer(part), _op(part)))
    return {
        "dispatches": len(middle),
        "gpu_ms": _spread([busy(step) for step in steps], 1e-6),
        "share": _spread([busy(step) / span(step) for step in steps], 1),
        **{
            name: [
                {"name": what, **_row(one, len(steps), total), "median_ms": _median_ms(steps, key, what)}
                for what, one in summed(steps, key).items()
            ]
            for name, key in sums.items()
        },
        "by_layer_and_op": [
            {"layer": layer, "op": op, "ms": one.nanoseconds / len(steps) / 1e6} for (layer, op), one in cells.items()
        ],
        "timeline": [_event(one, middle[0].begin) for one in middle],
    }


def _op(part: Part) -> str:
    return part.op


def _kernel(part: Part) -> str:
    return part.kernel


def _layer(part: Part) -> str:
    return OUTSIDE if part.layer is None else f"layer {part.layer}"


def _median_ms(steps: Sequence[Step], key: Callable[[Part], str], name: str) -> float:
    """What those alike take in the median of steps: where a few were disturbed it says more than the mean."""
    return median(sum(one.nanoseconds for one in step if key(one.part) == name) for step in steps) / 1e6


def _row(one: Sum, steps: int, total: int) -> dict[str, Any]:
    """What a sum is of a step on the average."""
    return {
        "share": one.nanoseconds / total,
        "ms": one.nanoseconds / steps / 1e6,
        "dispatches": one.dispatches / steps,
        "us_each": one.nanoseconds / one.dispatches / 1e3,
        "bytes": None if one.reads is None else one.reads / steps,
        "gb_per_second": None if one.reads is None or not one.nanoseconds else one.reads / one.nanoseconds,
    }


def _event(one: Timed, start: int) -> dict[str, Any]:
    return {**asdict(one.part), "begin_us": (one.begin - start) / 1e3, "us": one.nanoseconds / 1e3}


def _timed(submitted: Sequence[Submission], known: Sequence[Part]) -> list[Timed]:
    return [one for each in submitted for one in timed(known, each.dispatches, each.clock)]


def _by_chunk(submitted: Sequence[Submission]) -> list[list[Submission]]:
    """Submits of one chunk after the other: each begins with the plan's first dispatch again."""
    chunks: list[list[Submission]] = []
    for each in submitted:
        if not chunks or each.dispatches[0] <= chunks[-1][-1].dispatches[-1]:
            chunks.append([])
        chunks[-1].append(each)
    return chunks


def _spread(samples: Sequence[float], factor: float) -> dict[str, float]:
    return asdict(Spread.of([factor * sample for sample in samples]))
