"""A comparison as a plot, in SVG and PNG: prefill and decode by engine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .figures import shown

OURS = ("#0b6e4f", "#6bbf59", "#b6d7a8")
PEERS = ("#8d99ae", "#ef8354", "#4f5d75")


def draw(report: Mapping[str, Any], svg: Path, png: Path) -> None:
    """Bars are medians, lines reach from the least to the most; the scale is logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "shaderlm"  # the same figures give the same file
    matplotlib.rcParams["svg.fonttype"] = "none"  # words stay words
    from matplotlib import pyplot

    colours = dict(zip(report["ours"], OURS, strict=False)) | dict(zip(report["peers"], PEERS, strict=False))
    figure, places = pyplot.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for place, what in zip(places, ("prefill", "decode"), strict=True):
        _bars(place, [each for each in report["figures"] if each["name"].startswith(what)], colours)
        place.set_title(f"{what}, tokens/s")
    figure.suptitle(f"{report['model']['file']} on {report['adapter']}", fontsize=11)
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(colours), frameon=False)
    figure.savefig(svg, metadata={"Date": None})
    figure.savefig(png, dpi=160)
    pyplot.close(figure)


def _bars(place: Any, figures: list[Mapping[str, Any]], colours: Mapping[str, str]) -> None:
    """A group of bars for each figure, in it one for each engine."""
    width = 0.8 / len(colours)
    for i, (name, colour) in enumerate(colours.items()):
        found = [(x, each["spread"][name]) for x, each in enumerate(figures) if name in each["spread"]]
        xs = [x + (i - (len(colours) - 1) / 2) * width for x, _ in found]
        medians = [each["median"] for _, each in found]
        below = [each["median"] - each["low"] for _, each in found]
        above = [each["high"] - each["median"] for _, each in found]
        place.bar(xs, medians, width, label=name, color=colour)
        place.errorbar(xs, medians, yerr=(below, above), fmt="none", ecolor="#333333", elinewidth=1, capsize=2)
        for x, (_, each) in zip(xs, found, strict=True):
            where = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center", "fontsize": 8}
            place.annotate(shown(each["median"], ""), (x, each["high"]), **where)
    place.set_yscale("log")
    place.margins(y=0.15)
    place.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    place.yaxis.set_minor_formatter(lambda value, _: "")
    place.set_xticks(range(len(figures)), [each["name"].split(maxsplit=1)[1] for each in figures])
    place.spines[["top", "right"]].set_visible(False)
