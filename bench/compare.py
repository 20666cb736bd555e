"""What changed between two runs: `python3 build.py bench --compare BASE.json [NEW.json]`.

Both are of `shaderlm bench --json`, or both of `build.py bench --peers`, or both of `build.py bench kernels`. Without
NEW.json the default model, or each kernel, is measured now, as BASE.json says that it was. A figure changed where the
samples of the two runs do not overlap and their medians lie further apart than either run's own samples do: of two runs
of three samples of the same thing that is one in fifty, either way. Of a comparison with peers the ratios are judged,
and of kernels their shares of the roofline, because a busy machine slows both sides of these.

Exit status: 1 if a time, a rate or a ratio became worse beyond the spread, 2 for files that cannot be compared, else 0.
Counts (bytes, dispatches) and figures of a single sample are told, and judged by nobody.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shaderlm.catalogue import SMOLLM2
from shaderlm.cli.measuring import Spread
from tools.steps import Stop, say

WANTED = "Name a file that `bench --json`, `bench --peers` or `bench kernels` wrote."
ENOUGH = 3  # samples, below which no spread is known

Report = Mapping[str, Any]
Verdict = Literal["worse", "better", "within the spread", "not judged"]

RATES = ("prefill_tokens", "decode_tokens")
TIMES = ("time_to_first_token", "next_turn_first_token")
TOLD = ("load_seconds", "first_answer_seconds", "step_bytes")
TOLD_OF_STEP = ("dispatches", "passes", "submits", "bind_groups", "bytes_written", "bytes_read", "host_microseconds")
CONDITIONS = ("driver", "versions", "load_average", "kernels", "engines", "absent")


@dataclass(frozen=True)
class Figure:
    """A figure of a run, and whether its spread is known well enough to judge a change by it."""

    spread: Spread
    more_is_better: bool
    judged: bool


@dataclass(frozen=True)
class Change:
    """A figure in both runs."""

    name: str
    base: Figure
    new: Figure

    @property
    def verdict(self) -> Verdict:
        if not (self.base.judged and self.new.judged):
            return "not judged"
        if not beyond_spread(self.base.spread, self.new.spread):
            return "within the spread"
        grew = self.new.spread.median > self.base.spread.median
        return "better" if grew == self.base.more_is_better else "worse"


def beyond_spread(a: Spread, b: Spread) -> bool:
    """Whether no sample of one is among the other's, and the medians lie further apart than either's samples."""
    apart = a.high < b.low or b.high < a.low
    return apart and abs(a.median - b.median) > max(a.high - a.low, b.high - b.low)


def figures_of(report: Report) -> dict[str, Figure]:
    """All figures of a report by name."""
    kinds = {"bench": _of_bench, "peers": _of_peers, "kernels": _of_kernels}
    return dict(kinds[report["shaderlm"]](report))


def _of_bench(report: Report) -> Iterator[tuple[str, Figure]]:
    results, runs = report["results"], report["settings"]["runs"]
    for names, more in ((RATES, True), (TIMES, False)):
        for name in names:
            yield name, Figure(Spread(**results[name]), more, runs >= ENOUGH)
    for name in TOLD:
        yield name, _single(results[name])
    for name in TOLD_OF_STEP:
        yield f"{name} per step", _single(results["step"][name])


def _of_peers(report: Report) -> Iterator[tuple[str, Figure]]:
    """Ratios, and our own figures, which are not judged: they are of the machine's mood too."""
    for figure in report["figures"]:
        for one in report["ours"]:
            for peer, found in figure["ratios"].get(one, {}).items():
                rounds = min(len(figure["samples"][name]) for name in (one, peer))
                yield f"{figure['name']}: {one} / {peer}", Figure(Spread(**found), True, rounds >= ENOUGH)
            if one in figure["spread"]:
                own = Spread(**figure["spread"][one])
                yield (
                    f"{figure['name']}: {one}, {figure['unit']}",
                    Figure(own, figure["better"] == "more", judged=False),
                )


def _of_kernels(report: Report) -> Iterator[tuple[str, Figure]]:
    """Shares of the roofline, and times, which are not judged: they are of the machine's mood too."""
    for each in report["figures"]:
        judged = len(each["samples"]) >= ENOUGH
        yield f"{each['name']}: share of the roofline", Figure(Spread(**each["share"]), True, judged)
        yield f"{each['name']}: s", Figure(Spread(**each["seconds"]), False, judged=False)


def _single(value: float) -> Figure:
    return Figure(Spread(value, value, value), False, judged=False)


def changes(base: Report, new: Report) -> list[Change]:
    """Figures that are in both. Raises Stop for reports of different things."""
    for what in ("shaderlm", "model", "settings", "adapter"):
        a, b = _essence(base, what), _essence(new, what)
        if a != b:
            raise Stop(f"these runs cannot be compared, they differ in {what}: {a} and {b}")
    old, now = figures_of(base), figures_of(new)
    return [Change(name, old[name], now[name]) for name in old if name in now]


def _essence(report: Report, what: str) -> object:
    """What has to be the same in both runs; of an adapter the name, and any number of runs will do."""
    found = report.get(what)
    if what == "adapter" and isinstance(found, Mapping):
        return found["name"]
    if what == "settings":
        return {name: value for name, value in found.items() if name not in ("runs", "rounds")}
    return found


def lines(base: Report, new: Report, found: list[Change]) -> Iterator[str]:
    """The changes as people read them, what is only in one run, and conditions that changed."""
    width = max(len(change.name) for change in found)
    for change in found:
        a, b = change.base.spread, change.new.spread
        percent = f"{100 * (b.median / a.median - 1):+.1f} %" if a.median else ""
        verdict = change.verdict if change.verdict != "not judged" else "" if a == b else "(not judged)"
        yield f"{change.name:{width}}  {_text(a):>28}  {_text(b):>28}  {percent:>9}  {verdict}".rstrip()
    for one, other, which in ((base, new, "the first"), (new, base, "the second")):
        yield from (f"only in {which}: {name}" for name in figures_of(one) if name not in figures_of(other))
    for name in CONDITIONS:
        yield from _differences(name, base.get(name), new.get(name))


def _differences(name: str, a: object, b: object) -> Iterator[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in a:
            yield from _differences(f"{name}.{key}", a[key], b.get(key))
    elif name == "engines" and isinstance(a, list) and isinstance(b, list):
        for one, other in zip(a, b, strict=False):
            yield from _differences(one["name"], one["versions"], other["versions"])
    elif a != b:
        yield f"{name}: {a} -> {b}"


def _text(spread: Spread) -> str:
    if spread.low == spread.high:
        return f"{spread.median:.4g}"
    return f"{spread.median:.4g} ({spread.low:.4g} to {spread.high:.4g})"


def read(path: Path) -> Report:
    """Raises Stop for a file that is no report."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        figures_of(found)
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}. {WANTED}") from error
    except (ValueError, KeyError, TypeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise Stop(f"{path} cannot be read as figures of `bench` ({said}). {WANTED}") from error
    return dict(found)


def measured_like(base: Report, target: Path) -> Report:
    """A run of the default model, or of kernels, with the settings of another run. Raises Stop."""
    settings, adapter = base["settings"], f"--adapter={_essence(base, 'adapter')}"
    if base["shaderlm"] != "kernels" and base["model"]["file"] != SMOLLM2.file:
        raise Stop(f"the first run is of {base['model']['file']}: measure that, and name the file of figures too")
    if base["shaderlm"] == "kernels":
        command = ["bench.kernels", *options_of(settings), adapter, f"--output={target}"]
    elif base["shaderlm"] == "peers":
        sizes = (f"--{name}={','.join(map(str, settings[name]))}" for name in ("prefill", "decode"))
        command = ["bench.peers", f"--rounds={settings['rounds']}", *sizes, adapter, f"--output={target}"]
    else:
        numbers = (f"--{name.replace('_', '-')}={settings[name]}" for name in ("prompt_tokens", "tokens", "runs"))
        without = [f"--no-{name.replace('_', '-')}" for name in ("kv_cache", "prefix_reuse") if not settings[name]]
        command = ["shaderlm", "bench", *numbers, *without, adapter, f"--json={target}"]
    if subprocess.run([sys.executable, "-m", *command], stdout=sys.stderr, check=False).returncode:
        raise Stop("the figures to compare with could not be measured, for the reason above")
    return read(target)


def options_of(settings: Mapping[str, Any]) -> Iterator[str]:
    """The options of `bench kernels` that ask for these settings."""
    for name, value in settings.items():
        if value is not None:
            yield f"--{name}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"


def main(words: list[str]) -> int:
    if not 1 <= len(words) <= 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        base = read(Path(words[0]))
        with tempfile.TemporaryDirectory() as folder:
            new = read(Path(words[1])) if words[1:] else measured_like(base, Path(folder) / "new.json")
        found = changes(base, new)
    except Stop as stop:
        say(str(stop))
        return 2
    print("\n".join(lines(base, new, found)))
    worse = [change.name for change in found if change.verdict == "worse"]
    say(f"worse beyond the spread: {'; '.join(worse)}" if worse else "nothing became worse beyond the spread")
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
