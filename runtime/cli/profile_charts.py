"""Charts of a profile as HTML and SVG: sums with bars, layers as columns, a step as lines of time."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from .profile_table import OUTSIDE, SUMS, figures, header, sums

Section = Mapping[str, Any]
Colours = Mapping[str, str]  # op -> CSS class

HUES = 8  # ops with a colour of their own; the page's style has as many
REST = "rest"
WIDTH, LEFT = 960, 64  # of a chart, and of what stands left of it
COLUMNS = 180  # height of the layers' columns
LINE, BAR = 46, 24  # height of a line of time, and of a dispatch in it
PER_LINE = 40  # dispatches, about
LABEL = 22  # least distance of two labels


def colours(sections: Sequence[Section]) -> Colours:
    """A class for each op, the same in all charts: those that take longest in the first section come first."""
    ops: dict[str, None] = {}
    for section in sections:
        ops |= dict.fromkeys(row["name"] for row in sums(section, "by_op"))
    return {op: f"c{i}" if i < HUES else REST for i, op in enumerate(ops)}


def legend(section: Section, of: Colours) -> str:
    """The colours of the section's ops. Those without one of their own share the last entry."""
    ops = [row["name"] for row in sums(section, "by_op")]
    items = [f'<span><i class="{of[op]}"></i>{escape(op)}</span>' for op in ops if of[op] != REST]
    rest = [escape(op) for op in ops if of[op] == REST]
    if rest:
        items.append(f'<span><i class="{REST}"></i>{", ".join(rest)}</span>')
    return f'<p class="legend">{"".join(items)}</p>'


def bars(section: Section, name: str, step: str, of: Colours) -> str:
    """A table of what is summed "by_op", "by_kernel" or "by_layer", each with a bar as long as its share."""
    rows = sums(section, name)
    longest = max(row["share"] for row in rows)
    head = "".join(f"<th>{escape(column)}</th>" for column in header(step))
    body = "".join(_bar_row(row, row["share"] / longest, of.get(row["name"], REST)) for row in rows)
    return (
        f'<div class="wide"><table class="bars"><thead><tr><th>{SUMS[name]}</th><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _bar_row(row: Section, length: float, colour: str) -> str:
    cells = "".join(f"<td>{escape(figure)}</td>" for figure in figures(row))
    bar = f'<div class="{colour}" style="width:{100 * length:.2f}%"></div>'
    return f'<tr><th scope="row">{escape(row["name"])}</th><td class="bar">{bar}</td>{cells}</tr>'


def layers(section: Section, of: Colours) -> str:
    """A column for each layer, made of its ops."""
    totals = {row["name"]: row["ms"] for row in section["by_layer"] if row["name"] != OUTSIDE}
    top, step = _axis(max(totals.values()))
    height = COLUMNS / top  # pixels a millisecond
    pitch = (WIDTH - LEFT) / len(totals)
    width = min(48.0, max(2.0, pitch - 3))
    every = max(1, math.ceil(LABEL / pitch))
    parts = [_grid_line(COLUMNS - tick * height, _short(tick)) for tick in _ticks(top, step)]
    for i, (name, total) in enumerate(totals.items()):
        x, y = LEFT + i * pitch + (pitch - width) / 2, float(COLUMNS)
        for cell in section["by_layer_and_op"]:
            if cell["layer"] == name:
                y -= cell["ms"] * height
                title = f"{name}: {cell['op']} {cell['ms']:.3f} ms of {total:.3f}"
                parts.append(_rect(x, y, width, max(0.0, cell["ms"] * height - 0.5), of[cell["op"]], title))
        if i % every == 0:
            parts.append(_text(x + width / 2, COLUMNS + 16, name.removeprefix("layer "), "middle"))
    return _svg(COLUMNS + 24, parts, "Milliseconds by layer and op")


def timeline(section: Section, of: Colours) -> str:
    """The dispatches of one step in the order in which they ran, in lines of equal time."""
    events = section["timeline"]
    total = events[-1]["begin_us"] + events[-1]["us"]
    lines = max(1, math.ceil(len(events) / PER_LINE))
    scale = (WIDTH - LEFT) * lines / total  # pixels a microsecond, along all lines
    parts = [_text(LEFT - 10, LINE * i + 14 + BAR / 2 + 4, _ms(total * i / lines), "end") for i in range(lines)]
    layer, labelled = None, -math.inf
    for event in events:
        start = event["begin_us"] * scale
        for x, line, width in _cut(start, event["us"] * scale):
            parts.append(_rect(LEFT + x, LINE * line + 14, max(0.6, width - 0.6), BAR, of[event["op"]], _title(event)))
        if event["layer"] not in (None, layer) and start - labelled > LABEL:
            x, line = start % (WIDTH - LEFT), int(start // (WIDTH - LEFT))
            parts.append(_text(LEFT + x, LINE * line + 10, str(event["layer"]), "start"))
            labelled = start
        layer = event["layer"]
    return _svg(LINE * lines, parts, "One step, dispatch by dispatch; the numbers are layers")


def _cut(start: float, length: float) -> Iterator[tuple[float, int, float]]:
    """(x, line, width) of what lies along lines that are all as wide as the chart."""
    whole = WIDTH - LEFT
    end = start + length
    line = int(start // whole)
    while start < end:
        stop = min(end, (line + 1.0) * whole)
        if stop - start > 1e-6:  # rounding leaves none behind the last line
            yield start - line * whole, line, stop - start
        start, line = stop, line + 1


def _title(event: Section) -> str:
    reads = event["reads"]
    rate = f"\nreads {reads / 1e6:.3f} MB, {reads / 1e3 / event['us']:.2f} GB/s" if reads and event["us"] else ""
    return f"{event['label']}: {event['us']:.1f} us from {event['begin_us'] / 1e3:.3f} ms on\n{event['kernel']}{rate}"


def _axis(largest: float) -> tuple[float, float]:
    """The top of an axis and the distance of its ticks: 1, 2 or 5 by a power of ten, four at the most."""
    power = 10.0 ** math.floor(math.log10(largest / 4)) if largest > 0 else 1.0
    step = next(factor * power for factor in (1, 2, 5, 10) if largest / (factor * power) <= 4)
    return math.ceil(largest / step) * step, step


def _ticks(top: float, step: float) -> Iterator[float]:
    return (i * step for i in range(round(top / step) + 1))


def _grid_line(y: float, label: str) -> str:
    line = f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y + 0.5:.1f}" y2="{y + 0.5:.1f}"/>'
    return line + _text(LEFT - 10, y + 4, label, "end")


def _rect(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    place = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f'<rect class="{colour}" {place}><title>{escape(title)}</title></rect>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    body = "".join(parts)
    return (
        f'<div class="wide"><svg viewBox="0 -6 {WIDTH} {height + 8:.0f}" role="img" aria-label="{escape(label)}">'
        f"{body}</svg></div>"
    )


def _ms(microseconds: float) -> str:
    return f"{_short(microseconds / 1e3)} ms"


def _short(number: float) -> str:
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"
