"""wgpu's errors in our words: what ran out, what was lost, what is a defect of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import wgpu

from ...errors import DeviceLost, KernelError, OutOfMemory, ShaderLMError


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise wgpu's errors as ours; `what` says what the GPU was asked for: "to run a step"."""
    try:
        yield
    except (wgpu.GPUError, RuntimeError) as error:
        raise translated(error, what) from error


def translated(error: Exception, what: str) -> ShaderLMError:
    """OutOfMemory, DeviceLost, or KernelError for all that the GPU refuses because we asked for it wrongly."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "not enough memory" in text.lower():
        return OutOfMemory(f"The GPU has no memory left {what}: {text}.")
    if "lost" in text.lower():
        return DeviceLost(
            f"The GPU went away when it was asked {what}: {text}. Its driver may have been reset, or was given too "
            "much to do. Close the model and load it again."
        )
    return KernelError(f"The GPU refused {what}: {text}. This is a defect of shaderlm: please report it.")
