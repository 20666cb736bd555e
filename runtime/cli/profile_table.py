"""The tables of `bench --profile` on stdout: where a step's time goes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .report import surroundings
from .terminal import line

Section = Mapping[str, Any]
SUMS = {"by_op": "op", "by_kernel": "kernel", "by_layer": "layer"}
OUTSIDE = "outside of layers"


def show(report: Mapping[str, Any]) -> None:
    """Print a report of `bench --profile`."""
    for text in about(report):
        line(text, style="dim")
    decode, prefill = report["profile"]["decode"], report["profile"]["prefill"]
    line("")
    line(decode_title(decode), style="bold")
    for text in about_decode(decode):
        line(text)
    _show_sums(decode, "step")
    line("")
    line(prefill_title(prefill), style="bold")
    for text in about_prefill(prefill):
        line(text)
    _show_sums(prefill, "chunk")
    line("")
    for row in aligned(chunk_rows(prefill)):
        line(row)


def about(report: Mapping[str, Any]) -> list[str]:
    """Where and how it was measured."""
    return [*surroundings(report), f"KV cache in {report['kv_dtype']}, {report['arithmetic']} arithmetic"]


def decode_title(decode: Section) -> str:
    return f"Decode step at position {decode['position']:,}"


def prefill_title(prefill: Section) -> str:
    return f"Prefill of {prefill['tokens']:,} tokens"


def about_decode(decode: Section) -> Iterator[str]:
    """What the figures of a decode step are worth: sentences."""
    gpu, one_pass = decode["gpu_ms"]["median"], decode["one_pass_ms"]["median"]
    empty, passes = decode["empty_pass_us"]["median"], decode["dispatches"]
    cost = empty * passes / 1e3
    yield (
        f"{_counted(decode['steps'], 'step')} of {passes} dispatches, each in a pass of its own: {_gpu_time(decode)}. "
        f"That is {gpu / one_pass:.2f} times the {one_pass:.2f} ms of the same step in one pass."
    )
    yield (
        f"The dispatches sum to {_percent(decode)} of the time from a step's first begin to its last end: each is "
        "timed from the end of the one before it."
    )
    yield (
        f"So every figure contains its pass, and an empty one takes {empty:.1f} us: {cost:.2f} ms a step. "
        f"Less these, the sum is {(gpu - cost) / one_pass:.2f} times the step in one pass."
    )
    yield _by_the_clock(decode, "step")


def about_prefill(prefill: Section) -> Iterator[str]:
    """The same of a prefill, whose steps are chunks."""
    runs, chunks = _counted(prefill["runs"], "run"), _counted(len(prefill["chunks"]), "chunk")
    yield f"{runs} of {chunks}: {_gpu_time(prefill)} a chunk."
    yield (
        f"The dispatches sum to {_percent(prefill)} of the time from a chunk's first begin to its last end. The rest "
        "lies between submits, where the GPU waits for the host."
    )
    yield _by_the_clock(prefill, "prefill")


def mean_ms(section: Section) -> float:
    """Of all steps: what the tables sum to."""
    return sum(float(row["ms"]) for row in section["by_op"])


def sums(section: Section, name: str) -> list[Section]:
    """What is summed "by_op", "by_kernel" or "by_layer": what takes longest first, but layers in their order."""
    rows: list[Section] = section[name]
    return rows if name == "by_layer" else sorted(rows, key=lambda row: -row["ms"])


def header(step: str) -> tuple[str, ...]:
    """Of the columns that `figures` fills."""
    return "share", f"ms/{step}", "median", "dispatches", "us each", f"MB/{step}", "GB/s"


def figures(row: Section) -> tuple[str, ...]:
    """A sum in columns; empty where nothing is known to be read."""
    reads, rate = row["bytes"], row["gb_per_second"]
    return (
        f"{100 * row['share']:.1f} %",
        f"{row['ms']:,.3f}",
        f"{row['median_ms']:,.3f}",
        f"{row['dispatches']:.4g}",
        f"{row['us_each']:,.1f}",
        "" if reads is None else f"{reads / 1e6:.2f}",
        "" if rate is None else f"{rate:.2f}",
    )


def chunk_rows(prefill: Section) -> list[tuple[str, ...]]:
    return [("by chunk", "rows", "ms", "tokens/s"), *(chunk_row(chunk) for chunk in prefill["chunks"])]


def chunk_row(chunk: Section) -> tuple[str, ...]:
    """From which position on, rows, milliseconds on the GPU, rows a second."""
    ms = chunk["gpu_ms"]["median"]
    return f"from {chunk['first']:,}", str(chunk["rows"]), f"{ms:.1f}", f"{1e3 * chunk['rows'] / ms:.1f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, all others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _show_sums(section: Section, step: str) -> None:
    for name, what in SUMS.items():
        cells = [(f"by {what}", *header(step)), *((row["name"], *figures(row)) for row in sums(section, name))]
        first, *rows = aligned(cells)
        line("")
        line(first, style="bold")
        for row in rows:
            line(row.rstrip())


def _by_the_clock(section: Section, what: str) -> str:
    clock, normal = section["clock_ms"]["median"], section["normal_clock_ms"]["median"]
    return (
        f"By the host's clock a profiled {what} takes {clock:,.1f} ms, "
        f"{clock / normal:.2f} times a normal one's {normal:,.1f}."
    )


def _gpu_time(section: Section) -> str:
    time = section["gpu_ms"]
    return (
        f"{time['median']:.2f} ms of the GPU's time in the median ({time['low']:.2f} to {time['high']:.2f}; "
        f"the tables have the mean, {mean_ms(section):.2f})"
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _percent(section: Section) -> str:
    return f"{100 * section['share']['median']:.1f} %"
