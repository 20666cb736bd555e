"""A comparison as Markdown."""

from collections.abc import Iterator, Mapping
from typing import Any

from .figures import shown_spread


def markdown(report: Mapping[str, Any]) -> str:
    """Conditions, a table of figures, a table of ratios, and what could not be measured."""
    parts = (conditions(report), figures_table(report), ratios_table(report), absent(report))
    return "\n\n".join("\n".join(part) for part in parts).strip() + "\n"


def conditions(report: Mapping[str, Any]) -> Iterator[str]:
    model, settings, load = report["model"], report["settings"], report["load_average"]
    yield f"# {model['file']} on {report['adapter']}"
    yield ""
    yield (
        f"Medians (least to most) of alternating rounds: {report['rounds_done']}. {report['time']}, "
        f"{report['cpus']} CPUs, load average {load['before'][0]} before and {load['after'][0]} after. "
        f"Greedy, KV cache in {settings['kv_dtype']}, the same token ids for all."
    )
    yield ""
    for engine in report["engines"]:
        yield f"- **{engine['name']}**: {', '.join(facts(engine))}"


def facts(engine: Mapping[str, Any]) -> Iterator[str]:
    """What an engine says of itself."""
    yield from (f"{name} {version}" for name, version in engine["versions"].items())
    yield f"{engine['adapter']} ({engine['backend']})" if engine["adapter"] != engine["backend"] else engine["adapter"]
    if engine.get("driver"):
        yield str(engine["driver"])
    if engine.get("threads"):
        yield f"{engine['threads']} threads"
    yield f"{engine['decode_steps']} tokens decoded at once"
    yield f"warmed up in {engine['warm_up_seconds']:.0f} s"


def figures_table(report: Mapping[str, Any]) -> Iterator[str]:
    names = [engine["name"] for engine in report["engines"]]
    yield from head(["", *names, ""])
    for figure in report["figures"]:
        unit = figure["unit"]
        cells = [shown_spread(figure["spread"][name], unit) if name in figure["spread"] else "" for name in names]
        yield row([figure["name"], *cells, "" if unit == "bytes" else unit])


def ratios_table(report: Mapping[str, Any]) -> Iterator[str]:
    """How many times as good as each peer, over the rounds."""
    pairs = [(one, peer) for one in report["ours"] for peer in report["peers"]]
    yield from head(["times as good as the peer", *(f"{one} / {peer}" for one, peer in pairs)])
    for figure in report["figures"]:
        found = [figure["ratios"].get(one, {}).get(peer) for one, peer in pairs]
        if any(found):
            yield row([figure["name"], *(shown_spread(each, "") if each else "" for each in found)])


def absent(report: Mapping[str, Any]) -> Iterator[str]:
    for each in report["absent"]:
        yield f"Without {each['engine']}: {each['why']}"


def head(cells: list[str]) -> Iterator[str]:
    yield row(cells)
    yield row(["---", *("---:" for _ in cells[1:])])


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
