"""What timing found out about kernel variants on each adapter: shown, and forgotten on request."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from ..engine.tuning_finds import Find, Finds, Time, read_finds, write_finds
from ..errors import DeviceLost
from ..hosts.native import host as native
from ..hosts.native.adapters import FoundAdapter
from ..hosts.native.thread import run_now
from .terminal import line

NOTHING = "no finds: a model's first load makes them"


def show_tuning(found: Sequence[FoundAdapter], *, as_json: bool) -> None:
    """What is known of each adapter, on stdout."""
    known = [(one, finds_of(one)) for one in found]
    if as_json:
        print(json.dumps({"adapters": [as_dict(i, one, finds) for i, (one, finds) in enumerate(known)]}))
        return
    for index, (one, finds) in enumerate(known):
        line(f"{index}  {one.facts.name}", style="bold")
        for text in told(finds):
            line(f"   {text}")


def forget_tuning(found: Sequence[FoundAdapter], *, as_json: bool) -> None:
    """Have all models on these adapters timed anew, and say so."""
    known = [(one, finds_of(one) or Finds()) for one in found]
    for one, finds in known:
        if finds != Finds():
            run_now(write_finds(native.open_store(), native.adapter_in_use(one), Finds()))
    if as_json:
        forgotten = [
            {"index": i, "name": one.facts.name, "forgotten": len(finds.shapes)} for i, (one, finds) in enumerate(known)
        ]
        print(json.dumps({"adapters": forgotten}))
        return
    for one, finds in known:
        line(f"{one.facts.name}: " + (f"shapes forgotten: {len(finds.shapes)}" if finds != Finds() else NOTHING))


def finds_of(found: FoundAdapter) -> Finds | None:
    """What is kept of an adapter; None where no device can be had, on whose traits that depends."""
    try:
        return run_now(read_finds(native.open_store(), native.adapter_in_use(found)))
    except DeviceLost:
        return None


def told(finds: Finds | None) -> list[str]:
    """Finds as lines: for each shape its variants with their times, the best one marked."""
    if finds is None:
        return ["it gives no device"]
    lines = [text for find in finds.shapes.values() for text in _shape(find)]
    return (lines or [NOTHING]) + [
        f"not used, because it does not compile, computes wrongly or loses the device: {name}"
        for name in sorted(finds.wrong)
    ]


def as_dict(index: int, found: FoundAdapter, finds: Finds | None) -> dict[str, object]:
    """Finds for --json; times in seconds."""
    return {
        "index": index,
        "name": found.facts.name,
        "driver": found.facts.driver,
        "shapes": [asdict(find) for find in finds.shapes.values()] if finds else [],
        "wrong": sorted(finds.wrong) if finds else [],
    }


def _shape(find: Find) -> list[str]:
    kept = " (the default)" if find.winner == find.default else ""
    lines = [f"{find.shape}: {find.winner}{kept}"]
    for name, time in sorted(find.times.items(), key=lambda item: -item[1].gain):
        lines.append(f"   {name:32} {_times(time)}")
    return lines


def _times(time: Time) -> str:
    spread = f"({time.least * 1e6:,.0f} to {time.most * 1e6:,.0f})"
    return f"{time.median * 1e6:10,.0f} us {spread:22} {time.gain:5.2f} x the default's speed"
