"""What becomes of a linear's output, and what of its input: each epilogue in each kernel, against float64."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agreement import agree
from gpu import Device
from linear_kernels import BROADCAST, EACH, TILE, LinearKernel, matvec, rows_of
from reference import Array, rotated, swiglu
from sampler_reference import adjusted
from shaderlm.engine.sequence import SamplingState
from shaderlm.graph import Rope
from shaderlm.planner.choice import PAGE
from shaderlm.planner.rope_turns import rope_uniform
from shaderlm.planner.vocabulary import VocabularyLayout
from shaderlm.sampling import Sampling
from shaderlm.tensors import WEIGHT_TYPES
from weight_blocks import Blocks, ordinary_blocks

TYPE = WEIGHT_TYPES["Q8_0"]
COLUMNS = 96
EPS = 1e-5

each_kernel = pytest.mark.parametrize("kernel", EACH, ids=str)
with_or_without_bias = pytest.mark.parametrize("biased", [False, True], ids=["", "biased"])


@dataclass(frozen=True)
class Case:
    """A weight, an input and a bias, and y = W x + b in float64, [rows, rows of W]."""

    blocks: Blocks
    x: NDArray[np.float32]
    biases: NDArray[np.float32] | None
    y: Array


def case(kernel: LinearKernel, n_rows: int, *, biased: bool = False, spread: float = 1.0) -> Case:
    rng = np.random.default_rng(n_rows)
    blocks = ordinary_blocks(TYPE, n_rows, COLUMNS)
    x = spread * rng.standard_normal((rows_of(kernel), COLUMNS), dtype=np.float32)
    biases = rng.standard_normal(n_rows, dtype=np.float32) if biased else None
    y = x.astype(np.float64) @ blocks.decoded().T + (0 if biases is None else biases)
    return Case(blocks, x, biases, y)


def filled(*shape: int) -> NDArray[np.float32]:
    """An output before the kernel ran."""
    return np.full(shape, 77, np.float32)


# Inputs


@each_kernel
def test_a_normed_input_is_scaled_by_the_root_of_its_mean_square(gpu: Device, kernel: LinearKernel) -> None:
    c = case(kernel, 10, biased=True)
    rows, n_parts, width = len(c.x), 5, 90
    parts = np.random.default_rng(1).uniform(0, 40, (rows, n_parts)).astype(np.float32)
    norm = {"n_parts": n_parts, "width": width, "eps": EPS}
    arrays, out = {"y": filled(rows, 10), "parts": parts}, {"width": 10, "stride": 10}
    y = kernel.run(gpu, c.blocks, c.x, input="normed", epilogue="plain", biases=c.biases, arrays=arrays,
                   uniforms={"norm": norm, "out": out})["y"]  # fmt: skip
    scale = 1 / np.sqrt(parts.astype(np.float64).sum(1, keepdims=True) / width + EPS)
    agree(y, (c.y - c.biases) * scale + c.biases, rel=1e-5, abs=1e-6)


@each_kernel
def test_a_scale_multiplies_the_products_and_not_the_bias(gpu: Device, kernel: LinearKernel) -> None:
    c = case(kernel, 11, biased=True)
    arrays, out = {"y": filled(len(c.x), 11)}, {"width": 11, "stride": 11}
    y = kernel.run(gpu, c.blocks, c.x, epilogue="plain", biases=c.biases, arrays=arrays, uniforms={"out": out},
                   scale=-0.375)["y"]  # fmt: skip
    agree(y, -0.375 * (c.y - c.biases) + c.biases, abs=1e-6)


# Epilogues


@each_kernel
@with_or_without_bias
def test_residual_adds_and_prepares_the_next_norm(gpu: Device, kernel: LinearKernel, biased: bool) -> None:
    width, stride = 67, 96
    c = case(kernel, width, biased=biased)
    rows, workgroups = len(c.x), kernel.groups(34, len(c.x))[0]
    rng = np.random.default_rng(2)
    before, gain = (rng.standard_normal(shape, dtype=np.float32) for shape in ((rows, width), (width,)))
    arrays = {"residual": before, "normed": filled(rows, stride), "sums": filled(rows, workgroups), "gain": gain}
    done = kernel.run(gpu, c.blocks, c.x, epilogue="residual", biases=c.biases, arrays=arrays,
                      uniforms={"out": {"width": width, "stride": stride}})  # fmt: skip
    expected = before + c.y
    agree(done["residual"], expected, abs=2e-6)
    agree(done["normed"][:, :width], expected * gain, abs=1e-5)
    agree(done["sums"].sum(1), (expected**2).sum(1), rel=1e-5)
    assert (done["normed"][:, width:] == 77).all(), "wrote between the rows"


@each_kernel
@pytest.mark.parametrize(("spread", "biased"), [(1, False), (60, True), (1e4, False)])  # exp of thousands leaves f32
def test_gated_is_swiglu_of_the_two_halves(gpu: Device, kernel: LinearKernel, spread: float, biased: bool) -> None:
    width, stride = 35, 64
    c = case(kernel, 2 * width, biased=biased, spread=spread)
    arrays = {"y": filled(len(c.x), stride)}
    y = kernel.run(gpu, c.blocks, c.x, epilogue="gated", biases=c.biases, pairs=width, arrays=arrays,
                   uniforms={"out": {"width": width, "stride": stride}})["y"]  # fmt: skip
    agree(y[:, :width], swiglu(c.y[:, :width], c.y[:, width:]), rel=1e-4, abs=2e-5 * spread**2)
    assert (y[:, width:] == 77).all(), "wrote between the rows"


@each_kernel
def test_up_multiplies_the_gate_that_stands_there(gpu: Device, kernel: LinearKernel) -> None:
    width, stride = 35, 64
    c = case(kernel, width, biased=True)
    gate = np.random.default_rng(4).normal(0, 3, (len(c.x), stride)).astype(np.float32)
    y = kernel.run(gpu, c.blocks, c.x, epilogue="up", biases=c.biases, arrays={"y": gate},
                   uniforms={"out": {"width": width, "stride": stride}})["y"]  # fmt: skip
    agree(y[:, :width], swiglu(gate[:, :width].astype(np.float64), c.y), rel=1e-5, abs=1e-5)
    np.testing.assert_array_equal(y[:, width:], gate[:, width:])


# Q, K and V

N_HEADS, N_KV_HEADS, HEAD_DIM, MAX_PAGES, N_PAGES = 4, 2, 16, 3, 7
HALF = HEAD_DIM // 2
PARTS = {"q": N_HEADS * HEAD_DIM, "k": N_KV_HEADS * HEAD_DIM, "v": N_KV_HEADS * HEAD_DIM}
ROPES = {
    "interleaved": (HALF, True),
    "half-split": (HALF, False),
    "partial-interleaved": (HALF - 2, True),
    "partial-half-split": (HALF - 2, False),
    "none": (0, True),
}


def pairs_of(x: Array, rope: Rope) -> Array:
    """[rows, heads, head_dim] as pairs [rows, heads, head_dim / 2, 2]: those that turn together, then neighbours."""
    n = len(rope.frequencies)
    if rope.interleaved:
        return x.reshape(*x.shape[:2], -1, 2)
    turned = np.stack([x[..., :n], x[..., n : 2 * n]], -1)
    return np.concatenate([turned, x[..., 2 * n :].reshape(*x.shape[:2], -1, 2)], -2)


def run_qkv(
    gpu: Device, kernel: LinearKernel, c: Case, parts: str, rope: Rope, kv: str
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.uint32], NDArray[np.uint32]]:
    """q [rows, n_heads, pairs, 2], the cache [pages, 2, n_kv_heads, PAGE, pairs, 2], and the rows and page tables."""
    n = len(c.x)
    rng = np.random.default_rng(9)
    first_table = 4  # of another layer group
    pages = np.full(first_table + n * MAX_PAGES, 99, np.uint32)
    rows = np.array([(m, m % (MAX_PAGES * PAGE), m % 5 == 3, m) for m in range(n)], np.uint32)
    position = np.arange(n) % (MAX_PAGES * PAGE)
    cells = rng.permutation(N_PAGES * PAGE)[:n]  # a row's own cell of the cache
    position = position // PAGE * PAGE + cells % PAGE
    rows[:, 1] = position
    pages[first_table + np.arange(n) * MAX_PAGES + position // PAGE] = cells // PAGE
    cache = np.full((N_PAGES, 2, N_KV_HEADS, PAGE, HALF, 2), 77, np.float32 if kv == "f32" else np.float16)
    arrays = {"q": filled(n, N_HEADS, HALF, 2), "kv": cache, "rows": rows, "pages": pages}
    heads = {
        "q_pairs": PARTS["q"] // 2 if "q" in parts else 0,
        "k_pairs": PARTS["k"] // 2 if "k" in parts else 0,
        "head_dim": HEAD_DIM,
        "n_heads": N_HEADS,
        "n_kv_heads": N_KV_HEADS,
        "max_pages": MAX_PAGES,
        "page_table": first_table,
    }
    done = kernel.run(gpu, c.blocks, c.x, epilogue="qkv", biases=c.biases, arrays=arrays, kv=kv,
                      parameters={"PAGE": PAGE, "INTERLEAVED": rope.interleaved},
                      uniforms={"heads": heads, "rope": rope_uniform(rope)})  # fmt: skip
    return done["q"], done["kv"], rows, cells


@each_kernel
@pytest.mark.parametrize(
    ("turn", "parts", "kv", "biased"),
    [
        ("interleaved", "qkv", "f32", True),
        ("half-split", "qkv", "f16", False),
        ("partial-interleaved", "qkv", "f32", False),
        ("partial-half-split", "qkv", "f32", True),
        ("none", "qkv", "f32", False),
        ("half-split", "qv", "f32", True),
        ("half-split", "k", "f16", True),
        ("interleaved", "kv", "f32", False),
        ("interleaved", "v", "f32", True),
    ],
)
def test_qkv_are_turned_and_put_where_attention_reads_them(
    gpu: Device, kernel: LinearKernel, turn: str, parts: str, kv: str, biased: bool
) -> None:
    n_pairs, interleaved = ROPES[turn]
    rope = Rope(tuple(100.0 ** (-i / HALF) for i in range(n_pairs)), interleaved, magnitude=1.25)
    c = case(kernel, sum(PARTS[part] for part in parts), biased=biased)
    q, cache, rows, cells = run_qkv(gpu, kernel, c, parts, rope, kv)

    position = rows[:, 1].astype(np.int64)
    expected = dict(zip(parts, np.split(c.y, np.cumsum([PARTS[part] for part in parts])[:-1], axis=1), strict=True))
    heads = {part: y.reshape(len(rows), -1, HEAD_DIM) for part, y in expected.items()}
    if "q" in heads:
        agree(q, pairs_of(rotated(heads["q"], position, rope), rope), abs=4e-6)
    else:
        assert (q == 77).all()
    exact = {"abs": 4e-6} if kv == "f32" else {"rel": 2**-11, "abs": 4e-6}
    untouched = np.ones(cache.shape, bool)
    live = np.flatnonzero(rows[:, 2] == 0)
    for is_v, part in enumerate("kv"):
        if part in heads:
            pairs = pairs_of(rotated(heads[part], position, rope), rope) if part == "k" else heads[part]
            stored = cache[cells // PAGE, is_v, :, cells % PAGE][live]
            agree(stored, pairs.reshape(len(rows), N_KV_HEADS, HALF, 2)[live], **exact)
            untouched[cells[live] // PAGE, is_v, :, cells[live] % PAGE] = False
    assert (cache[untouched] == 77).all(), "wrote to the cache of another position, or of a row that is done"


# Logits

VOCAB = 101
SLOTS = 3
FORBIDDEN = np.float32(-3e38)
PENALTIES = Sampling(repeat_penalty=1.7, frequency_penalty=0.3, presence_penalty=-0.4, logit_bias={0: 2.5, 100: -1.5})


def vocabulary_of(
    samplings: Sequence[Sampling], histories: Sequence[Sequence[int]], banned: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """The buffer "vocabulary": per slot a mask, biases and counts."""
    layout = VocabularyLayout(VOCAB)
    words = np.zeros((len(samplings), layout.slot_words), np.uint32)
    mask = np.ones(layout.mask_words * 32, np.uint8)
    mask[banned] = 0
    words[:, : layout.mask_words] = np.packbits(mask, bitorder="little").view(np.uint32)
    for slot, (sampling, history) in enumerate(zip(samplings, histories, strict=True)):
        bias = words[slot, layout.bias : layout.bias + VOCAB].view(np.float32)
        for token, value in sampling.logit_bias.items():
            bias[token] = max(value, float(FORBIDDEN))
        words[slot, layout.counts : layout.counts + VOCAB] = np.bincount(history, minlength=VOCAB)
    return words


@pytest.mark.parametrize("kernel", [matvec(1, 1), matvec(4, 16), TILE, BROADCAST], ids=str)
def test_logits_carry_penalties_bias_and_mask_and_their_statistics(gpu: Device, kernel: LinearKernel) -> None:
    rng = np.random.default_rng(6)
    c = case(kernel, VOCAB, spread=4.0)
    c.blocks.bytes[70:75] = c.blocks.bytes[70]  # equal logits
    y = c.x.astype(np.float64) @ c.blocks.decoded().T
    outputs = len(c.x)
    samplings = [Sampling(), PENALTIES, Sampling(logit_bias={3: -np.inf}, repeat_penalty=1.2)]
    histories = [[], rng.integers(0, VOCAB, 60).tolist(), [3, 3, 4]]
    banned = np.array([1, 31, 32, 64, 99])
    states = [
        SamplingState(
            repeat_penalty=s.repeat_penalty, frequency_penalty=s.frequency_penalty, presence_penalty=s.presence_penalty
        )
        for s in samplings
    ]
    workgroups = kernel.groups(-(-VOCAB // 2), outputs)[0]
    parts = rng.uniform(50, 150, (outputs, 2)).astype(np.float32)
    rows = np.array([(m % SLOTS, 5, 0, (7 * m + 1) % outputs) for m in range(outputs)], np.uint32)
    arrays = {
        "parts": parts,
        "rows": rows,
        "logits": filled(outputs, VOCAB),
        "stats": filled(outputs, workgroups, 4),
        "vocabulary": vocabulary_of(samplings, histories, banned),
        "sequences": np.frombuffer(b"".join(state.pack() for state in states), np.uint32),
    }
    layout = VocabularyLayout(VOCAB)
    uniforms = {
        "norm": {"n_parts": 2, "width": COLUMNS, "eps": EPS},
        "vocab": {"size": VOCAB, "mask_words": layout.mask_words, "slot_words": layout.slot_words},
    }
    done = kernel.run(gpu, c.blocks, c.x, input="selected", epilogue="logits", arrays=arrays, uniforms=uniforms)
    logits, stats = done["logits"], done["stats"]

    scale = 1 / np.sqrt(parts.astype(np.float64).sum(1, keepdims=True) / COLUMNS + EPS)
    for m in range(outputs):
        # The slot whose options count is that of the row that the output is made from.
        source = rows[m, 3]
        slot = rows[source, 0]
        expected = adjusted((y * scale)[source], samplings[slot], histories[slot])
        expected[banned] = -np.inf
        expected = np.maximum(expected, float(FORBIDDEN))
        agree(logits[m], expected, rel=1e-5, abs=1e-5)
    check_statistics(logits, stats, 2 * kernel.tile_pairs)


def check_statistics(logits: NDArray[Any], stats: NDArray[Any], block_tokens: int) -> None:
    """Per block of logits: their maximum, the sum of exponentials below it, and its first token."""
    for block in range(stats.shape[1]):
        of_block = logits[:, block * block_tokens : (block + 1) * block_tokens]
        maximum = of_block.max(1)
        np.testing.assert_array_equal(stats[:, block, 0], maximum)
        tokens = np.ascontiguousarray(stats[:, block, 2]).view(np.uint32)
        np.testing.assert_array_equal(tokens, block * block_tokens + of_block.argmax(1))
        agree(stats[:, block, 1], np.exp(of_block.astype(np.float64) - maximum[:, None]).sum(1), rel=1e-5)
