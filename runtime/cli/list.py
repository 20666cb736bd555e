"""List the models that were fetched: their name, as every command takes it, size, last use and licence."""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from ..errors import ShaderLMError
from ..formats.gguf import read_header
from ..hosts.native.files import open_files
from ..hosts.native.inventory import StoredModel, stored_models
from ..hosts.native.thread import run_now
from .arguments import no_words_left
from .terminal import line, note

HEAD = ("model", "size", "used", "licence")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shaderlm list [--json]"
    parser.add_argument("--json", action="store_true", help="all of it, with the files, as JSON")


def run(arguments: argparse.Namespace) -> int:
    no_words_left(arguments)
    models = stored_models()
    if arguments.json:
        print(json.dumps({"models": [as_dict(model) for model in models]}))
    elif models:
        show([HEAD, *(row(model) for model in models)])
    else:
        note("No model was fetched yet. `shaderlm pull smollm2` fetches a small one.")
    return 0


def show(rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, its first row in bold."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for i, (name, size, used, licence) in enumerate(rows):
        text = f"{name:{widths[0]}}  {size:>{widths[1]}}  {used:{widths[2]}}  {licence}"
        line(text.rstrip(), style="none" if i else "bold")


def row(model: StoredModel) -> tuple[str, str, str, str]:
    """A line of the table."""
    used = datetime.fromtimestamp(model.used).strftime("%Y-%m-%d")
    last = "unfinished: `shaderlm pull` goes on" if model.unfinished else licence(model) or "unknown"
    return model.name, f"{model.size / 1e6:,.1f} MB", used, last


def as_dict(model: StoredModel) -> dict[str, object]:
    """A model for --json."""
    return {
        "name": model.name,
        "size": model.size,
        "files": list(map(str, model.files)),
        "used": datetime.fromtimestamp(model.used, UTC).isoformat(timespec="seconds"),
        "licence": licence(model),
        "unfinished": model.unfinished,
    }


def licence(model: StoredModel) -> str | None:
    """What the catalogue or the file's own header says."""
    if model.licence is not None or model.unfinished:
        return model.licence
    try:
        source = open_files(model.files[:1])
        try:
            value = run_now(read_header(source)).metadata.get("general.license")
        finally:
            source.close()
    except ShaderLMError:  # it is listed so that it can be removed; whoever loads it is told what is wrong
        return None
    return value if isinstance(value, str) else None
