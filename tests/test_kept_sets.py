"""What the sampler on the GPU keeps, held against a float64 sort: at every cut, for every shape of a distribution."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu import Device
from sampler import Step, one_slot_each, state_of
from sampler_reference import kept_in_order, softmax
from shaderlm.planner.compose import Kernel, parse
from shaderlm.sampling import Sampling

Logits = NDArray[np.float32]

OFF = Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
DRAWN = "let drawn = Best(logit / s.temperature"
TOKENS = "@group(0) @binding(6) var<storage, read_write> tokens: array<u32>;\n"


def counting(kernel: Kernel) -> Kernel:
    """A kernel that counts each token that it considers drawing in `tokens`, which is [outputs, vocab] here."""
    code = kernel.source.code
    assert code.count(DRAWN) == 1
    output = "kept.output" if kernel.source.label == "sample" else "output"
    code = code.replace(DRAWN, f"tokens[{output} * vocab.size + token] += 1u;\n{DRAWN}")
    has_tokens = any(binding.name == "tokens" for binding in kernel.bindings)
    return parse(code if has_tokens else TOKENS + code, f"counting {kernel.source.label}")


def considered(step: Step, gpu: Device) -> NDArray[np.uint32]:
    """How often each token was considered, [outputs, vocab]."""
    step.tokens = np.zeros(step.logits.shape, np.uint32)
    return step.run(gpu, changed=counting).tokens


def kept_on_gpu(
    gpu: Device, logits: Logits, samplings: list[Sampling], *, block_tokens: int = 64, workgroup: int = 16
) -> NDArray[np.uint32]:
    """How often each token was considered, [samplings, vocab], for one row of logits under several options."""
    rows = np.tile(logits, (len(samplings), 1))
    states = [state_of(sampling) for sampling in samplings]
    step = Step(rows, states, one_slot_each(len(samplings)), block_tokens=block_tokens, workgroup=workgroup)
    return considered(step, gpu)


def check_kept(counts: NDArray[np.uint32], logits: Logits, sampling: Sampling) -> None:
    """The kept are the first few in order, as many as a float64 sort keeps, give or take what lies at `top_p`."""
    assert counts.max() == 1, f"{sampling}: a token was considered {counts.max()} times"
    kept = np.flatnonzero(counts)
    order = np.argsort(-logits.astype(np.float64), kind="stable")
    np.testing.assert_array_equal(kept, np.sort(order[: len(kept)]), err_msg=f"{sampling}: not the likeliest ones")
    expected = len(kept_in_order(logits, sampling))
    if len(kept) != expected:
        of_top_k = order[: sampling.top_k or None]
        reached = np.concatenate([[0], np.cumsum(softmax(logits[of_top_k].astype(np.float64)))])
        doubtful = reached[min(len(kept), expected) : max(len(kept), expected)]
        distance = np.abs(doubtful - sampling.top_p).max()
        assert distance <= 1e-6, f"{sampling}: kept {len(kept)}, a sort keeps {expected}; {distance} from top_p"


def check_all_kept(gpu: Device, logits: Logits, samplings: list[Sampling], **kernels: int) -> None:
    for counts, sampling in zip(kept_on_gpu(gpu, logits, samplings, **kernels), samplings, strict=True):
        check_kept(counts, logits, sampling)


def each_alone(vocab: int) -> list[Sampling]:
    """Each cut alone, at its ends and in between."""
    return [
        OFF,
        *(replace(OFF, top_k=k) for k in (1, 2, 40, 511, 512, 513, 5000, 100_000, vocab - 1, vocab, vocab + 1)),
        *(replace(OFF, top_p=p) for p in (0.0, 1e-9, 0.1, 0.5, 0.9, 0.95, 0.99, 0.9999, 0.999999, 1 - 2**-24)),
        *(replace(OFF, min_p=p) for p in (1e-9, 0.001, 0.05, 0.3, 1.0)),
    ]


def together(vocab: int) -> list[Sampling]:
    """Several cuts, each of which is the tightest once."""
    return [
        Sampling(),
        Sampling(temperature=1e-6),
        Sampling(temperature=1000, top_k=0),
        replace(OFF, top_k=100, top_p=0.9),
        replace(OFF, top_k=512, top_p=0.6, min_p=0.01),
        replace(OFF, top_k=512, min_p=0.3),
        replace(OFF, top_k=600, top_p=0.9999),
        replace(OFF, top_k=20_000, top_p=0.3),
        replace(OFF, top_k=20_000, top_p=0.99),
        replace(OFF, top_k=20_000, top_p=0.99, min_p=0.001),
        replace(OFF, top_k=20_000, min_p=0.3),
        replace(OFF, top_k=vocab - 1, top_p=0.999999, min_p=0.02),
        replace(OFF, top_p=0.5, min_p=0.2),
        replace(OFF, top_p=0.1, min_p=0.001),
        replace(OFF, top_p=0.99, min_p=1.0),
    ]


def options(vocab: int) -> list[Sampling]:
    return each_alone(vocab) + together(vocab)


def broad(vocab: int) -> Logits:
    return np.random.default_rng(vocab).normal(0, 3, vocab).astype(np.float32)


def peaked(vocab: int) -> Logits:
    """As a language model's: a bulk, and some tokens that stand out."""
    rng = np.random.default_rng(vocab)
    logits = rng.normal(0, 2, vocab)
    logits[rng.choice(vocab, 300, replace=False)] += 4 + rng.exponential(4, 300)
    return logits.astype(np.float32)


@pytest.mark.parametrize(
    ("logits", "block_tokens", "workgroup"),
    [
        (broad(49_152), 64, 16),
        (broad(49_152), 8, 256),
        (peaked(49_152), 64, 16),
        (peaked(128_256), 8, 16),
        (broad(128_256), 64, 16),
        (broad(262_144), 64, 16),
        (peaked(262_144), 64, 16),
    ],
    ids=["49k", "49k-wide", "49k-peaked", "128k-peaked", "128k", "262k", "262k-peaked"],
)
def test_the_kept_set_is_that_of_a_float64_sort(gpu: Device, logits: Logits, block_tokens: int, workgroup: int) -> None:
    check_all_kept(gpu, logits, options(len(logits)), block_tokens=block_tokens, workgroup=workgroup)


# Ties and flat distributions


def test_of_equal_logits_the_lower_ids_are_kept(gpu: Device) -> None:
    """Logits in steps of a quarter: some thousands of tokens are tied at every cut."""
    vocab = 49_152
    logits = np.round(np.random.default_rng(1).normal(0, 2, vocab) * 4).astype(np.float32) / 4
    check_all_kept(gpu, logits, options(vocab))


@pytest.mark.parametrize("vocab", [1, 5, 300, 4097, 262_144])
def test_constant_logits_are_kept_from_the_lowest_id_on(gpu: Device, vocab: int) -> None:
    logits = np.full(vocab, -1.5, np.float32)
    samplings = [replace(OFF, top_k=k) for k in (1, 3, 700, vocab - 1, vocab)]
    samplings += [replace(OFF, top_p=p) for p in (0.0, 0.3, 0.7)]
    samplings += [replace(OFF, min_p=1.0), *(replace(OFF, top_k=200, top_p=p) for p in (0.4, 0.9999))]
    samplings += [replace(OFF, top_k=65_537, top_p=0.9999)]
    check_all_kept(gpu, logits, samplings)


@pytest.mark.parametrize("distance", [1e-6, 0.02, 1.0, 20.0, 150.0])
def test_of_two_levels_the_lower_one_is_cut_by_id(gpu: Device, distance: float) -> None:
    """A third of the tokens lie above the rest: cuts within either level, and at their border."""
    vocab = 49_152
    above = np.random.default_rng(5).random(vocab) < 1 / 3
    logits = np.where(above, np.float32(2), np.float32(2 - distance)).astype(np.float32)
    n = int(above.sum())
    samplings = [replace(OFF, top_k=k) for k in (1, 512, 513, n - 1, n, n + 1, 40_000)]
    check_all_kept(gpu, logits, samplings + [replace(OFF, top_p=p) for p in (0.1, 0.5, 0.9, 0.9999)])


def test_more_tied_blocks_than_are_listed_are_searched_all(gpu: Device) -> None:
    """The maxima of 2,048 blocks are tied, but for one that lies above them."""
    logits = np.full(16_384, -1.5, np.float32)
    logits[1605] = 2.0
    check_all_kept(gpu, logits, [replace(OFF, top_k=k) for k in (1, 2, 3, 500)], block_tokens=8)


def test_zeros_of_both_signs_are_equal(gpu: Device) -> None:
    logits = np.array([-1.0, -0.0, 0.0, -0.0, 0.0, -1.0], np.float32)
    check_all_kept(gpu, logits, [replace(OFF, top_k=k) for k in range(1, 6)] + [replace(OFF, min_p=1.0)])


# Logits out of the ordinary


def test_a_block_that_reaches_past_the_vocabulary_ends_with_it(gpu: Device) -> None:
    """Behind the last logits of a row lie the first ones of the next: here its largest."""
    logits = np.linspace(0, 10, 1000).astype(np.float32)
    logits[:3] = 20
    check_all_kept(gpu, logits, [replace(OFF, top_k=k) for k in (2, 3, 4, 5, 15)] + each_alone(1000))


def test_a_logit_that_dominates_is_kept_alone(gpu: Device) -> None:
    logits = np.random.default_rng(2).normal(0, 1, 49_152).astype(np.float32)
    logits[40_001] = 200
    check_all_kept(gpu, logits, options(49_152))


@pytest.mark.parametrize("allowed", [1, 12, 3000])
def test_what_is_forbidden_is_never_kept(gpu: Device, allowed: int) -> None:
    """Most tokens masked, as under a grammar: fewer than top_k, and than the blocks, are left."""
    vocab = 49_152
    rng = np.random.default_rng(3)
    logits = np.full(vocab, -np.inf, np.float32)
    left = np.sort(rng.choice(vocab, allowed, replace=False))
    logits[left] = rng.normal(0, 3, allowed)
    samplings = options(vocab)
    for counts, sampling in zip(kept_on_gpu(gpu, logits, samplings), samplings, strict=True):
        assert not counts[logits == -np.inf].any(), f"{sampling}: a forbidden token was considered"
        check_kept(counts[left], logits[left], sampling)


def test_what_is_no_number_is_never_kept(gpu: Device) -> None:
    """The head lets none through; if an adapter's arithmetic did, the others would be kept as if it were not there."""
    vocab = 9_000
    logits = broad(vocab)
    spoilt = np.zeros(vocab, bool)
    spoilt[np.random.default_rng(6).choice(vocab, 100)] = True
    logits[spoilt] = np.nan
    samplings = options(vocab)
    for counts, sampling in zip(kept_on_gpu(gpu, logits, samplings), samplings, strict=True):
        assert not counts[spoilt].any(), f"{sampling}: a token without a number was considered"
        check_kept(counts[~spoilt], logits[~spoilt], sampling)


def test_where_all_is_forbidden_the_last_token_is_drawn(gpu: Device) -> None:
    """Nothing is right then, but the id is one of the vocabulary's and the step ends."""
    samplings = options(3000)
    rows = np.full((len(samplings), 3000), -np.inf, np.float32)
    step = Step(rows, [state_of(sampling) for sampling in samplings], one_slot_each(len(samplings))).run(gpu)
    assert (step.drawn == 2999).all()


def test_logits_of_any_size_are_kept_in_order(gpu: Device) -> None:
    """Negative, zero, tiny and huge: the order of keys is that of floats."""
    tiny, huge = 1.2e-38, 1e38
    logits = np.array([huge, -huge, 0.0, 1.0, -tiny, tiny, -1.0, 2.5e38, 3.0, -2.9e38], np.float32)
    samplings = [replace(OFF, top_k=k) for k in range(1, 11)] + [replace(OFF, top_p=0.5)]
    check_all_kept(gpu, logits, samplings)
    check_all_kept(gpu, logits, samplings, block_tokens=8)
    check_all_kept(gpu, np.repeat(logits, 200), [replace(OFF, top_k=k) for k in (1, 199, 401, 700, 1001, 1850)])


# Several rows


def test_rows_of_a_step_are_cut_each_by_its_own_options(gpu: Device) -> None:
    """Rows in another order than outputs and slots, of other shapes, with every kind of cut; one is done already."""
    vocab, n = 20_000, 8
    rng = np.random.default_rng(7)
    logits = np.stack([scale * rng.normal(0, 3, vocab) for scale in np.geomspace(0.01, 30, n)]).astype(np.float32)
    samplings = [OFF, replace(OFF, top_p=0.9), replace(OFF, top_k=5000), Sampling(), replace(OFF, min_p=0.1),
                 replace(OFF, top_k=3000, top_p=0.8), replace(OFF, temperature=0), replace(OFF, top_p=0.5)]  # fmt: skip
    source = rng.permutation(n)  # the row that an output is made from
    slots = rng.permutation(n)
    rows = np.zeros((n, 4), np.uint32)
    rows[:, 0], rows[:, 1], rows[:, 3] = slots, 10, source
    rows[source[5], 2] = 1
    counts = considered(Step(logits, [state_of(sampling) for sampling in samplings], rows), gpu)
    for output in range(n):
        sampling = samplings[slots[source[output]]]
        if output == 5 or sampling.temperature == 0:
            assert not counts[output].any()
        else:
            check_kept(counts[output], logits[output], sampling)
