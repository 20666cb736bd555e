"""Pipelines that are compiled on threads of their own, while the engine's thread does other work.

Compiling happens in the driver, outside of Python's lock, and wgpu allows it on any thread.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from ...host import KernelSource

T = TypeVar("T")

MOST_THREADS = 4


class Ahead(Generic[T]):
    """What was begun ahead, by kernel."""

    def __init__(self) -> None:
        self._begun: dict[KernelSource, Future[T]] = {}

    def begin(self, jobs: Iterable[tuple[KernelSource, Callable[[], T]]]) -> None:
        """Start jobs, on as many threads as leave the engine's a core; each kernel's once."""
        lacking = {kernel: job for kernel, job in jobs if kernel not in self._begun}
        if not lacking:
            return
        threads = min(MOST_THREADS, max(1, (os.cpu_count() or 1) - 1))
        pool = ThreadPoolExecutor(threads, thread_name_prefix="shaderlm compiler")
        with contextlib.suppress(RuntimeError):  # no thread can be had, or the interpreter ends: `take` does the rest
            for kernel, job in lacking.items():
                self._begun[kernel] = pool.submit(job)
        pool.shutdown(wait=False)  # its threads end with the last job

    def take(self, kernel: KernelSource, job: Callable[[], T]) -> T:
        """A kernel's result, waited for where its job is under way; one that has not begun is done here.

        Raises what the job raises.
        """
        future = self._begun.pop(kernel, None)
        if future is None or future.cancel():
            return job()
        return future.result()

    def close(self) -> None:
        """Drop what has not begun, and wait for the rest: a device must outlive its compilers."""
        begun, self._begun = self._begun, {}
        for future in [future for future in begun.values() if not future.cancel()]:
            future.exception()
