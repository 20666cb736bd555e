"""Counts what a device is asked to do, at wgpu's own calls."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shaderlm.hosts.native.gpu import NativeGpu


class Watched:
    """Stands before an object of wgpu: methods named in `told` report their call, all else passes through."""

    def __init__(self, target: Any, told: dict[str, Any]) -> None:
        self._target = target
        self._told = told

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if name not in self._told:
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            result = attribute(*args, **kwargs)
            replaced = self._told[name](result, *args, **kwargs)
            return result if replaced is None else replaced

        return call


@contextmanager
def counted(gpu: NativeGpu) -> Iterator[Counter[str]]:
    """Counts until the block ends: dispatches, passes, submits, bind groups, buffers, bytes written and read back."""
    counts: Counter[str] = Counter()
    replay: Any = gpu._replay
    kept = {"device": gpu._device, "queue": gpu._queue, "raw": {n: getattr(replay, n, None) for n in _RAW}}

    def add(name: str, value: int = 1) -> None:
        counts[name] += value

    def on_pass(compute_pass: Any, *_: Any, **__: Any) -> Any:
        add("passes")
        return Watched(compute_pass, {"dispatch_workgroups": lambda *_: add("dispatches")})

    def on_encoder(encoder: Any, *_: Any, **__: Any) -> Any:
        told = {
            "begin_compute_pass": on_pass,
            "copy_buffer_to_buffer": lambda _, source, start, target, offset, size: (
                add("bytes_read", size) if target.usage & _MAP_READ else add("bytes_copied", size)
            ),
        }
        return Watched(encoder, told)

    device = Watched(
        kept["device"],
        {
            "create_command_encoder": on_encoder,
            "create_bind_group": lambda *_, **__: add("bind_groups"),
            "create_buffer": lambda *_, **__: add("buffers"),
        },
    )
    queue = Watched(
        kept["queue"],
        {
            "submit": lambda *_: add("submits"),
            "write_buffer": lambda _, buffer, offset, data: add("bytes_written", memoryview(data).nbytes),
            "read_buffer": lambda data, *_: add("bytes_read", len(data)),
        },
    )
    gpu._device, gpu._queue, replay._device, replay._queue = device, queue, device, queue
    for name, counter in _RAW.items():
        call = kept["raw"][name]
        if call is not None:
            setattr(replay, name, _counting(call, lambda arguments, counter=counter: add(*counter(arguments))))
    try:
        yield counts
    finally:
        gpu._device = replay._device = kept["device"]
        gpu._queue = replay._queue = kept["queue"]
        for name, call in kept["raw"].items():
            if call is not None:
                setattr(replay, name, call)


# The C functions that RawReplay calls: what each counts as, by its arguments.
_RAW: dict[str, Callable[[tuple[Any, ...]], tuple[str, int]]] = {
    "_begin_pass": lambda arguments: ("passes", 1),
    "_dispatch": lambda arguments: ("dispatches", 1),
    "_copy": lambda arguments: ("bytes_read", arguments[5]),
    "_submit_for_index": lambda arguments: ("submits", 1),
}
_MAP_READ = 1


def _counting(call: Any, count: Any) -> Any:
    def wrapped(*args: Any) -> Any:
        count(args)
        return call(*args)

    return wrapped
