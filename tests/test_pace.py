"""Where a prefill is cut into submits: by what dispatches are assumed to take, and by how much slower a device is."""

from collections.abc import Sequence
from itertools import accumulate, chain, pairwise

import pytest

from shaderlm.engine.pace import TARGET_SECONDS, Pace
from shaderlm.planner.work import DISPATCH_SECONDS

LAYER = [0.0317, 0.011, 0.0, 0.0, 0.021, 0.036, 0.033]  # assumed seconds of a layer's dispatches


def cut(pace: Pace, seconds: Sequence[float]) -> list[list[float]]:
    """The dispatches of each submit, by their seconds."""
    borders = [0.0, *accumulate(seconds)]
    submits, start = [], 0
    while start < len(seconds):
        stop = pace.stop(borders, start)
        submits.append(list(seconds[start:stop]))
        start = stop
    return submits


def at(slowness: float) -> Pace:
    pace = Pace()
    pace.slowness = slowness
    return pace


@pytest.mark.parametrize("slowness", [1e-6, 0.01, 0.3, 1.0, 1.5, 4.0, 100.0, 1e12])
def test_every_dispatch_is_submitted_once_and_in_order(slowness: float) -> None:
    assert list(chain(*cut(at(slowness), 7 * LAYER))) == 7 * LAYER


@pytest.mark.parametrize("slowness", [0.01, 0.3, 1.0, 1.5, 2.4])
def test_no_submit_is_predicted_to_take_longer_than_the_target(slowness: float) -> None:
    for submit in cut(at(slowness), 7 * LAYER):
        assert slowness * sum(submit) <= TARGET_SECONDS + 1e-12, submit


@pytest.mark.parametrize("slowness", [0.01, 0.3, 1.0, 1.5, 2.4])
def test_submits_are_no_more_than_they_need_to_be(slowness: float) -> None:
    submits = cut(at(slowness), 7 * LAYER)
    for submit, following in pairwise(submits):
        assert slowness * (sum(submit) + following[0]) > TARGET_SECONDS, "one more dispatch would have fitted"


def test_a_fast_device_takes_all_layers_at_once_and_a_slow_one_is_cut_inside_a_layer() -> None:
    assert len(cut(at(0.1), 7 * LAYER)) == 1
    assert cut(at(1.0), LAYER) == [LAYER[:6], LAYER[6:]]
    assert cut(at(2.0), LAYER) == [LAYER[:4], [0.021], [0.036], [0.033]]


def test_a_dispatch_longer_than_the_target_is_a_submit_of_its_own() -> None:
    assert cut(at(1.0), [0.01, 7.0, 0.01]) == [[0.01], [7.0], [0.01]]
    assert cut(at(1e9), LAYER) == [[0.0317], [0.011, 0.0, 0.0], [0.021], [0.036], [0.033]]


def test_dispatches_that_have_nothing_to_do_make_no_submit_of_their_own() -> None:
    for slowness in (1e-3, 1.0, 1e9):
        assert cut(at(slowness), [0.0, 0.0, 0.5, 0.0, 0.0]) == [[0.0, 0.0, 0.5, 0.0, 0.0]]


def test_an_unknown_device_is_taken_at_the_plans_word() -> None:
    assert Pace().slowness == 1.0


def test_a_slow_measurement_counts_at_once_and_a_fast_one_by_half() -> None:
    pace = Pace()
    pace.learn(measured=0.3, assumed=0.1)
    assert pace.slowness == pytest.approx(3.0)
    pace.learn(measured=0.1, assumed=0.1)
    assert pace.slowness == pytest.approx(2.0)
    pace.learn(measured=0.1, assumed=0.1)
    assert pace.slowness == pytest.approx(1.5)


def test_what_is_submitted_at_once_at_most_doubles_while_a_device_turns_out_to_be_fast() -> None:
    """On a device a thousand times as fast as assumed, whose submits take a millisecond however little they do."""
    pace, seconds = Pace(), [0.01] * 10_000
    borders = [0.0, *accumulate(seconds)]
    sizes, start = [], 0
    while start < len(seconds):
        stop = pace.stop(borders, start)
        sizes.append(stop - start)
        pace.learn(0.001 + 1e-3 * (borders[stop] - borders[start]), borders[stop] - borders[start])
        start = stop
    assert sizes[0] == 10
    assert all(after <= 2 * before + 1 for before, after in pairwise(sizes)), sizes
    assert len(sizes) < 20, "it has not been learnt"


@pytest.mark.parametrize("slower", [1.0, 2.0, 2.4])
def test_no_submit_takes_half_a_second_on_a_device_up_to_2_5_times_as_slow_as_assumed(slower: float) -> None:
    """With dispatches as long as the planner lets them be."""
    pace, seconds = Pace(), 30 * [*LAYER, DISPATCH_SECONDS]
    borders = [0.0, *accumulate(seconds)]
    took, start = [], 0
    while start < len(seconds):
        stop = pace.stop(borders, start)
        took.append(slower * (borders[stop] - borders[start]))
        pace.learn(took[-1], borders[stop] - borders[start])
        start = stop
    assert max(took) < 0.5
    several = [t for t in took[1:] if t < slower * DISPATCH_SECONDS - 1e-9]
    assert max(several) <= TARGET_SECONDS + 1e-9, "the first submit has told how slow it is"
