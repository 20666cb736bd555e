"""List the adapters that a model can run on: their index and name are what --adapter takes."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from ..errors import DeviceLost, NoAdapter
from ..host import Adapter
from ..hosts.native import adapters
from ..hosts.native import host as native
from ..hosts.native.adapters import FoundAdapter
from ..hosts.native.gpu import FEATURES
from ..planner.choice import SHORT_CONTEXT, choose_kernels
from .arguments import no_words_left
from .terminal import line, warn
from .tuning import forget_tuning, show_tuning

LIMITS = {  # what decides whether a model fits, and which kernels do
    "max-buffer-size": "largest buffer",
    "max-storage-buffer-binding-size": "largest binding",
    "max-compute-workgroup-storage-size": "workgroup memory",
    "max-compute-invocations-per-workgroup": "workgroup size",
    "max-storage-buffers-per-shader-stage": "bindings of a kernel",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shaderlm devices [--tuning | --forget-tuning] [--json]"
    parser.add_argument("--json", action="store_true", help="every feature and limit, as JSON")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--tuning", action="store_true", help="the kernel variants that were timed, and those that won")
    what.add_argument("--forget-tuning", action="store_true", help="let the next loads time them anew")


def run(arguments: argparse.Namespace) -> int:
    no_words_left(arguments)
    found = adapters.find_adapters()
    try:
        default = adapters.choose(found)
    except NoAdapter as error:
        if not arguments.json:
            raise
        print(json.dumps({"adapters": [], "warning": str(error)}))
        return 1
    if arguments.forget_tuning:
        forget_tuning(found, as_json=arguments.json)
        return 0
    if arguments.tuning:
        show_tuning(found, as_json=arguments.json)
        return 0
    warning = adapters.warning(default.facts, found)
    if arguments.json:
        listed = [as_dict(i, one, is_default=one is default) for i, one in enumerate(found)]
        print(json.dumps({"adapters": listed, "warning": warning}))
        return 0
    show(found, found.index(default))
    if warning:
        warn(warning)
    return 0


def show(found: Sequence[FoundAdapter], default: int) -> None:
    """A few lines for each adapter, on stdout."""
    for index, one in enumerate(found):
        mark = "  (taken unless --adapter names another)" if index == default else ""
        line(f"{index}  {one.facts.name}{mark}", style="bold")
        chosen = kernels(one)
        named = [f"{name} {value}" for name, value in chosen.items() if name != "tuned"] if chosen else []
        told = ", ".join(named) or "none: it gives no device"
        for label, value in [*particulars(one.facts), ("kernels", told)]:
            line(f"   {label:9} {value}")


def kernels(found: FoundAdapter) -> dict[str, object] | None:
    """The variants that a model would get where timing found no better, for a context of up to 8,192 tokens.

    None where no device can be had.
    """
    try:
        return asdict(choose_kernels(native.adapter_in_use(found), SHORT_CONTEXT))
    except DeviceLost:
        return None


def particulars(adapter: Adapter) -> list[tuple[str, str]]:
    """What is told of an adapter, by label."""
    used = [name for name in FEATURES if name in adapter.features]
    return [
        ("kind", adapter.kind),
        ("backend", adapter.backend),
        ("driver", adapter.driver or "unknown"),
        ("features", f"{', '.join(used) or 'none'} used, of {len(adapter.features)}"),
        ("limits", ", ".join(f"{name} {amount(key, adapter.limits[key])}" for key, name in LIMITS.items())),
    ]


def as_dict(index: int, found: FoundAdapter, *, is_default: bool) -> dict[str, object]:
    """An adapter for --json."""
    adapter = found.facts
    return {
        "index": index,
        "name": adapter.name,
        "kind": adapter.kind,
        "backend": adapter.backend,
        "driver": adapter.driver,
        "default": is_default,
        "features_used": [name for name in FEATURES if name in adapter.features],
        "features": sorted(adapter.features),
        "limits": dict(sorted(adapter.limits.items())),
        "arithmetic": "exact",
        "kernels": kernels(found),
    }


def amount(limit: str, value: int) -> str:
    """A limit for people: sizes in MB or bytes, other limits as they are."""
    if not limit.endswith("-size"):
        return f"{value:,}"
    if value >= 1 << 60:
        return "unlimited"
    return f"{value / 1e6:,.0f} MB" if value >= 1e6 else f"{value:,} bytes"
