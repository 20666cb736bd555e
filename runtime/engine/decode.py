"""Decode: one row a sequence and step, submitted ahead of what has been read."""

import struct
from collections.abc import Sequence as Many
from dataclasses import dataclass

from ..host import Readback
from ..planner.plan import BufferRange
from .engine import Engine
from .programs import LoadedPlan
from .results import StepResult, read_results, results_bytes
from .sequence import Sequence


@dataclass
class Step:
    """A submitted step, to be read later."""

    readback: Readback
    n_top: int


class Decoder:
    """Steps of a fixed set of sequences, whose last tokens stand on the GPU but not yet in the cache.

    The drawn token feeds the next step on the GPU, so `submit` may be called again before `read`.
    """

    def __init__(self, engine: Engine, sequences: Many[Sequence], plan: LoadedPlan) -> None:
        self.engine = engine
        self.sequences = sequences
        self.plan = plan
        self.positions = [sequence.length for sequence in sequences]  # of the next submit: an upper bound
        self.ended = [False] * len(sequences)  # as far as results were read
        rows = bytearray()
        for m in range(plan.plan.rows):
            if m < len(sequences):
                rows += struct.pack("<4I", sequences[m].slot, sequences[m].length, 0, m)
            else:
                rows += struct.pack("<4I", sequences[0].slot, 0, 1, m)
        plan.write("rows", 0, bytes(rows))

    @classmethod
    async def open(cls, engine: Engine, sequences: Many[Sequence]) -> "Decoder":
        """A decoder for up to 8 sequences."""
        return cls(engine, sequences, await engine.decode_plan(len(sequences)))

    def submit(self, *, n_top: int = 0) -> Step:
        """One more step for every sequence that has not ended. Raises OutOfMemory where the cache cannot grow."""
        for i, sequence in enumerate(self.sequences):
            if not self.ended[i]:
                self.engine.reserve(sequence, self.positions[i] + 1)
                self.positions[i] += 1
        plan = self.plan.plan
        read = BufferRange("results", 0, results_bytes(plan.outputs, n_top))
        readback = self.plan.submit(plan.rows, max(self.positions), stop=plan.sample_end(n_top), read=read)
        assert readback is not None
        self.engine.rows_computed += self.ended.count(False)
        return Step(readback, n_top)

    async def read(self, step: Step) -> list[StepResult]:
        """The results of a step, in the order of submitting. The sequences' lengths move on.

        The result of a sequence that ended before is its last one again.
        """
        data = await self.engine.gpu.finish_read(step.readback)
        results = read_results(data, len(self.sequences), self.plan.plan.outputs, step.n_top)
        for i, (sequence, result) in enumerate(zip(self.sequences, results, strict=True)):
            if not self.ended[i]:
                sequence.length += 1
                sequence.tokens.append(result.token)
                self.ended[i] = result.ended
        return results

    async def drain(self, steps: Many[Step]) -> None:
        """Wait for steps whose results nobody wants any more."""
        for step in steps:
            await self.engine.gpu.finish_read(step.readback)
