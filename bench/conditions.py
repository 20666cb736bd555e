"""What holds for a whole run of a benchmark, as its JSON has it."""

import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from bench.peers.report import load_average
from shaderlm.host import Adapter


def conditions(kind: str, adapter: Adapter, settings: Mapping[str, object]) -> dict[str, Any]:
    """Of `build.py bench KIND`; the load average "after" is to be kept up to date."""
    return {
        "shaderlm": kind,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join(["python3", "build.py", "bench", kind, *sys.argv[1:]]),
        "adapter": {
            "name": adapter.name,
            "kind": adapter.kind,
            "backend": adapter.backend,
            "driver": adapter.driver,
            "subgroup_size": adapter.subgroup_size,
        },
        "versions": {
            "shaderlm": version("shaderlm"),
            "wgpu": version("wgpu"),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "cpus": os.cpu_count(),
        "load_average": {"before": load_average(), "after": load_average()},
        "settings": dict(settings),
    }


def file_name(adapter: str) -> str:
    """ "llvmpipe" """
    words = "".join(letter if letter.isalnum() else " " for letter in adapter.split("(")[0].lower())
    return "-".join(words.split())
