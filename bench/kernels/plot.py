"""A roofline, in SVG and PNG: multiply-adds a second over multiply-adds for each byte read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = {1: "#0b6e4f", 4: "#ef8354", 64: "#4f5d75"}
OTHER = "#8d99ae"
MARKERS = "osD^vP*X<>hdpH"


def draw(report: Mapping[str, Any], svg: Path, png: Path) -> None:
    """A point for each figure by the kernels of choice: colours are rows, shapes are places."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "shaderlm"  # the same figures give the same file
    matplotlib.rcParams["svg.fonttype"] = "none"  # words stay words
    from matplotlib import pyplot

    figure, place = pyplot.subplots(figsize=(11, 6.5), layout="constrained")
    figures = chosen(report["figures"])
    places = list(dict.fromkeys(each["place"] for each in figures))
    for each in figures:
        style = {
            "color": COLOURS.get(each["rows"], OTHER),
            "marker": MARKERS[places.index(each["place"]) % len(MARKERS)],
        }
        y = each["multiply_adds_per_second"]["median"] / 1e9
        place.plot([intensity(each)], [y], linestyle="none", markersize=5, alpha=0.8, **style)
    _roof(place, report["ceilings"], figures)
    _legend(place, figures, places)
    place.set_xscale("log")
    place.set_yscale("log")
    for axis in (place.xaxis, place.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
    place.set_xlabel("multiply-adds for each byte of weights, or of keys and values")
    place.set_ylabel("10^9 multiply-adds a second")
    place.set_title(f"Kernels on {report['adapter']['name']}", fontsize=11)
    place.spines[["top", "right"]].set_visible(False)
    figure.savefig(svg, metadata={"Date": None})
    figure.savefig(png, dpi=160)
    pyplot.close(figure)


def chosen(figures: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each place, mode and number of rows the first variant: the one of choice."""
    first: dict[tuple[object, ...], str] = {}
    for each in figures:
        first.setdefault((each["place"], each["mode"], each["rows"]), each["variant"])
    return [each for each in figures if first[each["place"], each["mode"], each["rows"]] == each["variant"]]


def intensity(figure: Mapping[str, Any]) -> float:
    """Multiply-adds for each byte."""
    return float(figure["multiply_adds"] / figure["bytes"])


def _roof(place: Any, ceilings: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]) -> None:
    """Lines of the copy bandwidth and of the arithmetic, each as far as it bounds."""
    bandwidth, rate = (ceilings[name]["median"] for name in ("bytes_per_second", "multiply_adds_per_second"))
    xs = [intensity(each) for each in figures]
    low, high, knee = min(xs) / 2, max(*xs, 2 * rate / bandwidth) * 2, rate / bandwidth
    roof = [(x, min(rate, x * bandwidth) / 1e9) for x in (low, knee, high)]
    place.plot([x for x, _ in roof], [y for _, y in roof], color="#333333", linewidth=1.2)
    note = {"fontsize": 8, "color": "#333333", "textcoords": "offset points"}
    place.annotate(f"copies, {bandwidth / 1e9:.3g} GB/s", roof[0], xytext=(14, 4), **note)
    place.annotate(f"registers, {rate / 1e9:.3g} G/s", roof[2], xytext=(-4, 5), ha="right", **note)


def _legend(place: Any, figures: Sequence[Mapping[str, Any]], places: Sequence[str]) -> None:
    for rows, mode in sorted({(each["rows"], each["mode"]) for each in figures}):
        place.plot([], [], "s", color=COLOURS.get(rows, OTHER), label=f"{mode}, {rows} row{'s'[: rows > 1]}")
    for i, name in enumerate(places):
        place.plot([], [], MARKERS[i % len(MARKERS)], color=OTHER, label=name, markersize=5)
    place.legend(frameon=False, fontsize=8, loc="lower right")
