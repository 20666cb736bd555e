"""Under which conditions a benchmark was run."""

import os
import platform
import time
from importlib.metadata import version
from typing import Any


def circumstances(load_before: list[float] | None) -> dict[str, Any]:
    """Time, versions and how busy the machine was: `load_before` the measurements, and now."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {
            "shaderlm": version("shaderlm"),
            "wgpu": version("wgpu"),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "cpus": os.cpu_count(),
        "load_average": {"before": load_before, "after": load_average()},
    }


def load_average() -> list[float] | None:
    """Of 1, 5 and 15 minutes, where the system has such a thing."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None
