"""The page of `bench --profile`: one HTML file with charts, which asks for nothing from anywhere."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .profile_charts import Colours, Section, bars, colours, layers, legend, timeline
from .profile_table import (
    OUTSIDE,
    about,
    about_decode,
    about_prefill,
    chunk_rows,
    decode_title,
    prefill_title,
)

STYLE = """
:root { color-scheme: light dark; --page: #fcfcfb; --card: #ffffff; --text: #1c1c1a; --muted: #686864; --line: #e4e3de;
  --c0: #2a78d6; --c1: #1baf7a; --c2: #eda100; --c3: #7b61d1; --c4: #e34948; --c5: #3f8f1f; --c6: #e07ba8;
  --c7: #b0622d; --rest: #a5a49d; }
@media (prefers-color-scheme: dark) { :root { --page: #171716; --card: #1f1f1d; --text: #eceae4; --muted: #a09e96;
  --line: #343431; --c0: #4a90e2; --c1: #22a677; --c2: #cc8f0a; --c3: #9685e6; --c4: #e2625f; --c5: #62a83f;
  --c6: #d1689a; --c7: #c0774a; --rest: #75736c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 66rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .4rem; } h2 { font-size: 1.25rem; margin: 0 0 .6rem; }
h3 { font-size: 1rem; margin: 1.8rem 0 .5rem; } p { margin: 0 0 .4rem; max-width: 52rem; }
header p, .note { color: var(--muted); font-size: .87rem; margin: 0; max-width: none; }
section { margin-top: 2rem; padding: 1.4rem 1.5rem 1.6rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem 2.4rem; margin: .2rem 0 1rem; padding: 0; }
.tiles div { display: flex; flex-direction: column-reverse; } .tiles dt { color: var(--muted); font-size: .82rem; }
.tiles dd { margin: 0; font-size: 1.45rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } .narrow { max-width: 26rem; }
svg { display: block; width: 100%; min-width: 44rem; font-size: 12px; } svg text { fill: var(--muted); }
svg line { stroke: var(--line); } rect:hover { opacity: .7; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem 0 .22rem 1rem; text-align: right; white-space: nowrap; font-weight: normal; }
th:first-child { text-align: left; padding-left: 0; } thead th { color: var(--muted); }
thead th, thead td { border-bottom: 1px solid var(--line); }
tbody tr:hover { background: color-mix(in srgb, var(--line) 45%, transparent); }
td.bar { width: 34%; min-width: 7rem; } td.bar div { height: .95rem; border-radius: 2px; min-width: 2px; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; font-size: .82rem; color: var(--muted); max-width: none; }
.legend i { display: inline-block; width: .75em; height: .75em; border-radius: 2px; margin-right: .4em; }
details { margin-top: 1rem; } summary { cursor: pointer; color: var(--muted); } details > div { margin-top: .6rem; }
""" + "".join(
    f".{name} {{ fill: var(--{name}); background: var(--{name}); }}\n"
    for name in [*(f"c{i}" for i in range(8)), "rest"]
)


def page(report: Mapping[str, Any]) -> str:
    """The whole file for a report of `bench --profile`."""
    decode, prefill = report["profile"]["decode"], report["profile"]["prefill"]
    of = colours([decode, prefill])
    title = f"Where the time goes: {report['model']['file']}"
    said = "".join(f"<p>{escape(text)}</p>" for text in [*about(report), report["time"]])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>{said}</header>\n"
        f"{_decode(decode, of)}\n{_prefill(prefill, of)}\n</body>\n</html>\n"
    )


def _decode(decode: Section, of: Colours) -> str:
    facts = {
        "a step on the GPU": f"{decode['gpu_ms']['median']:.2f} ms",
        "the same in one pass": f"{decode['one_pass_ms']['median']:.2f} ms",
        "dispatches": str(decode["dispatches"]),
        "an empty pass": f"{decode['empty_pass_us']['median']:.1f} us",
        "share of the dispatches": f"{100 * decode['share']['median']:.1f} %",
    }
    return _section(decode_title(decode), facts, about_decode(decode), decode, of, "step", "")


def _prefill(prefill: Section, of: Colours) -> str:
    total = sum(chunk["gpu_ms"]["median"] for chunk in prefill["chunks"])
    facts = {
        "the prompt on the GPU": f"{total:,.1f} ms",
        "tokens a second": f"{1e3 * prefill['tokens'] / total:.1f}",
        "chunks": str(len(prefill["chunks"])),
        "share of the dispatches": f"{100 * prefill['share']['median']:.1f} %",
    }
    chunks = f'<details><summary>By chunk</summary><div class="narrow">{_table(chunk_rows(prefill))}</div></details>'
    return _section(prefill_title(prefill), facts, about_prefill(prefill), prefill, of, "chunk", chunks)


def _section(
    title: str, facts: Mapping[str, str], about: Iterable[str], section: Section, of: Colours, step: str, more: str
) -> str:
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    texts = "".join(f"<p>{escape(text)}</p>" for text in about)
    events = [
        ("dispatch", "from, ms", "us", "reads, MB", "kernel"),
        *(
            (
                one["label"],
                f"{one['begin_us'] / 1e3:.3f}",
                f"{one['us']:.1f}",
                "" if one["reads"] is None else f"{one['reads'] / 1e6:.3f}",
                one["kernel"],
            )
            for one in section["timeline"]
        ),
    ]
    return (
        f'<section><h2>{escape(title)}</h2><dl class="tiles">{tiles}</dl>{texts}'
        f"<h3>By op</h3>{bars(section, 'by_op', step, of)}"
        f"<h3>By layer</h3>{legend(section, of)}{layers(section, of)}"
        f'<p class="note">Milliseconds of a {step}. {escape(_outside(section))}</p>'
        f"<h3>One {step}, the median</h3>{timeline(section, of)}"
        '<p class="note">Every dispatch in its order; the numbers are layers. A pointer at rest on one tells more.</p>'
        f"{more}<details><summary>By kernel</summary>{bars(section, 'by_kernel', step, {})}</details>"
        f"<details><summary>Figures by layer</summary>{bars(section, 'by_layer', step, {})}</details>"
        f"<details><summary>Every dispatch of this {step}</summary>{_table(events)}</details></section>"
    )


def _outside(section: Section) -> str:
    ms = sum(row["ms"] for row in section["by_layer"] if row["name"] == OUTSIDE)
    ops = [cell["op"] for cell in section["by_layer_and_op"] if cell["layer"] == OUTSIDE]
    return f"Outside of layers: {ms:.2f}, for {', '.join(ops)}."


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in body
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
