"""Models of many sizes as a table in Markdown."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from bench.peers.table import head, row


def markdown(report: Mapping[str, Any]) -> str:
    return "\n".join(lines(report)) + "\n"


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    adapter, load = report["adapter"], report["load_average"]
    rows = sorted({int(n) for model in report["models"] for n in model.get("step", ())})
    yield f"# Models with random weights on {adapter['name']}"
    yield ""
    yield (
        f"`{report['command']}`, {report['time']}; {adapter['backend']}, {adapter['driver']}; {report['cpus']} CPUs, "
        f"load average {load['before'][0]} before and {load['after'][0]} after. Medians. The roofline is of a step of "
        "one row: the bytes that it reads at the speed of a copy, and an empty dispatch for each of its dispatches."
    )
    yield ""
    several = [f"{n} rows / one" for n in rows if n > 1]
    columns = ["decode, tokens/s", "of the roofline", "GB/s", "of a copy's", *several]
    yield from head(["model", *columns, "prefill, tokens/s", "first token, s", "load, s", "GPU MB"])
    for model in report["models"]:
        if "left_out" not in model:
            yield row([f"{model['shape']} {model['type']}", *cells(model, rows)])
    for model in report["models"]:
        if "left_out" in model:
            yield ""
            yield f"Without {model['shape']} in {model['type']}: {model['left_out']}"


def cells(model: Mapping[str, Any], rows: list[int]) -> Iterator[str]:
    steps = {int(n): median(samples) for n, samples in model["step"].items()}
    one, rate = steps[1], model["step_bytes"] / steps[1]
    yield f"{1 / one:,.1f}"
    yield f"{model['roofline_seconds'] / one:.0%}"
    yield f"{rate / 1e9:,.1f}"
    yield f"{rate / median(model['bounds']['bytes_per_second']):.0%}"
    yield from (f"{steps[n] / one:.2f}" for n in rows if n > 1)
    yield f"{model['prompt_tokens'] / median(model['prompt']):,.0f}"
    yield f"{median(model['first_token']):.3f}"
    yield f"{model['load_seconds']:.1f}"
    yield f"{model['gpu_bytes'] / 1e6:,.0f}"
