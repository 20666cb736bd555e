"""The engine's sequences: logits however the rows were cut into steps, pages shared, given back and grown."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agreement import agree
from engines import (
    all_logits,
    decode,
    decode_forced,
    forget_prefixes,
    held_pages,
    opened,
    set_prefill_rows,
    start,
    start_with_prefix,
)
from gguf_writer import write_llama
from gpu import Device
from oracle_models import tiny_llama_interleaved, tiny_llama_interleaved_hyperparameters
from random_llama import VARIANTS, prompt, random_llama
from reference import Reference
from shaderlm.engine.decode import Decoder
from shaderlm.engine.engine import Engine
from shaderlm.engine.sequence import SamplingState
from shaderlm.errors import PromptTooLong
from shaderlm.hosts.native.thread import run_now
from shaderlm.planner.choice import DECODE_ROWS, PAGE
from tiny_model import TINY, golden_logits

TOLERANCE = {"f32": 1e-3, "f16": 0.06}


@pytest.fixture(scope="module", params=["f32", "f16"])
def engine(request: pytest.FixtureRequest, gpu: Device) -> Iterator[Engine]:
    """The tiny model with room for eight sequences."""
    with opened(gpu.gpu, TINY, context=480, slots=8, kv_dtype=request.param) as engine:
        yield engine


@pytest.fixture
def tolerance(engine: Engine) -> float:
    return TOLERANCE[engine.deployment.kv_dtype]


@pytest.fixture(scope="module")
def windowed(gpu: Device, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A model whose layers see 40 positions, with room for two sequences."""
    path = tmp_path_factory.mktemp("windowed") / "windowed.gguf"
    hyperparameters, weights = random_llama(3, sliding_window=40)
    write_llama(path, weights, hyperparameters)
    with opened(gpu.gpu, path, context=480, slots=2) as engine:
        yield engine


@pytest.fixture(autouse=True)
def forget(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test finds what another left, and each gives every page back."""
    yield
    for name in ("engine", "windowed"):
        if name in request.fixturenames:
            engine: Engine = request.getfixturevalue(name)
            forget_prefixes(engine)
            assert held_pages(engine) == [0], f"{held_pages(engine)} pages were not given back"
            assert sorted(engine.free_slots) == list(range(engine.deployment.slots))


def some_tokens(n: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(3, 512, n).tolist()


def solo(engine: Engine, tokens: Sequence[int]) -> np.ndarray:
    """Logits behind the tokens, computed at once by a sequence that shares nothing."""
    sequence, _, logits = start(engine, tokens)
    engine.close_sequence(sequence, keep=False)
    return logits


# The right numbers


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_kind_of_llama_has_the_logits_of_float64(gpu: Device, tmp_path: Path, variant: str) -> None:
    hyperparameters, weights = random_llama(0, **VARIANTS[variant])
    path = write_llama(tmp_path / f"{variant}.gguf", weights, hyperparameters)
    tokens = prompt(hyperparameters, 70)
    with opened(gpu.gpu, path) as engine:
        kept = all_logits(engine, tokens)
        sequence, _, last = start(engine, tokens)
        decoded = decode(engine, [sequence], 8)[:, 0]
    expected = Reference.of(hyperparameters, weights).logits(sequence.tokens[:-1])
    allowed = 1e-4 * np.abs(expected).max()
    agree(kept, expected[:70], abs=allowed)
    agree(last, expected[69], abs=allowed)
    agree(decoded, expected[70:], abs=allowed)


def test_a_model_of_the_oracles_has_the_logits_of_torch(gpu: Device, oracles: Path, tmp_path: Path) -> None:
    model = tiny_llama_interleaved(oracles)
    path = write_llama(tmp_path / "tiny.gguf", model.weights, tiny_llama_interleaved_hyperparameters(oracles))
    with opened(gpu.gpu, path, context=64) as engine:
        tokens = [*model.prompt, *model.decode_tokens]
        agree(all_logits(engine, tokens), model.logits, abs=1e-4)
        agree(decode_forced(engine, tokens), model.logits, abs=1e-4)


def test_the_tiny_model_has_the_logits_of_transformers(engine: Engine, tolerance: float) -> None:
    golden = golden_logits()
    agree(all_logits(engine, golden.prompt_ids), golden.logits, abs=tolerance)
    agree(decode_forced(engine, golden.prompt_ids), golden.logits, abs=tolerance)


# However the rows are cut into steps


@pytest.mark.parametrize("rows", [8, 24, 64, 200])
def test_a_prompt_gives_the_same_logits_in_chunks_of_any_size(engine: Engine, tolerance: float, rows: int) -> None:
    tokens = some_tokens(150)
    expected = decode_forced(engine, tokens)[-1]
    usual = engine.deployment
    set_prefill_rows(engine, rows)
    try:
        agree(solo(engine, tokens), expected, abs=tolerance)
    finally:
        engine.deployment = usual


@pytest.mark.parametrize("pieces", [[1], [31], [32], [33], [149], [1, 2, 3], [5, 64, 65, 100]], ids=str)
def test_a_prompt_gives_the_same_logits_in_several_calls(engine: Engine, tolerance: float, pieces: list[int]) -> None:
    tokens = some_tokens(150)
    sequence, _, logits = start(engine, tokens, pieces=pieces)
    agree(logits, solo(engine, tokens), abs=tolerance)
    engine.close_sequence(sequence, keep=False)


def test_every_row_of_prefill_and_of_decode_agree(engine: Engine, tolerance: float) -> None:
    tokens = some_tokens(80, seed=1)
    agree(all_logits(engine, tokens), decode_forced(engine, tokens), abs=tolerance)


@pytest.mark.parametrize(("length", "steps"), [(250, 20), (470, 1)], ids=["in-decode", "in-prefill"])
def test_logits_stay_right_while_the_cache_grows(gpu: Device, length: int, steps: int) -> None:
    """From one slab to two, where the pages move to larger buffers, against a cache that had two from the start."""

    def run(pages: int) -> list[np.ndarray]:
        with opened(gpu.gpu, TINY, context=480) as engine:
            engine.cache.reserve(pages)
            assert engine.cache.pools[0].capacity == pages
            sequence, _, first = start(engine, some_tokens(length, seed=2))
            decoded = decode(engine, [sequence], steps)
            assert engine.cache.pools[0].capacity == 16
            return [first, decoded]

    for growing, roomy in zip(run(8), run(16), strict=True):
        assert (growing == roomy).all()


def test_a_second_live_sequence_changes_nothing(engine: Engine, tolerance: float) -> None:
    tokens, others = some_tokens(100, seed=4), some_tokens(90, seed=5)
    alone, _, first = start(engine, tokens)
    expected = decode(engine, [alone], 6)[:, 0]
    engine.close_sequence(alone, keep=False)

    other, _, _ = start(engine, others)
    mine, _, logits = start(engine, tokens, pieces=[40])
    agree(logits, first, abs=tolerance)
    decoded = []
    for _ in range(6):  # in turns, each with a plan's step of its own
        decode(engine, [other], 1)
        decoded.append(decode(engine, [mine], 1)[0, 0])
    agree(decoded, expected, abs=tolerance)
    for sequence in (other, mine):
        engine.close_sequence(sequence, keep=False)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8])
def test_decoded_logits_are_bit_equal_beside_any_number_of_neighbours(engine: Engine, count: int) -> None:
    prompts = [some_tokens(20 + 23 * i, seed=i) for i in range(count)]
    expected = []
    for tokens in prompts:
        sequence, _, _ = start(engine, tokens)
        expected.append(decode(engine, [sequence], 5)[:, 0])
        engine.close_sequence(sequence, keep=False)
    together = [start(engine, tokens)[0] for tokens in prompts]
    actual = decode(engine, together, 5)
    assert (actual == np.stack(expected, axis=1)).all()
    for sequence in together:
        engine.close_sequence(sequence, keep=False)
    assert max(rows for mode, rows in engine.plans if mode == "decode") <= max(DECODE_ROWS)


def test_a_sequence_that_ended_waits_while_its_neighbour_goes_on(engine: Engine) -> None:
    short, long = start(engine, some_tokens(40, seed=8))[0], start(engine, some_tokens(50, seed=9))[0]
    solo_sequence = start(engine, some_tokens(50, seed=9))[0]
    expected = decode(engine, [solo_sequence], 6)[:, 0]
    engine.set_sampling(short, SamplingState(last_position=42))  # two more tokens
    decoder = run_now(Decoder.open(engine, [short, long]))
    results = [run_now(decoder.read(decoder.submit())) for _ in range(6)]
    assert [step[0].ended for step in results] == [False, True, True, True, True, True]
    assert short.length == 42, "an ended sequence went on"
    assert len(short.tokens) == 43
    assert long.tokens == solo_sequence.tokens
    assert [step[1].token for step in results] == expected.argmax(-1).tolist()
    for sequence in (short, long, solo_sequence):
        engine.close_sequence(sequence, keep=False)


# Prefixes


def test_a_known_prefix_is_not_computed_again(engine: Engine, tolerance: float) -> None:
    tokens = some_tokens(100, seed=6)
    first, _, _ = start(engine, tokens)
    engine.close_sequence(first)
    longer = [*tokens[:90], *some_tokens(40, seed=7)]
    expected = solo(engine, longer)
    computed = engine.rows_computed
    second, _, logits = start_with_prefix(engine, longer)
    assert engine.rows_computed - computed == 40
    agree(logits, expected, abs=tolerance)
    engine.close_sequence(second)


@pytest.mark.parametrize("common", [1, 31, 32, 33, 63, 64, 95])
def test_sequences_share_the_pages_of_a_common_prefix_and_do_not_disturb_each_other(
    engine: Engine, tolerance: float, common: int
) -> None:
    trunk = some_tokens(96, seed=10)
    branch = [*trunk[:common], *some_tokens(60, seed=11)]
    expected_trunk, expected_branch = decode_after(engine, trunk), decode_after(engine, branch)

    sequence, _, _ = start(engine, trunk)
    engine.close_sequence(sequence)
    held = held_pages(engine)[0]
    one, _, _ = start_with_prefix(engine, branch)
    whole_pages = common // PAGE
    kept = engine.prefixes.kept[-1]
    assert one.pages[0][:whole_pages] == kept.pages[0][:whole_pages], "whole pages are shared"
    assert not set(one.pages[0][whole_pages:]) & set(kept.pages[0]), "the page that is written to is not"
    assert held_pages(engine)[0] == held + len(one.pages[0]) - whole_pages

    two, _, _ = start_with_prefix(engine, trunk)  # the branch has been written by now
    together = decode(engine, [one, two], 8)
    agree(together[:, 0], expected_branch, abs=tolerance)
    agree(together[:, 1], expected_trunk, abs=tolerance)
    engine.close_sequence(one)
    engine.close_sequence(two)


def decode_after(engine: Engine, tokens: Sequence[int]) -> np.ndarray:
    sequence, _, _ = start(engine, tokens)
    logits = decode(engine, [sequence], 8)[:, 0]
    engine.close_sequence(sequence, keep=False)
    return logits


def test_the_longest_known_prefix_is_taken(engine: Engine) -> None:
    tokens = some_tokens(100, seed=12)
    for length in (30, 70, 50):
        sequence, _, _ = start(engine, [*tokens[:length], 3, 3, 3])
        engine.close_sequence(sequence)
    sequence = engine.open_sequence()
    assert engine.take_up_prefix(sequence, tokens) == 70
    engine.close_sequence(sequence)


def test_what_was_used_least_recently_makes_room(gpu: Device) -> None:
    with opened(gpu.gpu, TINY, context=96) as engine:
        prompts = [some_tokens(33, seed=seed) for seed in range(4)]  # two pages each, of three and a spare one
        for tokens in prompts:
            sequence, _, _ = start(engine, tokens)
            engine.close_sequence(sequence)
            assert sum(held_pages(engine)) <= engine.deployment.cache_pages == 4
        sequence = engine.open_sequence()
        assert engine.take_up_prefix(sequence, prompts[0]) == 0
        assert engine.take_up_prefix(sequence, prompts[3]) == 32
        engine.close_sequence(sequence, keep=False)


def test_branches_within_a_page_take_no_more_than_the_cache_was_made_for(gpu: Device) -> None:
    """Each copies the page that it shares in part, and none ever asks for a new one."""
    with opened(gpu.gpu, TINY, context=96) as engine:
        trunk = some_tokens(70, seed=1)
        for seed in range(6):
            sequence, _, _ = start_with_prefix(engine, [*trunk, *some_tokens(5, seed=seed)])
            engine.close_sequence(sequence)
            assert sum(held_pages(engine)) <= engine.deployment.cache_pages
        assert engine.cache.pools[0].capacity == engine.deployment.cache_pages


def test_many_conversations_at_random_stay_apart(engine: Engine, tolerance: float) -> None:
    """Opened, gone on with, branched, dropped and kept in any order: each has the logits that it has alone."""
    rng = np.random.default_rng(13)
    trunks = [some_tokens(120, seed=20 + i) for i in range(3)]
    live: list[Any] = []
    for _ in range(60):
        choice = rng.integers(4)
        if choice <= 1 and len(live) < 6:
            trunk = trunks[rng.integers(3)]
            tokens = [*trunk[: rng.integers(1, 120)], *rng.integers(3, 512, rng.integers(1, 40)).tolist()]
            live.append(start_with_prefix(engine, tokens)[0])
        elif choice == 2 and live:
            chosen = [live[i] for i in rng.permutation(len(live))[: rng.integers(1, len(live) + 1)]]
            logits = decode(engine, chosen, int(rng.integers(1, 4)))[-1]
            for sequence, row in zip(chosen, logits, strict=True):
                agree(row, solo(engine, sequence.tokens[: sequence.length]), abs=tolerance)
        elif live:
            engine.close_sequence(live.pop(rng.integers(len(live))), keep=bool(rng.integers(3)))
        owners = [s.pages[0] for s in live] + [kept.pages[0] for kept in engine.prefixes.kept]
        counts = np.bincount([page for pages in owners for page in pages], minlength=engine.cache.pools[0].capacity)
        assert counts.tolist() == engine.cache.pools[0].holders, "a page's holders are not those that have it"
    for sequence in live:
        engine.close_sequence(sequence)


# Pages


def test_layers_with_a_window_give_pages_back_and_stay_right(windowed: Engine) -> None:
    hyperparameters, weights = random_llama(3, sliding_window=40)
    tokens = prompt(hyperparameters, 300)
    sequence, _, _ = start(windowed, tokens)
    decoded = decode(windowed, [sequence], 40)[:, 0]
    expected = Reference.of(hyperparameters, weights).logits(sequence.tokens[:-1])[300:]
    agree(decoded, expected, abs=1e-4 * np.abs(expected).max())
    assert held_pages(windowed)[0] <= 5, (
        "of 340 positions a window of 40 needs two or three pages, and one to roll back"
    )
    windowed.close_sequence(sequence, keep=False)


def test_a_prefix_is_taken_up_only_where_its_window_is_still_there(windowed: Engine) -> None:
    tokens = prompt({"vocab_size": 160}, 300)
    expected = solo(windowed, [*tokens, 5])
    sequence, _, _ = start(windowed, tokens)
    windowed.close_sequence(sequence)
    early = windowed.open_sequence()
    assert windowed.take_up_prefix(early, [*tokens[:100], 5, 6]) == 0, "those pages are gone"
    windowed.close_sequence(early)
    late, _, logits = start_with_prefix(windowed, [*tokens, 5])
    assert late.pages[0][0] is None
    agree(logits, expected, abs=1e-3)
    windowed.close_sequence(late, keep=False)


def test_a_sequence_that_is_forgotten_gives_its_pages_back(engine: Engine) -> None:
    sequence, _, _ = start(engine, some_tokens(70))
    assert held_pages(engine) == [3]
    engine.forget(sequence)
    assert held_pages(engine) == [0]
    engine.close_sequence(sequence)


def test_no_more_sequences_than_slots(engine: Engine) -> None:
    sequences = [engine.open_sequence() for _ in range(8)]
    with pytest.raises(RuntimeError, match="all 8 sequences"):
        engine.open_sequence()
    for sequence in sequences:
        engine.close_sequence(sequence)


def test_no_more_tokens_than_the_context(engine: Engine) -> None:
    sequence = engine.open_sequence()
    with pytest.raises(PromptTooLong, match="481 tokens, but the context holds 480"):
        engine.set_tokens(sequence, [3] * 481)
    engine.close_sequence(sequence)
