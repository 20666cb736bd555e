"""A decode step asks the same of the device at any position: nothing of its host's work grows with the context."""

from collections import Counter
from collections.abc import Iterator

import pytest

from engines import opened
from gpu import Device
from gpu_calls import counted
from shaderlm.engine.decode import Decoder
from shaderlm.engine.engine import Engine
from shaderlm.engine.prefill import prefill_and_sample
from shaderlm.hosts.native.thread import run_now
from tiny_model import TINY


@pytest.fixture(scope="module")
def engine(gpu: Device) -> Iterator[Engine]:
    with opened(gpu.gpu, TINY, context=512, kv_dtype="f16") as engine:
        yield engine


def step_at(gpu: Device, engine: Engine, position: int) -> Counter[str]:
    """What the fourth of some steps behind so many tokens costs: by then everything has been made."""
    sequence = engine.open_sequence()
    engine.set_tokens(sequence, [(7 * i) % engine.vocabulary.size for i in range(position)])
    engine.set_neutral_sampling(sequence)
    run_now(prefill_and_sample(engine, sequence))
    decoder = run_now(Decoder.open(engine, [sequence]))
    for _ in range(3):
        run_now(decoder.read(decoder.submit()))
    with counted(gpu.gpu) as counts:
        run_now(decoder.read(decoder.submit()))
    engine.close_sequence(sequence, keep=False)
    return counts


def test_a_step_costs_the_same_at_a_short_and_at_a_long_position(gpu: Device, engine: Engine) -> None:
    short, long = step_at(gpu, engine, 5), step_at(gpu, engine, 486)
    joined = long.pop("dispatches") - short["dispatches"]
    assert joined == engine.model.config.n_layers, "parts of attention are joined where there are several"
    assert +short == +long | {"dispatches": short["dispatches"]}
    assert (short["passes"], short["submits"]) == (1, 1)
    assert (short["bind_groups"], short["buffers"], short["bytes_written"]) == (0, 0, 0)
    assert 0 < short["dispatches"] <= 6 * engine.model.config.n_layers + 5


def test_tables_of_workgroups_are_made_once_for_each_doubling_of_the_context(gpu: Device, engine: Engine) -> None:
    for position in (5, 60, 100, 130, 200, 300, 486, 5, 300):
        step_at(gpu, engine, position)
    tables = run_now(engine.decode_plan(1)).tables
    assert sorted(keys for _, keys in tables) == [64, 128, 256, 512]
