"""What pip does not bring: Python's venv module, Vulkan's loader and drivers, browsers for the tests.

As root on Debian and Ubuntu apt installs it; elsewhere the message says exactly what to install.
"""

import ctypes
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .steps import Stop, call, say, space_note

INSTALL = {
    "debian": "apt-get update && apt-get install -y --no-install-recommends",
    "fedora": "dnf install -y",
    "arch": "pacman -S --needed",
    "macos": "brew install",
    "windows": "winget install",
}
PACKAGES = {
    "venv": {
        "debian": "python3-venv",
        "fedora": "python3",
        "arch": "python",
        "macos": "python",
        "windows": "Python.Python.3.12",
    },
    "vulkan": {"debian": "libvulkan1", "fedora": "vulkan-loader", "arch": "vulkan-icd-loader"},
    "driver": {"debian": "mesa-vulkan-drivers", "fedora": "mesa-vulkan-drivers", "arch": "vulkan-swrast"},
    "atomic": {"debian": "libatomic1", "fedora": "libatomic", "arch": "gcc-libs"},
    "chromium": {
        "debian": "chromium",
        "fedora": "chromium",
        "arch": "chromium",
        "macos": "chromium",
        "windows": "Google.Chrome",
    },
    "firefox": {
        "debian": "firefox-esr",
        "fedora": "firefox",
        "arch": "firefox",
        "macos": "--cask firefox",
        "windows": "Mozilla.Firefox",
    },
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
FIREFOXES = (
    "firefox-esr",
    "firefox",
    "/Applications/Firefox.app/Contents/MacOS/firefox",
    r"C:\Program Files\Mozilla Firefox\firefox.exe",
)
DRIVER_FOLDERS = ("/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d")


def need_vulkan_loader(*, environment_exists: bool) -> None:
    """Vulkan's loader on Linux; in the same go also what else a bare system lacks."""
    if not sys.platform.startswith("linux"):
        return  # Metal and D3D12 come with the system
    missing = [] if environment_exists or has_venv_module() else ["venv"]
    missing += [] if has_library("libvulkan.so.1") else ["vulkan"]
    missing += [] if has_vulkan_driver() else ["driver"]
    if missing:
        need(*missing)


def has_vulkan_driver() -> bool:
    """Whether any driver is registered with Vulkan's loader; it may still serve no GPU of this machine."""
    if os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES"):
        return True
    return any(any(Path(folder).glob("*.json")) for folder in DRIVER_FOLDERS)


def need_adapter(python: Path) -> None:
    """Ask wgpu itself whether an adapter answers; where none does, Mesa's drivers are tried once."""
    listing = "from shaderlm.hosts.native import adapters; found = adapters.find_adapters()"
    answers = [str(python), "-c", f"{listing}; raise SystemExit(not found)"]
    if call(answers) == 0:
        return
    if can_install():
        need("driver")
        if call(answers) == 0:
            return
    advice = [str(python), "-c", f"import sys; sys.tracebacklimit = 0; {listing}; adapters.choose(found)"]
    call(advice)
    raise Stop("no WebGPU adapter answers: the message above says what to install. Then start again.")


def need_chromium(python: Path) -> None:
    """For the browser test: the system's Chromium or Chrome, or else one that Playwright downloads.

    Playwright's own driver is a Node.js that wants libatomic, which a bare system lacks.
    """
    if sys.platform.startswith("linux") and not has_library("libatomic.so.1"):
        need("atomic")
    there = os.environ.get("SHADERLM_CHROMIUM") or any(shutil.which(name) for name in BROWSERS)
    if there and not half_installed(PACKAGES["chromium"]["debian"]):
        return
    if can_install() and "ubuntu" not in os_release():  # there the package is a shell for a snap
        need("chromium")
        return
    say("Playwright downloads a Chromium for the browser test")
    libraries = ["--with-deps"] if can_install() else []
    if call([str(python), "-m", "playwright", "install", *libraries, "chromium"]):
        raise Stop(
            f"no Chromium for the browser test, for the reason above. One of the system serves as well.{space_note()}"
        )


def find_firefox() -> str | None:
    """The program that SHADERLM_FIREFOX names, or else the system's."""
    return os.environ.get("SHADERLM_FIREFOX") or next(filter(None, map(shutil.which, FIREFOXES)), None)


def need_firefox() -> None:
    """For the test in Firefox: the system's own, because the one that Playwright downloads is another program."""
    if find_firefox() and not half_installed(PACKAGES["firefox"]["debian"]):
        return
    if "ubuntu" in os_release():  # it has no such package, and the one it has is a shell for a snap
        raise Stop(
            "there is no Firefox for the browser tests, and all that apt has is a snap. `snap install firefox` brings "
            "one; or name the program of another, as Mozilla packs it, in SHADERLM_FIREFOX. Then start again."
        )
    need("firefox")


def need(*things: str) -> None:
    """Install as root on Debian and Ubuntu; elsewhere stop, and say exactly what to install."""
    if not can_install():
        raise Stop(f"needed first, then start again:\n{how_to_install(system(), things, root=is_root())}")
    apt_install([PACKAGES[thing]["debian"] for thing in things])


def how_to_install(family: str, things: Sequence[str], *, root: bool) -> str:
    """The command to type; for a system without an entry, those of all that have one."""
    if family not in INSTALL:
        known = [name for name in INSTALL if all(name in PACKAGES[thing] for thing in things)]
        return "\n".join(f"    {name}: {how_to_install(name, things, root=root).strip()}" for name in known)
    names = [PACKAGES[thing][family] for thing in things if family in PACKAGES[thing]]
    sudo = "" if root or family in ("macos", "windows") else "sudo "
    return f"    {sudo}{INSTALL[family].replace('&& ', f'&& {sudo}')} {' '.join(names)}"


def apt_install(names: list[str]) -> None:
    say(f"installing with apt-get, as root: {' '.join(names)}")
    silent = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "a"}
    call(["dpkg", "--configure", "-a", "--force-confold"], environment=silent)  # what a killed start left half-way
    call(["apt-get", "update"], environment=silent)  # where it fails, the old lists may do
    options = ["-y", "--no-install-recommends", "-oDPkg::Lock::Timeout=600", "-oDpkg::Options::=--force-confold"]

    def install(*what: str) -> bool:
        # Services that a package starts would keep our lock open; apt has one of its own. SIGINT lets it end its work.
        command = ["apt-get", "install", *options, *what]
        return call(command, environment=silent, keep_lock=False, stop=signal.SIGINT) == 0

    # A killed apt-get leaves packages without their dependencies, and then installs nothing more until they are there.
    if not install(*names) and not (install("--fix-broken", "--no-remove") and install(*names)):
        raise Stop(
            f"apt-get could not install {' '.join(names)}, for the reason above.{space_note()} "
            "If it is the network, check it; then start again."
        )


def half_installed(package: str) -> bool:
    """Whether a killed apt-get left a Debian package's files there, but not all that they need."""
    if not can_install():
        return False
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    status = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    return status not in ("", "installed", "not-installed", "config-files")


def can_install() -> bool:
    return system() == "debian" and is_root() and bool(shutil.which("apt-get"))


def system() -> str:
    """ "debian", "fedora", "arch", "macos", "windows", or another that we have no package names for."""
    if not sys.platform.startswith("linux"):
        return {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    known = {"debian": "debian", "ubuntu": "debian", "fedora": "fedora", "rhel": "fedora", "arch": "arch"}
    return next((known[name] for name in os_release() if name in known), "linux")


def os_release(file: Path = Path("/etc/os-release")) -> list[str]:
    """This Linux's name, and those of its kin."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return []
    return " ".join(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', text, re.MULTILINE)).split()


def has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def has_venv_module() -> bool:
    return all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
