"""What answers cost and what they leave behind: GPU objects, memory, and the calls of a decode step."""

import gc
import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shaderlm
from gpu_calls import counted
from shaderlm import Model
from shaderlm.errors import ContextFull, InvalidOption
from shaderlm.hosts.native.replay import PublicReplay, RawReplay
from tiny_model import NO_END, TINY, goldens
from watching import anonymous_memory, live_objects, wgpu_objects

GOLDENS = goldens()
ALL_OPTIONS: dict[str, Any] = {
    "temperature": 0.9,
    "top_k": 50,
    "top_p": 0.9,
    "min_p": 0.02,
    "repeat_penalty": 1.1,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "repeat_last_n": 32,
    "seed": 1,
}
GREEDY: dict[str, Any] = {"temperature": 0}


# Answers


def answers(model: Model) -> Iterator[Callable[[], object]]:
    """Short answers of every kind, and some that end badly, in rounds of ten; no two rounds draw the same."""
    for i in itertools.count():
        prompt = [3 + (i * 7 + j) % 500 for j in range(1 + i % 40)]
        yield lambda: model.complete("One day", max_tokens=4, temperature=0)
        yield lambda p=prompt: model.complete(p, max_tokens=4)
        yield lambda p=prompt: model.complete(p, max_tokens=4, reuse_prefix=False, **ALL_OPTIONS, logprobs=5)
        yield lambda: model.chat(GOLDENS["memory"].messages, max_tokens=6, logit_bias={5: 1.0})
        yield lambda p=prompt: model.stream(p, max_tokens=50, logit_bias=NO_END).close()
        yield lambda p=prompt: next(model.stream(p, max_tokens=50, logit_bias=NO_END))
        yield lambda p=prompt: model.complete(p, max_tokens=4, stop=["e", "the"], logprobs=0)
        yield lambda p=prompt: model.complete(p, progress=lambda done, total: model.cancel())
        yield lambda: full(model)
        yield lambda p=prompt: model.logits(p)


def full(model: Model) -> None:
    with pytest.raises(ContextFull):
        model.complete([5] * (model.context - 1), logit_bias=NO_END)
    with pytest.raises(InvalidOption):
        model.complete("One day", temperature=-1)


def test_a_thousand_short_answers_leave_nothing_behind() -> None:
    """GPU objects and bytes are the same after ten answers and after all; memory of the last half grows by no 2 MB."""
    n = 1000
    gc.collect()  # devices of earlier tests that only an exception's traceback still holds shall not go meanwhile
    with shaderlm.load(TINY, context=96) as model:
        told: dict[int, Any] = {}
        for i, answer in enumerate(itertools.islice(answers(model), n), start=1):
            answer()
            if i in (10, n // 2, n):
                told[i] = live_objects(model), wgpu_objects(), anonymous_memory()
    assert told[n][0] == told[10][0]
    assert told[n][1] == told[10][1], "wgpu has more alive than the engine knows of"
    assert told[n][2] - told[n // 2][2] < 2 << 20


CYCLES = """
import shaderlm
from tiny_model import TINY
from watching import anonymous_memory, wgpu_objects

for _ in range(14):
    with shaderlm.load(TINY, context=64) as model:
        model.complete("One day", max_tokens=3)
    del model
    print(sum(wgpu_objects().values()), anonymous_memory())
"""


def test_models_that_were_closed_leave_nothing_behind() -> None:
    """In a process of its own, with one heap: where a new thread may take another heap, memory goes up and down."""
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.run([sys.executable, "-c", CYCLES], capture_output=True, text=True, check=True, env=environment)
    objects, memory = zip(*(map(int, line.split()) for line in child.stdout.splitlines()), strict=True)
    assert objects == (0,) * 14
    assert memory[-1] - memory[6] < 2 << 20, memory


# A step of decode


def cost(model: Model, prompt: Any, n: int, **options: Any) -> Counter[str]:
    """What an answer of `n` tokens costs; its prompt's submits are not cut by the clock, which would be chance."""
    pace = model._core.engine.pace
    with pytest.MonkeyPatch.context() as patch, counted(model._core.gpu) as counts:
        patch.setattr(pace, "stop", lambda borders, start: len(borders) - 1)
        answer = model.complete(prompt, max_tokens=n, reuse_prefix=False, logit_bias=NO_END, **options)
    assert len(answer.tokens) == n
    return counts


def step_of(model: Model, prompt: str, **options: Any) -> Counter[str]:
    """What one more token costs: the difference between two answers of which one has a token more."""
    cost(model, prompt, 4, **options)  # plans are made
    longer, shorter = cost(model, prompt, 4, **options), cost(model, prompt, 3, **options)
    longer.subtract(shorter)
    return longer


@pytest.fixture(scope="module", params=["tiny", "smollm2"])
def counted_model(request: pytest.FixtureRequest) -> Iterator[Model]:
    path = TINY if request.param == "tiny" else request.getfixturevalue("smollm2")
    with shaderlm.load(path, context=128) as model:
        yield model


@pytest.mark.parametrize("n_top", [None, 3, 20])
@pytest.mark.parametrize("options", [GREEDY, ALL_OPTIONS], ids=["greedy", "all-options"])
def test_a_decode_step_is_one_pass_one_submit_and_few_bytes(
    counted_model: Model, options: dict[str, Any], n_top: int | None
) -> None:
    step = step_of(counted_model, "One day", **options, logprobs=n_top)
    layers = counted_model._core.engine.model.config.n_layers
    assert 0 < step["dispatches"] <= 6 * layers + 5, step
    assert (step["passes"], step["submits"], step["bind_groups"], step["buffers"]) == (1, 1, 0, 0), step
    assert step["bytes_written"] <= 64, step
    assert 0 < step["bytes_read"] <= 64 + 8 * (n_top or 0), step
    assert step["bytes_copied"] == 0, step


def test_a_new_page_is_few_bytes_too(tiny: Model) -> None:
    """At the step that fills a page: the page table's new entry is all that is written."""
    prompt = [7] * 30  # the pages' border lies within the steps that are counted
    cost(tiny, prompt, 8)
    written = [cost(tiny, prompt, n)["bytes_written"] for n in range(2, 8)]
    steps = [longer - shorter for shorter, longer in itertools.pairwise(written)]
    assert sorted(steps) == [0, 0, 0, 0, 4]


def test_bind_groups_are_made_only_when_the_cache_grows() -> None:
    with shaderlm.load(TINY, context=480) as model:
        pool = model._core.engine.cache.pools[0]
        assert cost(model, "One day", 20)["bind_groups"] > 0  # plans are made
        for n, grows in ((100, False), (230, False), (245, True), (300, False)):
            capacity = pool.capacity
            counts = cost(model, [7] * n, 20, **ALL_OPTIONS)
            assert (pool.capacity > capacity) == grows
            assert (counts["bind_groups"] > 0) == (counts["buffers"] > 0) == grows, counts


def test_prompts_are_submitted_in_parts(tiny: Model) -> None:
    """A prompt of several chunks is several submits, each of one pass."""
    with counted(tiny._core.gpu) as counts:
        tiny.complete([7] * 200, max_tokens=1, reuse_prefix=False)
    assert counts["submits"] == counts["passes"] >= 4


# Both ways to replay


@pytest.fixture(scope="module")
def public() -> Iterator[Model]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHADERLM_REPLAY", "public")
        with shaderlm.load(TINY, kv_dtype="f32") as model:
            yield model


def test_the_documented_calls_and_the_c_functions_give_the_same(tiny: Model, public: Model) -> None:
    assert type(tiny._core.gpu._replay) is RawReplay
    assert type(public._core.gpu._replay) is PublicReplay
    for name in ("cut", "facts", "chat"):
        golden = GOLDENS[name]
        for options in (GREEDY, ALL_OPTIONS):
            given: dict[str, Any] = {"max_tokens": 20, "logprobs": 3, "reuse_prefix": False, **options}
            one, other = (model.complete(golden.prompt, **given) for model in (tiny, public))
            assert (one.tokens, one.logprobs) == (other.tokens, other.logprobs)


def test_the_documented_calls_are_as_few(public: Model) -> None:
    step = step_of(public, "One day", **ALL_OPTIONS)
    assert 0 < step["dispatches"] <= 6 * 4 + 5
    assert (step["passes"], step["submits"], step["bind_groups"], step["buffers"]) == (1, 1, 0, 0), step
