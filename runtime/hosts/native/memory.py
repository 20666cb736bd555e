"""How much memory this process may still take: for software adapters, whose buffers are the host's memory."""

from collections.abc import Iterator
from pathlib import Path

from ...host import Adapter

UNLIMITED = 1 << 60  # cgroups write a number beyond any memory where there is no limit


def available_memory(adapter: Adapter) -> int | None:
    """Bytes that a model may take: the host's free memory for a software adapter, None where a GPU has its own."""
    return free_memory() if adapter.kind == "software" else None


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes, by the least of the machine's, the container's and the process's own limit; None where none is known."""
    bounds = [*_machine(root), *_control_groups(root), *_address_space(root)]
    return max(0, min(bounds)) if bounds else None


def _machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _control_groups(root: Path) -> Iterator[int]:
    """Limit less use of the memory groups that this process is in, inactive file pages not counted as used."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder, names = root / "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            folder, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        inner = folder / path.strip("/")  # in a container the group itself is often mounted as the root
        for group in (inner, *inner.parents):
            limit, used = (_number(group / name) for name in names)
            if limit is not None and used is not None and limit < UNLIMITED:
                yield limit - used + _inactive_file(group)
            if group == folder:
                break


def _inactive_file(group: Path) -> int:
    for line in _lines(group / "memory.stat"):
        if line.startswith(("inactive_file ", "total_inactive_file ")):
            return int(line.split()[1])
    return 0


def _address_space(root: Path) -> Iterator[int]:
    """RLIMIT_AS less the size of this process's address space."""
    used = next((int(line.split()[1]) * 1024 for line in _lines(root / "proc/self/status") if "VmSize:" in line), None)
    for line in _lines(root / "proc/self/limits"):
        if line.startswith("Max address space") and used is not None:
            limit = line.split()[3]
            if limit.isdecimal():
                yield int(limit) - used


def _number(file: Path) -> int | None:
    lines = _lines(file)
    return int(lines[0]) if lines and lines[0].strip().isdecimal() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
