"""Every kernel that the planner can choose compiles for a device with no more than WebGPU guarantees, and fits it."""

from collections.abc import Iterable

import pytest

from byte_sources import wait
from gpu import Device
from kernel_variants import IN_EVERY_KERNEL, kernel_variants, needs_subgroups
from shaderlm.errors import KernelError
from shaderlm.hosts.native.gpu import GUARANTEED_LIMITS
from shaderlm.planner.choice import has_bytes
from shaderlm.planner.compose import Kernel
from shaderlm.tensors import WEIGHT_TYPES

Kernels = dict[str, Kernel]


@pytest.fixture(scope="module")
def variants() -> Kernels:
    return kernel_variants()


@pytest.fixture(scope="module")
def by_files(variants: Kernels) -> Kernels:
    """One kernel for each choice of files, whatever the numbers of its parameters."""
    return {kernel.source.label: kernel for kernel in variants.values()}


def test_every_choice_of_files_compiles(gpu: Device, by_files: Kernels) -> None:
    all_compile(gpu, by_files.values())


@pytest.mark.slow
def test_every_variant_compiles(gpu: Device) -> None:
    all_compile(gpu, kernel_variants(every=True).values())


def all_compile(gpu: Device, kernels: Iterable[Kernel]) -> None:
    has_subgroups = gpu.gpu.adapter.subgroup_size is not None
    failures = []
    for kernel in kernels:
        if needs_subgroups(kernel) and not has_subgroups:
            continue  # the planner does not choose it here
        try:
            wait(gpu.gpu.create_pipelines([kernel.source]))
        except KernelError as error:
            failures.append(f"{kernel.source.label}: {error}")
    assert not failures, "\n".join(failures)


def test_every_variant_fits_what_webgpu_guarantees(variants: Kernels) -> None:
    for name, kernel in variants.items():
        assert kernel.workgroup_bytes <= GUARANTEED_LIMITS["max-compute-workgroup-storage-size"], name
        storage = [binding for binding in kernel.bindings if binding.access != "uniform"]
        assert len(storage) <= GUARANTEED_LIMITS["max-storage-buffers-per-shader-stage"], name
        uniforms = len(kernel.bindings) - len(storage)
        assert uniforms <= GUARANTEED_LIMITS["max-uniform-buffers-per-shader-stage"], name


def test_every_weight_type_is_there_in_every_kernel(by_files: Kernels) -> None:
    names = {name.lower() for name in WEIGHT_TYPES}
    for kernel in ("matvec", "matmul_tile", "matmul_broadcast"):
        assert types_in(kernel, "residual", by_files) == names, kernel
    assert types_in("matmul_int8", "residual", by_files) == {
        name.lower() for name, each in WEIGHT_TYPES.items() if has_bytes(each)
    }
    assert {f"embed+{name}" for name in names} <= by_files.keys()


def test_some_weight_types_are_there_in_every_epilogue(by_files: Kernels) -> None:
    names = {name.lower() for name in IN_EVERY_KERNEL}
    for kernel in ("matvec", "matmul_tile", "matmul_broadcast"):
        for epilogue in ("qkv", "residual", "gated", "plain", "up", "logits"):
            assert types_in(kernel, epilogue, by_files) >= names, f"{kernel} with {epilogue}"


def types_in(kernel: str, epilogue: str, by_files: Kernels) -> set[str]:
    labels = [label for label in by_files if label.startswith(f"{kernel}+") and f"+{epilogue}" in label]
    return {label.split("+")[1] for label in labels}
