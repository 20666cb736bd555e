"""Many threads and one device: they get what they would get alone. And the engine's own thread."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import shaderlm
from agreement import agree
from engines import forget_prefixes
from shaderlm import Completion, Model
from shaderlm.errors import ModelClosed
from shaderlm.hosts.native.thread import EngineThread, run_now
from shaderlm.streams import Stream
from tiny_model import NO_END, TINY, goldens

GOLDENS = goldens()
STORY = GOLDENS["story"]
PROMPTS = [
    "One day",
    "Every morning Mila went",
    "The capital of France is",
    "A spider has",
    "Two and two make",
    "Once there was a fox named Bruno who",
    "The sun was shining on the red house by the river, and",
    "Pip",
    "I am a",
    "One day an owl named Pip met a fox. They were friends.",
]


def essence(completion: Completion) -> Any:
    """All that must be the same, to the last bit."""
    return completion.tokens, completion.text, completion.finish_reason, completion.logprobs


def options(i: int) -> dict[str, Any]:
    """Some prompts greedy, some drawn, some with penalties."""
    kinds = [{"temperature": 0}, {"seed": i}, {"seed": i, "temperature": 1.2, "repeat_penalty": 1.2}]
    return {"max_tokens": 12, "logprobs": 3, "logit_bias": NO_END, **kinds[i % 3]}


# Threads


@pytest.fixture(scope="module")
def solo() -> list[Completion]:
    """Each prompt's answer by a model that never had another."""
    answers = []
    with shaderlm.load(TINY, kv_dtype="f32") as model:
        for i, prompt in enumerate(PROMPTS):
            answers.append(model.complete(prompt, reuse_prefix=False, **options(i)))

            async def forget(core: Any) -> None:
                forget_prefixes(core.engine)

            model.run_on_engine(forget)
    return answers


def test_prompts_in_a_row_give_to_the_bit_what_they_give_alone(tiny: Model, solo: list[Completion]) -> None:
    for i, prompt in enumerate(PROMPTS):
        assert essence(tiny.complete(prompt, reuse_prefix=False, **options(i))) == essence(solo[i])


def test_eight_threads_at_once_get_to_the_bit_what_they_get_alone(tiny: Model, solo: list[Completion]) -> None:
    with ThreadPoolExecutor(8) as pool:
        together = list(
            pool.map(lambda i: tiny.complete(PROMPTS[i], reuse_prefix=False, **options(i)), [*range(len(PROMPTS))] * 2)
        )
    for i, completion in enumerate(together):
        assert essence(completion) == essence(solo[i % len(PROMPTS)])


def test_reused_prefixes_change_answers_by_rounding_at_most(tiny: Model, solo: list[Completion]) -> None:
    """As far as the tokens are the same: a draw between two nearly equal ones may go the other way."""
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: tiny.complete(PROMPTS[i], **options(i)), [*range(len(PROMPTS))] * 2))
    assert any(completion.usage.reused_tokens for completion in together)
    for i, completion in enumerate(together):
        expected = solo[i % len(PROMPTS)]
        same = next((n for n in range(12) if completion.tokens[n] != expected.tokens[n]), 12)
        assert same >= 6 or options(i % len(PROMPTS)).get("temperature") != 0
        if same:
            logprobs = [[entry.logprob for entry in answer.logprobs[:same]] for answer in (completion, expected)]
            agree(*logprobs, abs=1e-3)


def test_streams_of_two_threads_do_not_mix(tiny: Model) -> None:
    def tell(name: str) -> str:
        golden = GOLDENS[name]
        return "".join(c.text for c in tiny.stream(golden.prompt, max_tokens=golden.max_tokens, temperature=0))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(tell, ["cut", "facts"])) == [GOLDENS["cut"].text, GOLDENS["facts"].text]


def test_a_slow_reader_keeps_nobody_waiting(tiny: Model) -> None:
    chunks = tiny.stream(STORY.prompt, max_tokens=20, temperature=0)
    first = next(chunks).text
    assert tiny.complete("One day", max_tokens=3, temperature=0).tokens
    assert STORY.text.startswith(first + "".join(chunk.text for chunk in chunks))


# The engine's thread


@pytest.fixture
def thread() -> Iterator[EngineThread]:
    thread = EngineThread()
    yield thread
    thread.close(nothing)


async def nothing() -> None:
    return None


async def name_of_thread() -> str:
    return threading.current_thread().name


def test_jobs_run_in_order_on_the_engines_thread(thread: EngineThread) -> None:
    seen: list[int] = []

    async def see(i: int) -> str:
        seen.append(i)
        return await name_of_thread()

    futures = [thread.submit(lambda i=i: see(i)) for i in range(20)]  # type: ignore[misc]
    assert {future.result() for future in futures} == {"shaderlm engine"}
    assert seen == [*range(20)]


def test_an_error_goes_to_its_caller_and_the_thread_goes_on(thread: EngineThread) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        thread.call(fail)
    assert thread.call(name_of_thread) == "shaderlm engine"


def test_a_coroutine_that_would_wait_is_a_defect_and_said_to_be(thread: EngineThread) -> None:
    async def wait() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waited for something that is not ready"):
        thread.call(wait)
    with pytest.raises(RuntimeError, match="waited"):
        run_now(wait())


def test_a_cancelled_job_is_never_begun(thread: EngineThread) -> None:
    gate, begun = threading.Event(), []

    async def wait_at_gate() -> None:
        gate.wait()

    async def begin() -> None:
        begun.append(1)

    first, second = thread.submit(wait_at_gate), thread.submit(begin)
    assert second.cancel()
    gate.set()
    first.result()
    thread.call(nothing)
    assert not begun


def test_a_closed_thread_refuses_jobs_and_runs_those_before() -> None:
    thread, done = EngineThread(), []

    async def do() -> None:
        done.append(1)

    for _ in range(5):
        thread.submit(do)
    thread.close(do)
    assert len(done) == 6
    thread.close(do)
    assert len(done) == 6
    with pytest.raises(ModelClosed):
        thread.call(do)
    with pytest.raises(ModelClosed):
        next(thread.iterate(Stream(never)))


async def never(stream: Stream[int]) -> Any:
    yield 0


def test_callers_that_race_with_close_get_a_result_or_a_refusal() -> None:
    for _ in range(20):
        thread, outcomes = EngineThread(), queue.SimpleQueue()

        def call(thread: EngineThread = thread, outcomes: Any = outcomes) -> None:
            try:
                outcomes.put(thread.call(name_of_thread))
            except ModelClosed:
                outcomes.put("refused")

        callers = [threading.Thread(target=call) for _ in range(4)]
        closers = [threading.Thread(target=lambda t=thread: t.close(nothing)) for _ in range(2)]  # type: ignore[misc]
        for one in (*callers[:2], *closers, *callers[2:]):
            one.start()
        for one in (*callers, *closers):
            one.join(timeout=30)
            assert not one.is_alive(), "somebody waits for ever"
        assert {outcomes.get() for _ in callers} <= {"shaderlm engine", "refused"}


def test_an_error_while_closing_is_told_and_the_thread_ends() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    thread = EngineThread()
    with pytest.raises(ZeroDivisionError):
        thread.close(fail)
    thread._thread.join(timeout=10)
    assert not thread._thread.is_alive()


# While nobody calls


@pytest.fixture
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shaderlm.hosts.native.thread.IDLE_SECONDS", 0.001)


def test_what_waits_for_an_idle_thread_runs_until_it_is_done(thread: EngineThread, soon_idle: None) -> None:
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    left = iter((True, True, False))

    async def step(idle: Any) -> bool:
        done.put(1)
        return next(left)

    thread.when_idle(step)
    for _ in range(3):
        done.get(timeout=30)
    assert thread.call(name_of_thread) == "shaderlm engine"
    assert done.empty(), "it said that nothing was left"


def test_what_runs_when_idle_is_told_of_a_call_and_makes_way(thread: EngineThread, soon_idle: None) -> None:
    begun, steps = threading.Event(), []

    async def on_and_on(idle: Any) -> bool:
        begun.set()
        while idle():
            pass
        steps.append(1)
        return True

    thread.when_idle(on_and_on)
    assert begun.wait(timeout=30)
    assert thread.call(name_of_thread) == "shaderlm engine"
    assert steps


def test_an_error_when_idle_costs_no_caller_anything(thread: EngineThread, soon_idle: None) -> None:
    begun = threading.Event()

    async def fail(idle: Any) -> bool:
        begun.set()
        raise ZeroDivisionError

    thread.when_idle(fail)
    assert begun.wait(timeout=30)
    assert thread.call(name_of_thread) == "shaderlm engine"
