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
        pipeline = wait(self.gpu.create_pipeline(kernel.source))
        bound = {b.name: self._upload(b.name, b.access, kernel, arrays, uniforms) for b in kernel.bindings}
        program = self.gpu.freeze([pipeline], [self.gpu.create_bind_group(pipeline, list(bound.values()))])
        self.gpu.submit(program, list(groups) + [1] * (3 - len(groups)))
        written = {
            b.name: self._download(b.name, bound[b.name], arrays[b.name])
            for b in kernel.bindings
            if b.access == "read_write"
        }
        self.gpu.release(program)
        for place in bound.values():
            self.gpu.destroy_buffer(place.buffer)
        return written

    def close(self) -> None:
        self.gpu.close()

    def _upload(self, name: str, access: str, kernel: Kernel, arrays: Arrays, uniforms: Uniforms) -> BoundBuffer:
        if access == "uniform":
            data, usage = kernel.uniforms[name].pack(uniforms[name]), Usage.UNIFORM
        else:
            data, usage = _guarded(arrays[name]), Usage.STORAGE
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
