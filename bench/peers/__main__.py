"""`python3 build.py bench --peers`: shaderlm beside llama.cpp, in one run, on one adapter, with one model file.

Every engine is a process of its own that stays alive (engines.py), so that rounds alternate without loading again
(rounds.py). After each round the figures so far are in the JSON file; a table and a plot follow the last one.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import shaderlm
from shaderlm.catalogue import SMOLLM2
from shaderlm.cli.measuring import prompt
from shaderlm.errors import ShaderLMError
from shaderlm.hosts.native import sources
from tools.peers import MODULES, fetch_peers
from tools.steps import Stop, say

from . import plot, table
from .engines import OURS, ROOT, EngineFailed, Process, command_of, peers
from .figures import Figures, shown
from .report import Absent, Conditions, file_name, report, write
from .requantized import TYPES, requantized
from .rounds import Prompt, Seat, Settings, run, start

RESULTS = ROOT / "bench/results/peers"


def main() -> int:
    options = arguments()
    try:
        return compare(options)
    except (Stop, ShaderLMError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped; the rounds that were whole are in the file of figures")
        return 130


def arguments() -> argparse.Namespace:
    usual = Settings()
    parser = argparse.ArgumentParser(prog="build.py bench --peers", allow_abbrev=False, description=__doc__)
    parser.add_argument("model", nargs="?", default=SMOLLM2.name, help=f"a GGUF file (default {SMOLLM2.name})")
    parser.add_argument("--type", choices=TYPES, help="measure with the layers' linears quantized anew, to this type")
    parser.add_argument("--rounds", type=positive, default=usual.rounds, metavar="N")
    parser.add_argument("--prefill", type=sizes, default=usual.prefill, metavar="N,...", help="lengths of prompts")
    parser.add_argument("--decode", type=sizes, default=usual.decode, metavar="N,...", help="contexts to decode at")
    parser.add_argument("--adapter", metavar="A", help="shaderlm's: index or part of its name")
    parser.add_argument("--vulkan-device", type=int, default=0, metavar="N", help="llama.cpp's number of that adapter")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), metavar="N", help="llama.cpp's on the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="the table and the plots lie beside it")
    return parser.parse_args()


def sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted({positive(each) for each in text.split(",")}))


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value


def compare(options: argparse.Namespace) -> int:
    """Measure, write, and print the table. Raises Stop, ShaderLMError."""
    model = Path(sources.locate(options.model)[0]).resolve()
    if options.type:
        model = requantized(model, options.type)
    settings = Settings(options.rounds, options.prefill, options.decode)
    vocab_size = shaderlm.load_tokenizer(model).vocab_size
    conditions = Conditions.now(model, settings)
    found = Figures()

    def ids(n: int) -> list[int]:
        return prompt(vocab_size, n)

    seats: list[Seat] = []
    try:
        absent = open_all(options, model, settings, ids, seats, found)
        target = options.output or RESULTS / f"{file_name(seats[0].facts['adapter'], model)}.json"
        for done in run(seats, settings, ids, found, lambda *turn: tell(settings, found, *turn)):
            need_both(seats, absent)
            made = report(conditions, seats, found, absent, rounds_done=done)
            write(target, json.dumps(made, indent=1) + "\n")
    finally:
        for seat in seats:
            seat.process.close()
    write(target.with_suffix(".md"), table.markdown(made))
    plot.draw(made, target.with_suffix(".svg"), target.with_suffix(".png"))
    print(table.markdown(made), end="")
    say(f"the figures are in {target}, a table and plots beside it")
    return 0


def open_all(
    options: argparse.Namespace, model: Path, settings: Settings, ids: Prompt, seats: list[Seat], found: Figures
) -> list[Absent]:
    """Start every engine and warm it up; what does not start is returned with its reason. Raises Stop."""
    absent: list[Absent] = []
    node = fetch_peers().program
    with tempfile.TemporaryDirectory(prefix="shaderlm-peers-") as states:
        for engine in (*OURS, *peers(options.vulkan_device)):
            if not engine.ours and not seats:
                break  # nothing to hold them against
            own = {"adapter": options.adapter} if engine.ours else {"threads": options.threads}
            load = {"model": str(model), **own, **engine.options}
            try:
                say(f"{engine.name}: loading and warming up")
                seat = Seat(engine, Process(command_of(engine, node, MODULES), engine.variables))
                seats.append(seat)
                start(seat, settings, ids, load, Path(states), found)
                same_adapter(seat, seats[0])
                computes_as_asked(seat)
            except EngineFailed as failed:
                say(f"without {engine.name}: {failed}")
                absent.append(Absent(engine.name, str(failed)))
                if seats and seats[-1].engine == engine:
                    found.drop(engine.name)
                    seats.pop().process.close()
                continue
            waited = time.perf_counter() - seat.process.started
            say(f"{engine.name}: {seat.facts['adapter']}, ready after {waited:.0f} s")
    need_both(seats, absent)
    return absent


def same_adapter(seat: Seat, ours: Seat) -> None:
    """Raise EngineFailed for a peer on another GPU than ours."""
    theirs, mine = seat.facts["adapter"], ours.facts["adapter"]
    if seat.engine.options.get("gpu") and theirs != mine:
        raise EngineFailed(
            f"it runs on {theirs}, shaderlm on {mine}: name its device by --vulkan-device N, or shaderlm's by --adapter"
        )


def computes_as_asked(seat: Seat) -> None:
    """Raise EngineFailed for fast arithmetic that is exact here: its figures would be another's."""
    asked = seat.engine.options.get("arithmetic")
    if asked and seat.facts["arithmetic"] != asked:
        raise EngineFailed(f"on {seat.facts['adapter']} {asked} arithmetic computes by the same kernels as exact")


def need_both(seats: list[Seat], absent: list[Absent]) -> None:
    """Raise Stop where there is nothing to compare any more."""
    running = {seat.engine.ours for seat in seats if not seat.out}
    if running != {True, False}:
        who = "peer to compare with" if True in running else "shaderlm in the comparison"
        whys = [*absent, *(Absent(seat.name, seat.out) for seat in seats if seat.out)]
        raise Stop(f"there is no {who}. {'; '.join(f'{each.engine}: {each.why}' for each in whys)}")


def tell(settings: Settings, found: Figures, number: int, seat: Seat, seconds: float) -> None:
    """A line for an engine's turn, with its rates."""
    if seat.out:
        say(f"without {seat.name} from here on: {seat.out}")
        return
    figures = [figure for figure in found.all.values() if figure.kind.unit == "tokens/s"]
    rates = [f"{each.kind.name} {shown(each.samples[seat.name][number], '')}" for each in figures]
    say(f"round {number + 1} of {settings.rounds}, {seat.name}, {seconds:.0f} s: {'; '.join(rates)}")


if __name__ == "__main__":
    sys.exit(main())
