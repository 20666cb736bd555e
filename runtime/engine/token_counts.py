"""Counting the last tokens of a sequence on the GPU, where penalties begin."""

from ..host import BoundBuffer, Buffer, Gpu, Program, Usage
from ..planner.compose import compose
from ..planner.vocabulary import VocabularyLayout

ONE_WORKGROUP = (1, 1, 1)


class TokenCounter:
    """One small program of its own, run at the start of answers with penalties; sample.wgsl then keeps the counts."""

    def __init__(self, gpu: Gpu, vocabulary: VocabularyLayout, context: int) -> None:
        self.gpu = gpu
        self.vocabulary = vocabulary
        self.context = context
        self.uniform: Buffer | None = None
        self.program: Program | None = None

    async def open(self, tokens: tuple[Buffer, int], vocabulary: tuple[Buffer, int]) -> None:
        kernel = compose("count_tokens.wgsl")
        self.layout = kernel.uniforms["window"]
        self.uniform = self.gpu.create_buffer("count window", self.layout.size, Usage.UNIFORM)
        [pipeline] = await self.gpu.create_pipelines([kernel.source])
        bound = [
            BoundBuffer(tokens[0], 0, tokens[1]),
            BoundBuffer(vocabulary[0], 0, vocabulary[1]),
            BoundBuffer(self.uniform, 0, self.layout.size),
        ]
        self.program = self.gpu.freeze([pipeline], [self.gpu.create_bind_group(pipeline, bound)])

    def count(self, slot: int, n_tokens: int, last_n: int) -> None:
        """Count the last `last_n` of the slot's first `n_tokens` tokens."""
        window = {
            "slot": slot,
            "begin": max(0, n_tokens - last_n),
            "end": n_tokens,
            "context": self.context,
            "counts": slot * self.vocabulary.slot_words + self.vocabulary.counts,
            "vocab": self.vocabulary.size,
        }
        self.gpu.write_buffer(self.uniform, 0, self.layout.pack(window))
        self.gpu.submit(self.program, ONE_WORKGROUP)

    def close(self) -> None:
        if self.program is not None:
            self.gpu.release(self.program)
            self.program = None
        if self.uniform is not None:
            self.gpu.destroy_buffer(self.uniform)
            self.uniform = None
