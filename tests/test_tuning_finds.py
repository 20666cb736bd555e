"""What timing found: when a variant wins, and what is kept of it."""

import json
from pathlib import Path

import pytest

from plans import CPU, GPU
from shaderlm.engine.self_test import store_key
from shaderlm.engine.tuning_finds import ROUNDS, Find, Finds, KeptFinds, is_ahead, read_finds, wins, write_finds
from shaderlm.hosts.native.store import FileStore
from shaderlm.hosts.native.thread import run_now
from shaderlm.planner.tuned import LinearShape

SHAPE = LinearShape("decode", "Q4_0", 64, 2)


# When a variant wins


def test_a_variant_wins_where_it_is_a_tenth_faster() -> None:
    assert wins([1.0] * ROUNDS, [1.1] * ROUNDS)
    assert not wins([1.0] * ROUNDS, [1.09] * ROUNDS)


def test_a_variant_that_was_faster_by_luck_does_not_win() -> None:
    """Its median is lower by far, but only because something else slowed the default down in half of the rounds."""
    assert not wins([1.0] * 8, [0.9, 3.0, 0.9, 3.0, 0.9, 3.0, 3.0, 0.9])
    assert not wins([1.0], [2.0]), "once is not enough"


def test_a_variant_that_falls_behind_is_given_up() -> None:
    assert not is_ahead([1.6], [1.0])
    assert is_ahead([1.4], [1.0]), "one round may be unlucky"
    assert not is_ahead([0.97, 0.97], [1.0, 1.0]), "it would have to win by a tenth"
    assert is_ahead([0.9, 0.9], [1.0, 1.0])


def test_the_winner_is_the_one_that_gains_most() -> None:
    find = Find(SHAPE, "exact", "default", "default", {})
    find = find.with_times("fast", [0.5] * ROUNDS, [1.0] * ROUNDS)
    find = find.with_times("good", [0.8] * ROUNDS, [1.0] * ROUNDS)
    find = find.with_times("slow", [1.7], [1.0])
    assert find.winner == "fast"
    assert {name: time.gain for name, time in find.times.items()} == pytest.approx(
        {"default": 1, "fast": 2, "good": 1.25, "slow": 1 / 1.7}
    )


# What is kept


def test_finds_are_kept_and_can_be_forgotten(tmp_path: Path) -> None:
    store, finds = FileStore(tmp_path), Finds().with_passed("a").with_wrong("b")
    finds = finds.with_find(
        Find(SHAPE, "exact", "default", "default", {}).with_times("x", [0.5] * ROUNDS, [1.0] * ROUNDS)
    )
    run_now(write_finds(store, CPU, finds))
    assert run_now(read_finds(store, CPU)) == finds
    assert run_now(read_finds(store, GPU)) == Finds()
    run_now(write_finds(store, CPU, Finds()))
    assert run_now(read_finds(store, CPU)) == Finds()


def test_what_others_keep_or_forget_meanwhile_stays_as_they_have_it(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    one, other = (run_now(KeptFinds.open(store, CPU)) for _ in range(2))
    run_now(one.add(lambda finds: finds.with_wrong("one's")))
    run_now(other.add(lambda finds: finds.with_wrong("other's").with_passed("a")))
    run_now(one.add(lambda finds: finds.with_passed("b")))
    assert run_now(read_finds(store, CPU)) == Finds({}, frozenset("ab"), frozenset({"one's", "other's"}))
    run_now(write_finds(store, CPU, Finds()))
    run_now(one.add(lambda finds: finds.with_passed("c")))
    assert run_now(read_finds(store, CPU)) == Finds({}, frozenset("c")), "the others were forgotten"
    assert one.finds == Finds({}, frozenset("bc"), frozenset({"one's"})), "but are not found again by who knows them"


TIME = {"median": 1, "least": 1, "most": 1, "gain": 1}
SHAPE_KEPT = {"step": "decode", "type": "Q4_0", "rows": 1, "groups": 1}
KEPT = {"shape": SHAPE_KEPT, "arithmetic": "exact", "default": "a", "winner": "a"}


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"shapes": 7}',
        b'{"shapes": [7]}',
        json.dumps({"shapes": [KEPT]}).encode(),
        json.dumps({"shapes": [{**KEPT, "times": {}}]}).encode(),
        json.dumps({"shapes": [{**KEPT, "times": {"a": {**TIME, "gain": None}}}]}).encode(),
        json.dumps({"shapes": [{**KEPT, "winner": "b", "times": {"a": TIME}}]}).encode(),
    ],
)
def test_finds_that_cannot_be_read_were_never_found(tmp_path: Path, kept: bytes) -> None:
    store = FileStore(tmp_path)
    run_now(store.put(store_key(CPU, "tuning"), kept))
    assert run_now(read_finds(store, CPU)) == Finds()


def test_a_find_holds_for_the_default_that_it_was_made_beside() -> None:
    find = Find(SHAPE, "exact", "a", "a", {}).with_times("b", [0.5] * ROUNDS, [1.0] * ROUNDS)
    finds = Finds().with_find(find)
    assert finds.of((SHAPE, "exact"), ["a", "b"]) == find
    assert finds.of((SHAPE, "exact"), ["c", "a", "b"]).times == {}
    assert finds.of((SHAPE, "exact"), ["a"]).times == {}, "the winner has been dropped"
