"""Figures of kernels as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.peers.table import head, row

from .figures import LEAST, STANDARD


def markdown(report: Mapping[str, Any]) -> str:
    """Conditions and bounds, the table of weight types, then every figure."""
    parts = (conditions(report), *types_tables(report), figures_table(report))
    return "\n\n".join("\n".join(part) for part in parts).strip() + "\n"


def conditions(report: Mapping[str, Any]) -> Iterator[str]:
    adapter, load, bounds = report["adapter"], report["load_average"], report["ceilings"]
    versions = ", ".join(f"{name} {found}" for name, found in report["versions"].items())
    yield f"# Kernels on {adapter['name']}"
    yield ""
    yield (
        f"Medians (least to most) of {report['settings']['rounds']} alternating rounds. {report['time']}, "
        f"{adapter['driver'] or adapter['backend']}, {report['cpus']} CPUs, load average {load['before'][0]} before "
        f"and {load['after'][0]} after; {versions}. `{report['command']}`"
    )
    yield ""
    yield f"- copies: {within(bounds['bytes_per_second'], 1e9)} GB/s, read and written"
    yield f"- multiply-adds in registers: {within(bounds['multiply_adds_per_second'], 1e9)} G/s"
    yield f"- an empty dispatch behind another: {within(bounds['empty_dispatch_seconds'], 1e-6)} us"


def types_tables(report: Mapping[str, Any]) -> Iterator[list[str]]:
    """A table for each place where there is more than one type, by the kernels of choice: the first of each mode."""
    software = report["adapter"]["kind"] == "software"
    note = "Ratios are of the processors' time, of which others on the machine take nothing." if software else ""
    for place in dict.fromkeys(each["place"] for each in report["types"]):
        here = [each for each in report["types"] if each["place"] == place]
        first = {(each["mode"], each["rows"]): each["variant"] for each in reversed(here)}
        chosen = [each for each in here if each["variant"] == first[each["mode"], each["rows"]]]
        types = list(dict.fromkeys(each["type"] for each in chosen))
        if len(types) > 2:
            yield list(types_table(place, types, chosen, first, note))


def types_table(
    place: str,
    types: Sequence[str],
    figures: Sequence[Mapping[str, Any]],
    columns: Mapping[tuple[str, int], str],
    note: str,
) -> Iterator[str]:
    order = sorted(columns, key=lambda column: column[1])
    found = {(each["type"], each["mode"], each["rows"]): each for each in figures}
    yield f"## Weight types: {place}"
    yield ""
    yield (
        f"GB/s of weights; beside {STANDARD}, of the same round: bytes a second, and values a second. Bold is what "
        f"reads its bytes less than {LEAST:g} times as fast. {note}".rstrip()
    )
    yield ""
    names = [f"{mode} {n} ({columns[mode, n].removesuffix('.wgsl')})" for mode, n in order]
    yield from head(["type", "bits", *(cell for name in names for cell in (f"{name}, GB/s", "bytes", "values"))])
    for kind in types:
        cells = [kind]
        for mode, n in order:
            each = found.get((kind, mode, n))
            if each is None:
                cells += ["", "", ""]
                continue
            cells[1:1] = [f"{each['bits']:.4g}"] if len(cells) == 1 else []
            ratio = f"{each['bytes']['median']:.2f}"
            bold = f"**{ratio}**" if each["slow"] else ratio
            cells += [f"{each['bytes_per_second'] / 1e9:.2f}", bold, f"{each['values']['median']:.2f}"]
        yield row(cells)


def figures_table(report: Mapping[str, Any]) -> Iterator[str]:
    yield "## All figures"
    yield ""
    yield (
        "Bytes are of weights, in attention of keys and values. The roofline is the time of the dispatches, and of "
        "copying the bytes or of the multiply-adds, whichever is longer."
    )
    yield ""
    yield from head(["", "us", "GB/s", "G multiply-adds/s", "% of the roofline", "bound by"])
    for each in report["figures"]:
        yield row(
            [
                each["name"],
                within(each["seconds"], 1e-6),
                digits(each["bytes_per_second"]["median"] / 1e9),
                digits(each["multiply_adds_per_second"]["median"] / 1e9),
                f"{100 * each['share']['median']:.0f}",
                each["bound_by"],
            ]
        )


def within(found: Mapping[str, float], unit: float) -> str:
    """ "12.3 (11.9 to 12.8)" """
    median, low, high = (digits(found[name] / unit) for name in ("median", "low", "high"))
    return f"{median} ({low} to {high})"


def digits(value: float) -> str:
    """Three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
