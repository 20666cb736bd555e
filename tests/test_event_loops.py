"""The asynchronous face: answers on event loops, whose threads neither touch the GPU nor wait."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest

import shaderlm
from gpu import Device
from shaderlm import AsyncModel, Completion, Model
from shaderlm.errors import ContextFull, InvalidOption, ModelClosed
from tiny_model import NO_END, TINY, Golden, goldens

GOLDENS = goldens()
STORY = GOLDENS["story"]
ENDLESS: dict[str, Any] = {"logit_bias": NO_END, "temperature": 0, "on_context_full": "shift"}
PROMPTS = ["One day", "Every morning Mila went", "The capital of France is", "A spider has", "Two and two make", "Pip"]


@pytest.fixture(scope="module")
def async_tiny() -> Iterator[AsyncModel]:
    model = asyncio.run(shaderlm.load_async(TINY, kv_dtype="f32"))
    yield model
    asyncio.run(model.close())


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


def test_requests_at_once_on_one_loop_get_what_they_get_alone(async_tiny: AsyncModel, tiny: Model) -> None:
    def options(i: int) -> dict[str, Any]:
        return {"max_tokens": 12, "seed": i, "logprobs": 3, "reuse_prefix": False, "logit_bias": NO_END}

    async def main() -> list[Completion]:
        return await asyncio.gather(*(async_tiny.complete(text, **options(i)) for i, text in enumerate(PROMPTS)))

    for i, completion in enumerate(asyncio.run(main())):
        alone = tiny.complete(PROMPTS[i], **options(i))
        assert (completion.tokens, completion.text, completion.logprobs) == (alone.tokens, alone.text, alone.logprobs)


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


def test_an_error_in_mid_answer_reaches_its_task(async_tiny: AsyncModel) -> None:
    text = ""

    async def main() -> None:
        nonlocal text
        async for chunk in async_tiny.stream([5] * 500, logit_bias=NO_END):
            text += chunk.text

    with pytest.raises(ContextFull) as full:
        asyncio.run(main())
    assert full.value.partial.text == text != ""


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
