"""The protocols through which the core reaches everything outside it; `hosts/` has an implementation for each place.

The core is written as coroutines. Natively each `await` here finishes at once on the engine's own thread; in a browser
it is a JavaScript promise.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Chunk: TypeAlias = Any  # opaque bytes of a model: a memoryview natively, a Uint8Array in a browser
Buffer: TypeAlias = Any
Pipeline: TypeAlias = Any
BindGroup: TypeAlias = Any
Program: TypeAlias = Any
Readback: TypeAlias = Any

Access = Literal["read", "read_write", "uniform"]
AdapterKind = Literal["discrete", "integrated", "software", "unknown"]


class Usage(Enum):
    """What a GPU buffer is for; hosts translate it to WebGPU's flags."""

    STORAGE = "storage"  # bound to kernels, copied to and from
    UNIFORM = "uniform"


@dataclass(frozen=True)
class Adapter:
    """What an adapter says of itself. `limits` and `features` carry WebGPU's names, hyphenated ("shader-f16").

    WGSL's language features are among the features.
    """

    name: str
    kind: AdapterKind
    backend: str  # "Vulkan", "Metal", "D3D12", "WebGPU"
    driver: str = ""
    features: frozenset[str] = frozenset()
    limits: Mapping[str, int] = field(default_factory=dict)
    subgroup_size: int | None = None  # lanes, where the adapter has just one size
    prologue: str = ""  # WGSL lines that this host's compiler wants before a kernel that uses subgroups


@dataclass(frozen=True)
class KernelSource:
    """A whole WGSL module with the entry point `main`, and number and use of each binding of its group 0."""

    label: str
    code: str
    bindings: tuple[tuple[int, Access], ...]


@dataclass(frozen=True)
class BoundBuffer:
    """A range of a buffer, in bytes; `offset` is a multiple of 256."""

    buffer: Buffer
    offset: int
    size: int


class ByteSource(Protocol):
    """A model's bytes, wherever they are. Chunks are opaque; only a header is ever read into Python."""

    name: str
    size: int

    async def read(self, offset: int, size: int) -> bytes:
        """Bytes for a parser. Fewer than `size` only at the end of the source."""

    async def chunk(self, offset: int, size: int) -> Chunk:
        """`size` bytes for `Gpu.write_buffer`, without a copy where the host can."""

    def close(self) -> None:
        """Give back what it takes to read. Idempotent."""


class Gpu(Protocol):
    """A device. Every call is made from the thread that owns it."""

    adapter: Adapter

    def create_buffer(self, label: str, size: int, usage: Usage = Usage.STORAGE) -> Buffer:
        """A zeroed buffer of `size` bytes (rounded up to 16). Raises OutOfMemory."""

    def destroy_buffer(self, buffer: Buffer) -> None: ...

    def write_buffer(self, buffer: Buffer, offset: int, chunk: Chunk) -> None:
        """Queue a write at an offset that is a multiple of 4. A length that is none is filled up with zeros."""

    def copy_buffer(self, source: Buffer, source_offset: int, target: Buffer, target_offset: int, size: int) -> None:
        """Queue a copy on the GPU between two different buffers."""

    def expect_pipelines(self, kernels: Sequence[KernelSource]) -> None:
        """These will be asked for: start compiling them beside other work, where the host can. Raises nothing."""

    async def create_pipelines(self, kernels: Sequence[KernelSource]) -> list[Pipeline]:
        """Compile, side by side where the host can. The same source gives the same pipeline. Raises KernelError."""

    def forget_pipelines(self, kept: Collection[KernelSource]) -> None:
        """Free what other kernels than `kept` were compiled to, where no program uses it and the host can."""

    def create_bind_group(self, pipeline: Pipeline, buffers: Sequence[BoundBuffer]) -> BindGroup:
        """Group 0, in the order of `KernelSource.bindings`."""

    def freeze(self, pipelines: Sequence[Pipeline], bind_groups: Sequence[BindGroup]) -> Program:
        """Hand a list of dispatches over once, to be replayed by `submit`."""

    def release(self, program: Program) -> None:
        """Forget a program's bind groups."""

    def available_memory(self) -> int | None:
        """Bytes that a model may still take, where the host can know (a software adapter); else None."""

    def rebind(self, program: Program, index: int, bind_group: BindGroup) -> None:
        """Give dispatch `index` of a program another bind group."""

    def submit(
        self,
        program: Program,
        counts: Sequence[int],
        start: int = 0,
        stop: int | None = None,
        read: BoundBuffer | None = None,
    ) -> Readback | None:
        """Run dispatches [start, stop) in one pass and one submit; `counts` holds x, y, z of every dispatch.

        `read` names bytes that are copied out behind the pass, to be had from `finish_read`.
        """

    async def run_timed(self, program: Program, counts: Sequence[int], start: int, stop: int) -> float | None:
        """Run dispatches [start, stop) in one pass; the seconds that took by the device's clock, None without one."""

    async def finish_read(self, readback: Readback) -> bytes:
        """Wait for a `submit` and take the bytes it was asked to read. Raises DeviceLost."""

    async def read_buffer(self, buffer: Buffer, offset: int, size: int) -> bytes:
        """Bytes of a buffer, after all that was queued before. Offset and size are multiples of 4."""

    async def wait(self) -> None:
        """Until all queued work is done."""

    def live_objects(self) -> Mapping[str, int]:
        """How many GPU objects are alive by kind, and "bytes": for tests of leaks."""

    def close(self) -> None:
        """Free everything. Idempotent."""


class Store(Protocol):
    """Small finds that are kept from one start to the next. What cannot be kept is found anew."""

    async def get(self, key: str) -> bytes | None:
        """What `put` was given last under this key, None if there is nothing."""

    async def put(self, key: str, data: bytes) -> None: ...


class Made(Protocol[T_co]):
    """What is made elsewhere."""

    def done(self) -> bool:
        """Whether it is made, or failed."""

    def result(self) -> T_co:
        """Wait for it. Raises what making it raised."""


class Aside(Protocol):
    """Where work that needs no device is done while the device has its own to do."""

    def __call__(self, make: Callable[[], T]) -> Made[T]:
        """Start `make`. Where it is done here and now, what it raises is raised here and now."""


class TextCodec(Protocol):
    """A tokenizer library's object, made from a `tokenizer.json`."""

    def encode(self, text: str, *, parse_special: bool) -> list[int]:
        """Ids of `text`; the text of control tokens is read as those tokens only with `parse_special`."""


@dataclass(frozen=True)
class _Here(Generic[T]):
    value: T

    def done(self) -> bool:
        return True

    def result(self) -> T:
        return self.value


def at_once(make: Callable[[], T]) -> Made[T]:
    """An `Aside` for hosts that have no other place."""
    return _Here(make())
