"""Waiting for bytes of a GPU in a browser, on asyncio's own tasks."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from shaderlm.errors import DeviceLost
from shaderlm.hosts.browser.readback import Readback


def in_callback(action: Any) -> Coroutine[Any, Any, None]:
    """Do something as JavaScript does: called by the loop, within no task."""

    async def wait() -> None:
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: done.set_result(action()))
        await done

    return wait()


async def waiting_task(readback: Readback, log: list[Any]) -> "asyncio.Task[None]":
    async def take() -> None:
        log.append(await readback)

    task = asyncio.ensure_future(take())
    await asyncio.sleep(0)
    assert not log
    return task


def test_a_task_goes_on_within_the_call_that_brings_the_bytes() -> None:
    async def main() -> list[Any]:
        log: list[Any] = []
        readback = Readback()
        task = await waiting_task(readback, log)

        def arrive() -> None:
            readback.arrive(b"bytes")
            log.append("behind the call")

        await in_callback(arrive)
        await task
        return log

    assert asyncio.run(main()) == [b"bytes", "behind the call"]


def test_bytes_that_came_first_are_there_at_once() -> None:
    async def main() -> bytes:
        readback = Readback()
        readback.arrive(b"early")
        return await readback

    assert asyncio.run(main()) == b"early"


@pytest.mark.parametrize("is_early", [True, False], ids=["before it is awaited", "while it is awaited"])
def test_what_went_wrong_is_raised_in_the_task(is_early: bool) -> None:
    async def main() -> None:
        readback, log = Readback(), list[Any]()
        if is_early:
            readback.arrive(None, DeviceLost("gone"))
            await readback
        task = await waiting_task(readback, log)
        await in_callback(lambda: readback.arrive(None, DeviceLost("gone")))
        await task

    with pytest.raises(DeviceLost, match="gone"):
        asyncio.run(main())


def test_a_cancelled_task_ends_when_the_bytes_come() -> None:
    async def main() -> list[Any]:
        readback, log = Readback(), list[Any]()
        task = await waiting_task(readback, log)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done(), "the staging buffer is still in use"
        await in_callback(lambda: readback.arrive(b"late"))
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        return log

    assert asyncio.run(main()) == []


def test_bytes_brought_from_within_another_task_wake_theirs_in_its_turn() -> None:
    async def main() -> list[Any]:
        readback, log = Readback(), list[Any]()
        task = await waiting_task(readback, log)
        readback.arrive(b"bytes")
        log.append("this task goes on")
        await task
        return log

    assert asyncio.run(main()) == ["this task goes on", b"bytes"]
