"""The sampling kernels over given logits, rows of several sequences in one dispatch; and a judge of what was drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chisquare

from gpu import NAN_BITS, Device
from shaderlm.engine.sequence import SamplingState
from shaderlm.planner.compose import Kernel, compose
from shaderlm.planner.lower_sampling import Rows, Stage, sampling_stages
from shaderlm.planner.vocabulary import VocabularyLayout
from shaderlm.sampling import Sampling

FORBIDDEN = np.float32(-3e38)  # what stands for minus infinity on the GPU


@dataclass
class Step:
    """What survey.wgsl and sample.wgsl read and write; `run` makes one step of it."""

    logits: NDArray[np.float32]  # [outputs, vocab], -inf for tokens that may not be drawn
    states: Sequence[SamplingState]  # per slot
    rows: NDArray[np.uint32]  # (slot, position, done, output row)
    context: int = 0  # positions that a slot's tokens have; 0: the tokens drawn are not kept
    block_tokens: int = 64
    tokens: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(4, np.uint32))  # [slots, context]
    vocabulary: NDArray[np.uint32] | None = None  # [slots, words]
    results: NDArray[np.uint32] | None = None  # [outputs, 4]
    workgroup: int = 16

    def __post_init__(self) -> None:
        outputs, vocab = self.logits.shape
        self.logits = np.maximum(self.logits, FORBIDDEN).astype(np.float32)
        self.layout = VocabularyLayout(vocab)
        if self.vocabulary is None:
            self.vocabulary = np.zeros((len(self.states), self.layout.slot_words), np.uint32)
        if self.results is None:
            self.results = np.full((outputs, 4), 77, np.uint32)

    def run(self, gpu: Device, *, changed: Callable[[Kernel], Kernel] = lambda kernel: kernel) -> "Step":
        """Draw once for every row: tokens, counts, rows and results move on. Kernels may be run `changed`."""
        assert self.vocabulary is not None
        assert self.results is not None
        outputs, vocab = self.logits.shape
        stats = statistics(np.nan_to_num(self.logits, nan=FORBIDDEN), self.block_tokens)
        rows = Rows(outputs, vocab, stats.shape[1], self.block_tokens, self.context)
        stages = list(sampling_stages(rows, self.workgroup))[:2]
        arrays: dict[str, NDArray[Any]] = {
            "logits": self.logits,
            "stats": stats,
            "sequences": np.frombuffer(b"".join(state.pack() for state in self.states), np.uint32),
            "rows": self.rows,
            "survey": np.full(rows.survey_bytes // 4, NAN_BITS, np.uint32),
            "tokens": self.tokens,
            "vocabulary": self.vocabulary,
            "results": self.results,
        }
        steps = [(changed(kernel_of(stage)), {"vocab": stage.vocab}, groups_of(stage)) for stage in stages]
        done = gpu.run_all(steps, arrays)
        self.rows, self.tokens = done["rows"], done["tokens"]
        self.vocabulary, self.results = done["vocabulary"], done["results"]
        return self

    @property
    def drawn(self) -> NDArray[np.uint32]:
        assert self.results is not None
        return self.results[:, 0]


def kernel_of(stage: Stage) -> Kernel:
    return compose(stage.file, parameters=stage.parameters)


def groups_of(stage: Stage) -> list[int]:
    return [extent.count(1, 1) for extent in stage.groups]


def statistics(logits: NDArray[np.float32], block_tokens: int) -> NDArray[np.float32]:
    """What the head's epilogue leaves: (maximum, sum of exponentials below it, its token, 0) [outputs, blocks, 4]."""
    outputs, vocab = logits.shape
    blocks = -(-vocab // block_tokens)
    filled = np.full((outputs, blocks * block_tokens), -np.inf)
    filled[:, :vocab] = logits
    filled = filled.reshape(outputs, blocks, block_tokens)
    stats = np.zeros((outputs, blocks, 4), np.float32)
    stats[..., 0] = filled.max(2)
    stats[..., 1] = np.exp(filled - stats[..., :1].astype(np.float64)).sum(2)
    tokens = filled.argmax(2) + np.arange(blocks) * block_tokens
    stats[..., 2] = tokens.astype(np.uint32).view(np.float32)
    return stats


def state_of(sampling: Sampling, **more: Any) -> SamplingState:
    """The options of a request as the kernels take them."""
    options: dict[str, Any] = {
        "seed": sampling.seed or 0,
        "top_k": sampling.top_k,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "repeat_last_n": sampling.repeat_last_n,
    }
    return SamplingState(**{**options, **more})


def one_slot_each(n: int, position: int = 10) -> NDArray[np.uint32]:
    """Rows of n sequences."""
    return np.array([(i, position, 0, i) for i in range(n)], np.uint32)


def check_frequencies(drawn: NDArray[np.uint32], expected: NDArray[np.float64]) -> None:
    """Chi-square over the tokens, those drawn less than 8 times on average taken together."""
    counts = np.bincount(drawn, minlength=len(expected))
    assert not counts[expected == 0].any(), f"drew {np.flatnonzero(counts * (expected == 0))}, which are not kept"
    often = expected * len(drawn) >= 8
    observed = np.append(counts[often], counts[~often].sum())
    wanted = np.append(expected[often], expected[~often].sum()) * len(drawn)
    if wanted[-1] < 8:  # too few to judge by
        observed, wanted = observed[:-1], wanted[:-1] * observed[:-1].sum() / wanted[:-1].sum()
    if len(observed) > 1:
        p = chisquare(observed, wanted).pvalue
        assert p > 1e-3, f"p = {p}: drawn {observed}, expected {wanted.round(1)}"
