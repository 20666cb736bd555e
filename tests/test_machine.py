"""GPUs that a machine shows, the adapters that answer, and what is said where the two differ."""

import re
from pathlib import Path

import pytest

from shaderlm.errors import NoAdapter
from shaderlm.host import Adapter
from shaderlm.hosts.native import adapters, machine
from shaderlm.hosts.native.adapters import FoundAdapter

LAVAPIPE = Adapter("llvmpipe (LLVM 15.0.6, 256 bits)", "software", "Vulkan", "llvmpipe Mesa 22.3.6 (LLVM 15.0.6)")
GEFORCE = Adapter("NVIDIA GeForce RTX 4070", "discrete", "Vulkan", "NVIDIA 550.54")
IRIS = Adapter("Intel(R) Iris(R) Xe Graphics (TGL GT2)", "integrated", "Vulkan", "Intel open-source Mesa driver")
RADEON = Adapter("AMD Radeon RX 6700 XT (RADV NAVI22)", "discrete", "Vulkan", "radv Mesa 23.1")

NVIDIA_CARD = (0x030000, 0x10DE, 0x2786)
DATACENTRE_CARD = (0x030200, 0x10DE, 0x2335)
INTEL_CARD = (0x030000, 0x8086, 0x9A49)
AMD_CARD = (0x030000, 0x1002, 0x73DF)
AMD_ACCELERATOR = (0x120000, 0x1002, 0x74A1)

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="the trees that these tests read are Linux's")


def tree(root: Path, *cards: tuple[int, int, int], files: dict[str, str] | None = None) -> Path:
    """A root folder with PCI devices (class, vendor, device) and further files."""
    devices = root / "sys/bus/pci/devices"
    devices.mkdir(parents=True)
    for slot, ids in enumerate(cards):
        folder = devices / f"0000:{slot:02x}:00.0"
        folder.mkdir()
        for name, value in zip(("class", "vendor", "device"), ids, strict=True):
            (folder / name).write_text(f"0x{value:06x}\n")
    for name, text in (files or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("card", "vendor"),
    [
        (NVIDIA_CARD, "NVIDIA"),
        (DATACENTRE_CARD, "NVIDIA"),
        (INTEL_CARD, "Intel"),
        (AMD_CARD, "AMD"),
        (AMD_ACCELERATOR, "AMD"),
    ],
)
def test_a_gpu_on_the_pci_bus_is_found(tmp_path, card, vendor):
    assert [gpu.vendor for gpu in machine.find_gpus(tree(tmp_path, card), lspci="")] == [vendor]


@pytest.mark.parametrize(
    "card",
    [
        pytest.param((0x030000, 0x1234, 0x1111), id="bochs"),
        pytest.param((0x030000, 0x1B36, 0x0100), id="qxl"),
        pytest.param((0x038000, 0x1AF4, 0x1050), id="virtio"),
        pytest.param((0x030000, 0x15AD, 0x0405), id="vmware"),
        pytest.param((0x030000, 0x1A03, 0x2000), id="aspeed"),
        pytest.param((0x030000, 0x102B, 0x0534), id="matrox"),
        pytest.param((0x030000, 0x1002, 0x515E), id="ati-es1000"),
        pytest.param((0x060000, 0x8086, 0x0D57), id="host-bridge"),
        pytest.param((0x040300, 0x10DE, 0x22BC), id="nvidia-sound"),
    ],
)
def test_what_only_draws_a_console_is_no_gpu(tmp_path, card):
    assert machine.find_gpus(tree(tmp_path, card), lspci="") == ()


def test_lspci_gives_the_name(tmp_path):
    text = '0000:00:00.0 "VGA controller [0300]" "NVIDIA Corporation [10de]" "AD104 [RTX 4070] [2786]" -ra1 "" ""'
    [gpu] = machine.find_gpus(tree(tmp_path, NVIDIA_CARD), lspci=text)
    assert gpu.description == "NVIDIA Corporation AD104 [RTX 4070]"


def test_lspci_serves_where_sysfs_is_hidden(tmp_path):
    text = (
        '0000:00:00.0 "3D controller [0302]" "NVIDIA Corporation [10de]" "GH100 [H200] [2335]" -ra1 "" ""\nnot a line "'
    )
    assert [gpu.vendor for gpu in machine.find_gpus(tmp_path, lspci=text)] == ["NVIDIA"]


def test_nvidias_module_tells_where_a_container_hides_the_bus(tmp_path):
    root = tree(
        tmp_path, files={"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H200\nIRQ: 1\n"}
    )
    assert machine.find_gpus(root, lspci="") == (machine.Gpu("NVIDIA", "NVIDIA H200"),)


def test_a_gpu_on_the_chip_is_found_by_its_kernel_driver(tmp_path):
    root = tree(tmp_path, files={"sys/class/drm/card0/device/uevent": "DRIVER=v3d\nOF_NAME=gpu\n"})
    assert [gpu.vendor for gpu in machine.find_gpus(root, lspci="")] == ["Broadcom"]


def test_a_display_without_a_known_driver_is_no_gpu(tmp_path):
    root = tree(tmp_path, files={"sys/class/drm/card0/device/uevent": "DRIVER=virtio-pci\n"})
    assert machine.find_gpus(root, lspci="") == ()


@pytest.mark.parametrize(("card", "adapter"), [(NVIDIA_CARD, GEFORCE), (INTEL_CARD, IRIS), (AMD_CARD, RADEON)])
def test_nothing_is_said_where_an_adapter_covers_the_gpu(tmp_path, card, adapter):
    gpus = machine.find_gpus(tree(tmp_path, card), lspci="")
    assert machine.missing_driver(gpus, [LAVAPIPE, adapter], tmp_path) is None


def test_a_second_gpu_without_a_driver_is_named(tmp_path):
    gpus = machine.find_gpus(tree(tmp_path, INTEL_CARD, NVIDIA_CARD), lspci="")
    message = machine.missing_driver(gpus, [IRIS], tmp_path)
    assert message is not None
    assert "10de:2786" in message
    assert "8086" not in message


DEBIAN = {"etc/os-release": 'ID=debian\nVERSION_ID="12"\n'}
ARCH = {"etc/os-release": "ID=arch\n"}
FEDORA = {"etc/os-release": "ID=fedora\n"}
DRI = {"dev/dri/renderD128": ""}
CONTAINER = {".dockerenv": ""}
MODULE = {"proc/driver/nvidia/version": "NVRM version: 550"}


@pytest.mark.parametrize(
    ("card", "files", "word"),
    [
        (NVIDIA_CARD, DEBIAN, "nvidia-driver"),
        (NVIDIA_CARD, FEDORA, "akmod-nvidia"),
        (NVIDIA_CARD, ARCH, "nvidia-utils"),
        (NVIDIA_CARD, {}, "NVIDIA's own driver"),
        (NVIDIA_CARD, DEBIAN | MODULE, "libnvidia-gl"),
        (NVIDIA_CARD, DEBIAN | MODULE | CONTAINER, "NVIDIA_DRIVER_CAPABILITIES=all"),
        (AMD_CARD, DEBIAN | DRI, "mesa-vulkan-drivers"),
        (AMD_CARD, ARCH | DRI, "vulkan-radeon"),
        (INTEL_CARD, ARCH | DRI, "vulkan-intel"),
        (INTEL_CARD, DEBIAN | CONTAINER, "--device /dev/dri"),
        (INTEL_CARD, DEBIAN, "kernel driver is not loaded"),
    ],
)
def test_the_missing_driver_is_named(tmp_path, card, files, word):
    root = tree(tmp_path, card, files=files)
    message = machine.missing_driver(machine.find_gpus(root, lspci=""), [LAVAPIPE], root)
    assert message is not None
    assert word in message


def test_a_gpu_lent_by_windows_is_said_to_be_reached_from_there(tmp_path):
    root = tree(tmp_path, files={"dev/dxg": ""})
    message = machine.missing_driver(machine.find_gpus(root, lspci=""), [LAVAPIPE], root)
    assert message is not None
    assert "D3D12" in message


@pytest.mark.parametrize(
    ("files", "system", "word"),
    [
        (DEBIAN, "linux", "apt-get install libvulkan1 mesa-vulkan-drivers"),
        ({"etc/os-release": 'ID=linuxmint\nID_LIKE="ubuntu debian"\n'}, "linux", "apt-get"),
        (FEDORA, "linux", "dnf install"),
        (ARCH, "linux", "pacman"),
        ({}, "linux", "Vulkan loader"),
        ({}, "darwin", "Metal"),
        ({}, "win32", "graphics driver"),
    ],
)
def test_where_nothing_answers_the_package_is_named(tmp_path, files, system, word):
    assert word in machine.nothing_answers(tree(tmp_path, files=files), system)


# Adapters


def found(*facts: Adapter) -> list[FoundAdapter]:
    return [FoundAdapter(one) for one in facts]


def test_the_best_kind_is_chosen():
    assert adapters.choose(found(LAVAPIPE, IRIS, GEFORCE)).facts is GEFORCE
    assert adapters.choose(found(LAVAPIPE, IRIS)).facts is IRIS
    assert adapters.choose(found(LAVAPIPE)).facts is LAVAPIPE


@pytest.mark.parametrize("wanted", ["iris", 1, "1"])
def test_an_adapter_is_chosen_by_a_part_of_its_name_or_its_index(wanted):
    assert adapters.choose(found(LAVAPIPE, IRIS, GEFORCE), wanted).facts is IRIS


@pytest.mark.parametrize("wanted", ["radeon", 3, "3", -1])
def test_an_adapter_that_is_not_there_is_refused_with_the_list(wanted):
    with pytest.raises(NoAdapter, match=r"(?s)0  llvmpipe.*1  Intel.*2  NVIDIA"):
        adapters.choose(found(LAVAPIPE, IRIS, GEFORCE), wanted)


def test_without_any_adapter_the_message_says_what_to_install():
    with pytest.raises(NoAdapter, match=r"No WebGPU adapter answers.*[Ii]nstall"):
        adapters.choose([])


def test_a_gpu_is_listed_once_over_its_best_backend():
    over_gl = Adapter("NVIDIA GeForce RTX 4070/PCIe/SSE2", "discrete", "OpenGL")
    over_d3d12 = Adapter("NVIDIA GeForce RTX 4070", "discrete", "D3D12")
    listed = adapters.without_repeats(found(over_gl, over_d3d12, GEFORCE, LAVAPIPE))
    assert [one.facts for one in listed] == [GEFORCE, LAVAPIPE]


def test_the_same_ids_are_the_same_gpu_whatever_its_name():
    listed = adapters.without_repeats(
        [
            FoundAdapter(Adapter("Radeon RX 6700 XT", "discrete", "D3D12"), ids=(0x1002, 0x73DF)),
            FoundAdapter(RADEON, ids=(0x1002, 0x73DF)),
        ]
    )
    assert [one.facts for one in listed] == [RADEON]


def test_two_equal_gpus_stay_two():
    assert len(adapters.without_repeats(found(GEFORCE, GEFORCE))) == 2


@pytest.mark.parametrize(
    ("adapter_type", "name", "kind"),
    [
        ("DiscreteGPU", "NVIDIA GeForce RTX 4070", "discrete"),
        ("IntegratedGPU", "Intel(R) Iris(R) Xe Graphics", "integrated"),
        ("CPU", "llvmpipe (LLVM 15.0.6, 256 bits)", "software"),
        ("CPU", "SwiftShader Device", "software"),
        ("CPU", "Microsoft Basic Render Driver", "software"),
        ("CPU", "Virtio-GPU Venus (AMD Radeon RX 6700)", "unknown"),
        ("Unknown", "Apple M2", "unknown"),
    ],
)
def test_the_kind_tells_software_from_a_virtual_gpu(adapter_type, name, kind):
    assert adapters.kind_of(adapter_type, name) == kind


def test_this_machine_has_an_adapter_with_the_guaranteed_limits():
    listed = adapters.find_adapters()
    chosen = adapters.choose(listed).facts
    assert chosen.limits["max-storage-buffers-per-shader-stage"] >= 8
    assert chosen.limits["max-compute-invocations-per-workgroup"] >= 256
    assert chosen.name in adapters.listing(listed)


def test_a_software_adapter_is_called_one_and_a_gpu_that_goes_unused_is_named():
    lent = [machine.Gpu("NVIDIA", "NVIDIA H200")]
    assert re.search(r"(?s)software adapter.*NVIDIA H200", adapters.warning(LAVAPIPE, found(LAVAPIPE), lent) or "")
    assert adapters.warning(LAVAPIPE, found(LAVAPIPE), []) == (
        f"{LAVAPIPE.name} is a software adapter: the CPU does the GPU's work, many times slower."
    )


def test_nothing_is_to_be_said_about_a_gpu_in_use():
    assert adapters.warning(GEFORCE, found(GEFORCE), [machine.Gpu("NVIDIA", "GeForce")]) is None


def test_devices_that_tell_nothing_are_passed_over(tmp_path):
    root = tree(tmp_path, NVIDIA_CARD)
    (root / "sys/bus/pci/devices/0000:00:00.0/vendor").write_text("")
    assert machine.find_gpus(root, lspci="") == ()


def test_this_machine_can_be_asked_without_a_tree():
    assert all(gpu.vendor and gpu.description for gpu in machine.find_gpus())
