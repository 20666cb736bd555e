"""The table of `bench`: one line a figure, its median and its spread."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .terminal import line

Row = tuple[str, str, str, str]  # what, figure, spread, unit


def show(lines: Iterable[str], rows: Iterable[Row]) -> None:
    """Print on stdout under which conditions what was measured."""
    table = list(rows)
    for text in lines:
        line(text, style="dim")
    if not sys.stdout.isatty():
        widths = [max(len(row[column]) for row in table) for column in range(3)]
        for what, figure, spread, unit in table:
            line(f"{what:{widths[0]}}  {figure:>{widths[1]}}  {spread:{widths[2]}}  {unit}".rstrip())
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rich_table = Table(box=box.SIMPLE_HEAD)
    rich_table.add_column("")
    rich_table.add_column("median", justify="right", style="bold")
    rich_table.add_column("least to most", style="dim")
    rich_table.add_column("")
    for row in table:
        rich_table.add_row(*row)
    Console().print(rich_table)


def conditions(report: Mapping[str, Any]) -> list[str]:
    """Lines that say what was measured, where, and how busy the machine was."""
    settings = report["settings"]
    without = [] if settings["kv_cache"] else ["without a KV cache"]
    without += [] if settings["prefix_reuse"] else ["without prefix reuse"]
    return [
        *surroundings(report),
        ", ".join(
            [
                f"prompt of {settings['prompt_tokens']} tokens, answers of {settings['tokens']}",
                f"{settings['runs']} runs",
                f"KV cache in {report['kv_dtype']}",
                *without,
            ]
        ),
    ]


def surroundings(report: Mapping[str, Any]) -> list[str]:
    """The model and the adapter, the versions, the machine and how busy it was."""
    model, adapter, versions = report["model"], report["adapter"], report["versions"]
    load = report["load_average"]["before"]
    busy = f"{report['cpus']} CPUs, load average {load[0]} before" if load else f"{report['cpus']} CPUs"
    return [
        f"{model['file']} on {adapter['name']} ({adapter['kind']}, {adapter['backend']}, {adapter['driver']})",
        f"shaderlm {versions['shaderlm']}, wgpu {versions['wgpu']}, Python {versions['python']}, {versions['system']}",
        busy,
    ]


def rows(report: Mapping[str, Any]) -> Iterator[Row]:
    """What, figure, spread, unit."""
    results = report["results"]
    step = results["step"]
    yield "load", f"{results['load_seconds']:.2f}", "", "s"
    yield "first token after load", f"{results['first_answer_seconds']:.2f}", "", "s"
    yield spread_row("first token", results["time_to_first_token"], "s", 3)
    yield spread_row("first token of a next turn", results["next_turn_first_token"], "s", 3)
    yield spread_row("prefill", results["prefill_tokens"], "tokens/s", 1)
    yield spread_row("decode", results["decode_tokens"], "tokens/s", 1)
    yield "dispatches", f"{step['dispatches']:.1f}", "", "per token"
    yield "passes", f"{step['passes']:.2f}", "", "per token"
    yield "submits", f"{step['submits']:.2f}", "", "per token"
    yield "bind groups made", f"{step['bind_groups']:.2f}", "", "per token"
    yield "written by the host", f"{step['bytes_written']:.1f}", "", "bytes per token"
    yield "read back", f"{step['bytes_read']:.1f}", "", "bytes per token"
    yield "encode and submit, CPU time", f"{step['host_microseconds']:.0f}", "", "us per token"
    yield "encode and submit, by the clock", f"{step['submit_microseconds']:.0f}", "", "us per token"
    yield "read by a decode step", f"{results['step_bytes'] / 1e6:.1f}", "", "MB"
    copies = {name: value / 1e9 for name, value in results["copy_bytes"].items()}
    yield spread_row("copy bandwidth (read and written)", copies, "GB/s", 2)
    yield "share of it that decode reads", f"{100 * results['copy_share']:.1f}", "", "%"
    late, most = 1e3 * results["ticker_late_p99"], 1e3 * results["ticker_late_max"]
    yield "event loop late, 99th percentile", f"{late:.1f}", f"at most {most:.1f}", f"ms, of {results['ticks']} ticks"


def spread_row(what: str, spread: Mapping[str, float], unit: str, digits: int) -> Row:
    """A median, with the least and the largest beside it."""
    low, high = f"{spread['low']:.{digits}f}", f"{spread['high']:.{digits}f}"
    return what, f"{spread['median']:.{digits}f}", f"{low} to {high}", unit
