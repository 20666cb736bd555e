"""One call that runs a kernel over numpy arrays, on a device that has no more than WebGPU guarantees."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from byte_sources import wait
from shaderlm.host import BoundBuffer, Usage
from shaderlm.hosts.native.adapters import choose, find_adapters
from shaderlm.hosts.native.gpu import NativeGpu
from shaderlm.planner.compose import Kernel

Arrays = Mapping[str, NDArray[Any]]
Uniforms = Mapping[str, Mapping[str, object]]

GUARD = 64  # words behind each array: NaN where a kernel only reads, and to be left alone where it writes
NAN_BITS = 0x7FC0DEAD


class Device:
    """A device for tests of kernels; `gpu` is the host's own face of it."""

    def __init__(self, gpu: Any = None) -> None:
        found = choose(find_adapters())
        self.gpu = gpu or NativeGpu(found.handle, found.facts, guaranteed_limits_only=True)

    def run(self, kernel: Kernel, arrays: Arrays, uniforms: Uniforms, groups: Sequence[int]) -> dict[str, NDArray[Any]]:
        """Run `kernel` once with `groups` workgroups; `arrays` and `uniforms` are named as its bindings.

        Returns what the arrays that it may write hold afterwards. Fails if it wrote past the end of one; what it reads
        past the end of one is NaN.
        """
        return self.run_all([(kernel, uniforms, groups)], arrays)

    def run_all(
        self, steps: Sequence[tuple[Kernel, Uniforms, Sequence[int]]], arrays: Arrays
    ) -> dict[str, NDArray[Any]]:
        """As `run`, for several kernels in one submit; an array is one buffer for all of them."""
        shared: dict[str, BoundBuffer] = {}
        own: list[BoundBuffer] = []
        pipelines, bind_groups, counts = [], [], []
        for kernel, uniforms, groups in steps:
            bound = []
            for b in kernel.bindings:
                if b.access == "uniform":
                    own.append(self._buffer(b.name, kernel.uniforms[b.name].pack(uniforms[b.name]), Usage.UNIFORM))
                    bound.append(own[-1])
                else:
                    if b.name not in shared:
                        shared[b.name] = self._buffer(b.name, _guarded(arrays[b.name]), Usage.STORAGE)
                    bound.append(shared[b.name])
            pipelines += wait(self.gpu.create_pipelines([kernel.source]))
            bind_groups.append(self.gpu.create_bind_group(pipelines[-1], bound))
            counts += [*groups, 1, 1][:3]
        program = self.gpu.freeze(pipelines, bind_groups)
        self.gpu.submit(program, counts)
        names = {b.name for kernel, _, _ in steps for b in kernel.bindings if b.access == "read_write"}
        written = {name: self._download(name, shared[name], arrays[name]) for name in sorted(names)}
        self.gpu.release(program)
        for place in [*shared.values(), *own]:
            self.gpu.destroy_buffer(place.buffer)
        return written

    def close(self) -> None:
        self.gpu.close()

    def _buffer(self, name: str, data: bytes, usage: Usage) -> BoundBuffer:
        buffer = self.gpu.create_buffer(name, len(data), usage)
        self.gpu.write_buffer(buffer, 0, data)
        return BoundBuffer(buffer, 0, len(data))

    def _download(self, name: str, place: BoundBuffer, array: NDArray[Any]) -> NDArray[Any]:
        data = wait(self.gpu.read_buffer(place.buffer, 0, place.size))
        guard = np.frombuffer(data[-4 * GUARD :], np.uint32)
        touched = np.flatnonzero(guard != NAN_BITS)
        assert not touched.size, f"the kernel wrote {touched[0]} words past the end of {name}"
        return np.frombuffer(data[: array.nbytes], array.dtype).reshape(array.shape)


def _guarded(array: NDArray[Any]) -> bytes:
    assert array.nbytes % 16 == 0 or array.dtype.itemsize == 4, "whole words only"
    return np.ascontiguousarray(array).tobytes() + np.full(GUARD, NAN_BITS, np.uint32).tobytes()


def needs_subgroups_of_8(device: Device) -> None:
    """Skip the test where matmul_broadcast.wgsl cannot run."""
    adapter = device.gpu.adapter
    if adapter.subgroup_size != 8:
        pytest.skip(f"{adapter.name} has subgroups of {adapter.subgroup_size}; matmul_broadcast.wgsl wants 8")
