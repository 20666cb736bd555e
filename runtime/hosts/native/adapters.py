"""The adapters that wgpu finds, as `host.Adapter`s, and which of them to take."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import NoAdapter
from ...host import Adapter, AdapterKind
from . import machine
from .c_types import parse_quickly

_BACKENDS = {"Vulkan": "Vulkan", "Metal": "Metal", "D3D12": "D3D12", "OpenGL": "OpenGL", "OpenGLES": "OpenGL"}
_BEST_FIRST = tuple(dict.fromkeys(_BACKENDS.values()))
_RANK: dict[AdapterKind, int] = {"discrete": 0, "integrated": 1, "unknown": 2, "software": 3}
_SOFTWARE = re.compile(r"llvmpipe|lavapipe|softpipe|swiftshader|basic render", re.IGNORECASE)


@dataclass(frozen=True)
class FoundAdapter:
    """An adapter: what it says of itself, and wgpu's object to open a device on."""

    facts: Adapter
    handle: Any = None
    ids: tuple[int, int] = (0, 0)  # vendor and device, as PCI numbers them


def find_adapters() -> list[FoundAdapter]:
    """Every GPU once, over its best backend: Vulkan, Metal, D3D12; OpenGL if the program opened wgpu with it."""
    import wgpu  # a quarter of a second that only those pay who ask for a GPU

    parse_quickly()
    with _quiet_display_search():
        _restrict_backends()
        handles = wgpu.gpu.enumerate_adapters_sync()
    return without_repeats([_describe(handle) for handle in handles])


def without_repeats(found: Sequence[FoundAdapter]) -> list[FoundAdapter]:
    """Drop what a better backend lists too. Twins on one backend are two GPUs and stay."""
    kept: list[FoundAdapter] = []
    for one in sorted(found, key=_backend_rank):
        if not any(_same_gpu(one, other) for other in kept):
            kept.append(one)
    return kept


def choose(found: Sequence[FoundAdapter], wanted: str | int | None = None) -> FoundAdapter:
    """The adapter at index `wanted`, or with that text in its name; None takes the best kind.

    Discrete goes before integrated, unknown and software. Raises NoAdapter with what there is, or what to install.
    """
    if not found:
        raise NoAdapter(f"No WebGPU adapter answers on this machine. {_how_to_get_one()}")
    best_first = sorted(found, key=lambda one: _RANK[one.facts.kind])
    if wanted is None:
        return best_first[0]
    if isinstance(wanted, int) or wanted.isdecimal():
        if 0 <= int(wanted) < len(found):
            return found[int(wanted)]
    else:
        named = [one for one in best_first if wanted.casefold() in one.facts.name.casefold()]
        if named:
            return named[0]
    raise NoAdapter(f"No adapter matches {wanted!r}. Give the number, or a part of the name, of one:\n{listing(found)}")


def listing(found: Sequence[FoundAdapter]) -> str:
    """A line for each adapter: its index, name, kind, backend and driver."""
    return "\n".join(f"  {index}  {describe(one.facts)}" for index, one in enumerate(found))


def describe(adapter: Adapter) -> str:
    """One adapter in a line: "NVIDIA H200 (discrete, Vulkan, NVIDIA 570.86)"."""
    return f"{adapter.name} ({', '.join(part for part in (adapter.kind, adapter.backend, adapter.driver) if part)})"


def warning(chosen: Adapter, found: Sequence[FoundAdapter], gpus: Sequence[machine.Gpu] | None = None) -> str | None:
    """What a person should know about the choice: that it is software, that a GPU goes unused; None if all is well.

    `gpus` are those that the machine shows; None looks for them.
    """
    parts = []
    if chosen.kind == "software":
        parts.append(f"{chosen.name} is a software adapter: the CPU does the GPU's work, many times slower.")
    shown = machine.find_gpus() if gpus is None else gpus
    unused = machine.missing_driver(shown, [one.facts for one in found])
    if unused:
        parts.append(unused)
    return "\n".join(parts) or None


def kind_of(adapter_type: str, name: str) -> AdapterKind:
    """wgpu-native calls a virtual GPU "CPU" too, so a "CPU" with a GPU's name is "unknown", any other "software"."""
    kinds: dict[str, AdapterKind] = {"DiscreteGPU": "discrete", "IntegratedGPU": "integrated"}
    if _SOFTWARE.search(name):
        return "software"
    if adapter_type == "CPU":
        return "unknown" if re.search(r"nvidia|radeon|amd|intel|apple|mali|adreno|virtio", name, re.I) else "software"
    return kinds.get(adapter_type, "unknown")


def _describe(handle: Any) -> FoundAdapter:
    info = handle.info
    name = str(info["device"]).strip() or str(info["vendor"]).strip() or "unnamed adapter"
    driver = " ".join(part for part in (str(info["vendor"]).strip(), str(info["description"]).strip()) if part)
    facts = Adapter(
        name=name,
        kind=kind_of(str(info["adapter_type"]), name),
        backend=_BACKENDS.get(str(info["backend_type"]), str(info["backend_type"])),
        driver=driver,
        features=frozenset(handle.features),
        limits={limit: int(value) for limit, value in handle.limits.items()},
        # Left out: wgpu-py 0.32 reports the specification's bounds (4 and 128) as subgroup sizes, whatever the adapter.
    )
    return FoundAdapter(facts, handle, (int(info["vendor_id"]), int(info["device_id"])))


def _backend_rank(one: FoundAdapter) -> int:
    return _BEST_FIRST.index(one.facts.backend) if one.facts.backend in _BEST_FIRST else len(_BEST_FIRST)


def _same_gpu(one: FoundAdapter, other: FoundAdapter) -> bool:
    if one.facts.backend == other.facts.backend:
        return False
    if 0 not in one.ids and one.ids == other.ids:
        return True
    return one.facts.name.startswith(other.facts.name) or other.facts.name.startswith(one.facts.name)


def _how_to_get_one() -> str:
    return "\n".join(filter(None, (machine.missing_driver(machine.find_gpus(), []), machine.nothing_answers())))


def _restrict_backends() -> None:
    """Leave OpenGL out: looking for it takes longer than all the rest, and it lacks what the kernels need."""
    try:
        from wgpu.backends.wgpu_native.extras import set_instance_extras

        set_instance_extras(backends=["Vulkan", "Metal", "DX12"])
    except (ImportError, KeyError, RuntimeError, TypeError):
        pass  # another wgpu, or its instance is there already: then all backends are listed


@contextlib.contextmanager
def _quiet_display_search() -> Iterator[None]:
    """wgpu looks for a Wayland display, whose library complains on stderr where this variable is unset."""
    if "XDG_RUNTIME_DIR" in os.environ:
        yield
        return
    os.environ["XDG_RUNTIME_DIR"] = tempfile.gettempdir()
    try:
        yield
    finally:
        del os.environ["XDG_RUNTIME_DIR"]
