"""Which GPUs the machine itself shows, apart from what any driver answers: to name the driver that is missing.

Linux tells under `/sys`, `/proc` and `/dev`; every function takes the root of that tree. macOS and Windows bring their
drivers along, so nothing is looked for there.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...host import Adapter

VENDORS = {0x10DE: "NVIDIA", 0x1002: "AMD", 0x8086: "Intel"}
_BY_KERNEL_DRIVER = {  # GPUs that sit on no PCI bus
    "v3d": "Broadcom",
    "panfrost": "Arm",
    "panthor": "Arm",
    "msm_dpu": "Qualcomm",
    "adreno": "Qualcomm",
    "asahi": "Apple",
    "tegra": "NVIDIA",
}
_DISPLAY, _ACCELERATOR = 0x03, 0x12  # PCI base classes
_NO_3D = {(0x1002, 0x515E), (0x1002, 0x4752)}  # ATI chips that give servers a console
_WORDS = {  # what an adapter of that vendor has in its name or driver
    "NVIDIA": ("nvidia", "geforce", "quadro", "tesla", "nvk"),
    "AMD": ("amd", "radeon", "radv"),
    "Intel": ("intel",),
    "Broadcom": ("v3d", "broadcom"),
    "Arm": ("mali", "panvk", "arm"),
    "Qualcomm": ("adreno", "turnip", "qualcomm"),
    "Apple": ("apple", "honeykrisp"),
    "Windows": ("microsoft direct3d12", "dzn"),
}


@dataclass(frozen=True)
class Gpu:
    """A GPU that the system lists. Virtual displays (bochs, qxl, virtio, VMware, ASPEED, Matrox...) are none."""

    vendor: str  # "NVIDIA", "AMD", "Intel"...; "Windows" for the one that a Windows host lends
    description: str


def find_gpus(root: Path = Path("/"), lspci: str | None = None) -> tuple[Gpu, ...]:
    """GPUs that the tree under `root` shows. `lspci` is the text of `lspci -Dmmnn`; None runs it where there is one."""
    if not sys.platform.startswith("linux"):
        return ()
    found = dict(_pci_ids(root))
    if not found and not (root / "sys/bus/pci/devices").is_dir():
        lspci = _run_lspci() if lspci is None else lspci
        found = dict(_lspci_ids(lspci))
    elif any(_is_gpu(*ids) for ids in found.values()):
        lspci = _run_lspci() if lspci is None else lspci
    names = _lspci_names(lspci or "")
    gpus = [
        Gpu(VENDORS[vendor], names.get(slot) or f"PCI {vendor:04x}:{device:04x}")
        for slot, (base_class, vendor, device) in sorted(found.items())
        if _is_gpu(base_class, vendor, device)
    ]
    return tuple(gpus or _nvidia_module(root) or _platform_gpus(root) or _windows_gpu(root))


def missing_driver(gpus: Iterable[Gpu], adapters: Iterable[Adapter], root: Path = Path("/")) -> str | None:
    """What to install so that a GPU which no adapter covers can be used, or None where none goes unused."""
    adapters = [adapter for adapter in adapters if adapter.kind != "software"]
    unused: dict[str, str] = {}
    for gpu in gpus:
        if not any(_covers(adapter, gpu) for adapter in adapters):
            unused.setdefault(gpu.vendor, f"This machine shows a GPU that no driver offers: {gpu.description}.")
    if not unused:
        return None
    return "\n".join(f"{what} {_advice(vendor, root)}" for vendor, what in unused.items())


def nothing_answers(root: Path = Path("/"), system: str = sys.platform) -> str:
    """What to install where no adapter at all answers."""
    if system == "darwin":
        return "Metal shows no device. A virtual machine needs a paravirtualized GPU; on a Mac itself, update macOS."
    if system == "win32":
        return "Update the graphics driver (from NVIDIA, AMD or Intel), or Windows itself for its software adapter."
    packages = {
        "debian": "apt-get install libvulkan1 mesa-vulkan-drivers",
        "fedora": "dnf install vulkan-loader mesa-vulkan-drivers",
        "arch": "pacman -S vulkan-icd-loader vulkan-swrast (and vulkan-radeon, vulkan-intel or nvidia-utils)",
    }
    command = packages.get(_family(root), "the Vulkan loader and Mesa's Vulkan drivers")
    return f"Install a Vulkan driver: {command}. Mesa's serve Intel and AMD GPUs, and without a GPU compute on the CPU."


# What the system tells


def _pci_ids(root: Path) -> Iterable[tuple[str, tuple[int, int, int]]]:
    """(slot, (base class, vendor, device)) of every PCI device in sysfs."""
    folder = root / "sys/bus/pci/devices"
    for device in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            words = [int((device / name).read_text(), 16) for name in ("class", "vendor", "device")]
        except (OSError, ValueError):
            continue  # gone, or no file that we may read
        yield device.name, (words[0] >> 16, words[1], words[2])


def _lspci_fields(text: str) -> Iterable[tuple[str, list[str]]]:
    for line in text.splitlines():
        try:
            slot, *fields = shlex.split(line)
        except ValueError:
            continue
        if len(fields) >= 3:
            yield slot, fields[:3]


def _lspci_ids(text: str) -> Iterable[tuple[str, tuple[int, int, int]]]:
    for slot, fields in _lspci_fields(text):
        try:
            base, vendor, device = (int(field.rpartition("[")[2].rstrip("]"), 16) for field in fields)
        except ValueError:
            continue
        yield slot, (base >> 8, vendor, device)


def _lspci_names(text: str) -> Mapping[str, str]:
    def bare(field: str) -> str:
        return field.rpartition(" [")[0] or field

    return {slot: f"{bare(vendor)} {bare(device)}" for slot, (_, vendor, device) in _lspci_fields(text)}


def _run_lspci() -> str:
    command = shutil.which("lspci")
    if command is None:
        return ""
    try:
        return subprocess.run([command, "-Dmmnn"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _is_gpu(base_class: int, vendor: int, device: int) -> bool:
    if (vendor, device) in _NO_3D or vendor not in VENDORS:
        return False
    return base_class == _DISPLAY or (base_class == _ACCELERATOR and VENDORS[vendor] == "AMD")


def _nvidia_module(root: Path) -> list[Gpu]:
    """NVIDIA's kernel module lists its GPUs even where a container hides the PCI bus."""
    gpus = []
    for information in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        fields = dict(line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
        gpus.append(Gpu("NVIDIA", fields.get("Model", "NVIDIA GPU").strip()))
    return gpus


def _platform_gpus(root: Path) -> list[Gpu]:
    """GPUs of a system on a chip, which show up as render nodes with a kernel driver that we know."""
    gpus = {}
    for uevent in sorted(root.glob("sys/class/drm/*/device/uevent")):
        driver = dict(line.split("=", 1) for line in uevent.read_text().splitlines() if "=" in line).get("DRIVER", "")
        if driver in _BY_KERNEL_DRIVER:
            gpus[driver] = Gpu(_BY_KERNEL_DRIVER[driver], f"{_BY_KERNEL_DRIVER[driver]} GPU (kernel driver {driver})")
    return list(gpus.values())


def _windows_gpu(root: Path) -> list[Gpu]:
    return [Gpu("Windows", "the Windows host's, through /dev/dxg")] if (root / "dev/dxg").exists() else []


def _covers(adapter: Adapter, gpu: Gpu) -> bool:
    text = f"{adapter.name} {adapter.driver}".lower()
    return any(word in text for word in _WORDS[gpu.vendor])


# What to do about it


def _advice(vendor: str, root: Path) -> str:
    if vendor == "Windows":
        return (
            "Run shaderlm in Windows itself, where D3D12 reaches it; Linux there has no complete Vulkan driver for it."
        )
    container = any((root / name).exists() for name in (".dockerenv", "run/.containerenv"))
    if vendor == "NVIDIA":
        return _nvidia_advice(root, container)
    if container and not (root / "dev/dri").exists():
        return "Start the container with `--device /dev/dri`, and install mesa-vulkan-drivers in it."
    if not (root / "dev/dri").exists():
        return (
            "It has no node under /dev/dri: its kernel driver is not loaded. Install the vendor's firmware and driver."
        )
    package = {"arch": "vulkan-radeon" if vendor == "AMD" else "vulkan-intel"}.get(_family(root), "mesa-vulkan-drivers")
    return f"Install Mesa's Vulkan driver ({package}), and let this user open /dev/dri/renderD* (group `render`)."


def _nvidia_advice(root: Path, container: bool) -> str:
    if container:
        return (
            "Start the container with `--gpus all -e NVIDIA_DRIVER_CAPABILITIES=all`, so that it gets the driver's "
            "Vulkan part, and install libvulkan1, libxext6 and libegl1 in it, which that part needs."
        )
    if (root / "proc/driver/nvidia/version").exists():
        package = {
            "debian": "nvidia-vulkan-icd on Debian, libnvidia-gl-<the driver's version> on Ubuntu",
            "fedora": "xorg-x11-drv-nvidia-libs",
            "arch": "nvidia-utils",
        }.get(_family(root), "the one with libGLX_nvidia and nvidia_icd.json")
        return f"NVIDIA's kernel module is loaded, but its Vulkan driver is missing. Install its package: {package}."
    package = {
        "debian": "nvidia-driver (Debian, section non-free) or what `ubuntu-drivers install` chooses (Ubuntu)",
        "fedora": "akmod-nvidia (RPM Fusion)",
        "arch": "nvidia nvidia-utils",
    }.get(_family(root), "NVIDIA's own driver")
    return f"Install NVIDIA's driver: {package}."


def _family(root: Path) -> str:
    """ "debian", "fedora", "arch" or "": whose package names this Linux uses."""
    try:
        lines = (root / "etc/os-release").read_text().splitlines()
    except OSError:
        return ""
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    names = " ".join(fields.get(key, "").strip('"') for key in ("ID", "ID_LIKE")).split()
    known = {"debian": "debian", "ubuntu": "debian", "fedora": "fedora", "rhel": "fedora", "arch": "arch"}
    return next((known[name] for name in names if name in known), "")
