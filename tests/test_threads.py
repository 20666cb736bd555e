"""Many callers and one device: threads, event loops, and the engine's own thread between them."""

import asyncio
import queue
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest

import shaderlm
from agreement import agree
from gpu import Device
from shaderlm import AsyncModel, Completion, Model
from shaderlm.errors import InvalidOption, ModelClosed
from shaderlm.hosts.native.thread import EngineThread, Stream, run_now
from tiny_model import END_OF_TEXT, END_OF_TURN, TINY, Golden, goldens

GOLDENS = goldens()
STORY = GOLDENS["story"]
NO_END: dict[str, Any] = {"logit_bias": {END_OF_TEXT: -1000.0, END_OF_TURN: -1000.0}}
ENDLESS: dict[str, Any] = {**NO_END, "temperature": 0, "on_context_full": "shift"}
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


@pytest.fixture(scope="module")
def async_tiny() -> Iterator[AsyncModel]:
    model = asyncio.run(shaderlm.load_async(TINY, kv_dtype="f32"))
    yield model
    asyncio.run(model.close())


def essence(completion: Completion) -> Any:
    """All that must be the same, to the last bit."""
    return completion.tokens, completion.text, completion.finish_reason, completion.logprobs


def options(i: int) -> dict[str, Any]:
    """Some prompts greedy, some drawn, some with penalties."""
    kinds = [{"temperature": 0}, {"seed": i}, {"seed": i, "temperature": 1.2, "repeat_penalty": 1.2}]
    return {"max_tokens": 12, "logprobs": 3, **NO_END, **kinds[i % 3]}


# Threads


@pytest.fixture(scope="module")
def solo() -> list[Completion]:
    """Each prompt's answer by a model that never had another."""
    answers = []
    with shaderlm.load(TINY, kv_dtype="f32") as model:
        for i, prompt in enumerate(PROMPTS):
            answers.append(model.complete(prompt, reuse_prefix=False, **options(i)))

            async def forget(core: Any) -> None:
                core.engine.prefixes.clear()

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


# Event loops


@pytest.mark.parametrize("golden", GOLDENS.values(), ids=list(GOLDENS))
def test_greedy_text_is_that_of_transformers_on_an_event_loop(async_tiny: AsyncModel, golden: Golden) -> None:
    async def main() -> tuple[str, Completion]:
        given: dict[str, Any] = {"max_tokens": golden.max_tokens, "temperature": 0}
        stream = async_tiny.stream_chat(golden.messages, **given) if golden.messages else None
        text, completion = "", None
        async for chunk in stream or async_tiny.stream(golden.prompt, **given):
            text += chunk.text
            completion = chunk.completion
        assert completion is not None
        return text, completion

    text, completion = asyncio.run(main())
    assert text == completion.text == golden.text
    assert completion.finish_reason == golden.finish_reason


def test_requests_at_once_on_one_loop_get_their_own_answers(async_tiny: AsyncModel, solo: list[Completion]) -> None:
    async def main() -> list[Completion]:
        return await asyncio.gather(
            *(async_tiny.complete(PROMPTS[i], reuse_prefix=False, **options(i)) for i in range(len(PROMPTS)))
        )

    for completion, expected in zip(asyncio.run(main()), solo, strict=True):
        assert essence(completion) == essence(expected)


def test_the_async_face_has_what_the_other_has(async_tiny: AsyncModel, tiny: Model) -> None:
    async def main() -> None:
        golden = GOLDENS["chat"]
        assert (await async_tiny.chat(golden.messages, temperature=0)).text == golden.text
        assert ((await async_tiny.logits(STORY.prompt)) == tiny.logits(STORY.prompt)).all()
        with pytest.raises(InvalidOption):
            await async_tiny.complete("")
        with pytest.raises(InvalidOption):
            async_tiny.stream("", max_tokens=3)

    asyncio.run(main())
    names = {name for name in dir(Model) if not name.startswith("_")}
    assert names == {name for name in dir(AsyncModel) if not name.startswith("_")}


def test_a_cancelled_task_ends_its_answer(async_tiny: AsyncModel) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def tell() -> None:
            async for _ in async_tiny.stream(STORY.prompt, **ENDLESS):  # would never end
                begun.set()

        telling, waiting = asyncio.create_task(tell()), asyncio.create_task(async_tiny.complete("Pip", **ENDLESS))
        await begun.wait()
        for task in (telling, waiting):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (await async_tiny.complete(STORY.prompt, max_tokens=5, temperature=0)).finish_reason == "length"

    asyncio.run(main())


def test_leaving_an_async_loop_ends_its_answer(async_tiny: AsyncModel) -> None:
    async def main() -> Completion:
        async for _ in async_tiny.stream(STORY.prompt, **ENDLESS):
            break
        return await async_tiny.complete(STORY.prompt, max_tokens=5, temperature=0)

    assert STORY.text.startswith(asyncio.run(main()).text)


def test_cancel_ends_answers_on_a_loop_and_those_that_queue(async_tiny: AsyncModel) -> None:
    async def main() -> list[Completion]:
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        def progress(done: int, total: int) -> None:
            loop.call_soon_threadsafe(begun.set)

        tasks = [asyncio.create_task(async_tiny.complete(PROMPTS[i], progress=progress, **ENDLESS)) for i in range(3)]
        await begun.wait()  # the first is under way and would never end
        async_tiny.cancel()
        return await asyncio.gather(*tasks)

    assert [completion.finish_reason for completion in asyncio.run(main())] == ["cancelled"] * 3


def test_a_loop_that_closes_in_mid_answer_leaves_the_model_well(async_tiny: AsyncModel) -> None:
    stream = async_tiny.stream(STORY.prompt, **ENDLESS)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(anext(stream))
    loop.close()
    completion = asyncio.run(async_tiny.complete(STORY.prompt, max_tokens=5, temperature=0))
    assert STORY.text.startswith(completion.text)


def test_an_async_model_closes_with_its_block() -> None:
    async def main() -> None:
        async with await shaderlm.load_async(TINY, context=64) as model:
            stream = model.stream(STORY.prompt, **ENDLESS)
            await anext(stream)
        async for chunk in stream:
            assert chunk.completion is None or chunk.completion.finish_reason == "cancelled"
        with pytest.raises(ModelClosed):
            await model.complete("a")
        with pytest.raises(ModelClosed):
            await model.logits("a")
        await model.close()

    asyncio.run(main())


# What the loop's thread does meanwhile

GPU_MODULES = ("wgpu", "shaderlm.hosts.native.gpu", "shaderlm.hosts.native.replay", "shaderlm.engine")
NO_GPU_NEEDED = {"<module>", "check"}  # imports, and the check of a request before it is queued
WAITING_METHODS = {"lock.acquire", "RLock.acquire", "SimpleQueue.get", "sleep", "select", "epoll.poll"}
WAITING_MODULES = {"threading", "queue", "concurrent.futures._base"}
WAITING_FUNCTIONS = {"wait", "join", "get", "acquire"}


@dataclass
class Seen:
    """Calls of the GPU, and calls that wait, by one thread."""

    gpu: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        """As `sys.setprofile` wants it."""
        module, name = str(frame.f_globals.get("__name__")), frame.f_code.co_name
        if event == "call" and module.startswith(GPU_MODULES) and name not in NO_GPU_NEEDED:
            self.gpu.append(f"{module}.{name}")
        elif event == "c_call" and "cffi" in type(arg).__module__:
            self.gpu.append(f"{module}.{name}: {arg!r}")
        elif event == "call" and module in WAITING_MODULES and name in WAITING_FUNCTIONS:
            self.waits.append(f"{module}.{name}")
        elif event == "c_call" and arg.__qualname__ in WAITING_METHODS and module != "selectors":  # the loop's own
            self.waits.append(f"{module}.{name}: {arg.__qualname__}")


def on_a_loop(main: Callable[[], Coroutine[Any, Any, None]]) -> Seen:
    """What the loop's own thread does while `main` runs."""
    seen = Seen()

    async def profiled() -> None:
        sys.setprofile(seen.profile)
        try:
            await main()
        finally:
            sys.setprofile(None)

    asyncio.run(profiled())
    return seen


def test_while_answers_come_the_loops_thread_makes_no_gpu_call_and_never_waits(async_tiny: AsyncModel) -> None:
    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticker = asyncio.create_task(tick())
        text = ""
        async for chunk in async_tiny.stream(STORY.prompt, max_tokens=30, temperature=0, logprobs=3):
            text += chunk.text
        assert STORY.text.startswith(text)
        await asyncio.gather(async_tiny.complete("One day", max_tokens=5), async_tiny.chat(GOLDENS["chat"].messages))
        await async_tiny.logits("Pip")
        async for _ in async_tiny.stream(STORY.prompt, **ENDLESS):
            break
        ticker.cancel()
        assert ticks > 10

    assert on_a_loop(main) == Seen()


def test_a_loops_thread_makes_no_gpu_call_to_load_or_close() -> None:
    async def main() -> None:
        async with await shaderlm.load_async(TINY, context=64) as model:
            await model.complete("Pip", max_tokens=3)

    assert on_a_loop(main).gpu == []


def test_a_thread_that_waits_or_calls_the_gpu_is_seen(tiny: Model, gpu: Device) -> None:
    async def main() -> None:
        tiny.complete("Pip", max_tokens=2)
        gpu.gpu.destroy_buffer(gpu.gpu.create_buffer("seen", 16))

    seen = on_a_loop(main)
    assert any("SimpleQueue.get" in call for call in seen.waits)
    assert any("create_buffer" in call for call in seen.gpu)


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
