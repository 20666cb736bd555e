"""Delete a model that was fetched. It says which files those are, and asks.

shaderlm rm smollm2
shaderlm rm hf:OWNER/REPOSITORY/FILE.gguf
shaderlm rm --yes hf:OWNER/REPOSITORY

A repository's name stands for all models out of it. Names are those that `shaderlm list` shows.
"""

import argparse
import sys
from collections.abc import Sequence

from ..catalogue import hub_name
from ..errors import ModelNotFound
from ..hosts.native import inventory
from .arguments import UsageError, no_words_left
from .terminal import note

KEPT = 1  # the exit code where nothing was deleted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shaderlm rm [--yes] NAME"
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    if not arguments.words:
        raise UsageError("Which model? `shaderlm list` shows their names.")
    name = arguments.words.pop(0)
    no_words_left(arguments)
    models = named(name, inventory.stored_models())
    for model in models:
        for file in model.files:
            note(f"{file}  ({file.stat().st_size / 1e6:,.1f} MB)", style="none")
    if not arguments.yes and not confirmed(f"Delete {name}? [y/N] "):
        note("Nothing was deleted.")
        return KEPT
    for model in models:
        inventory.remove(model)
        note(f"{model.name}: deleted")
    return 0


def named(name: str, models: Sequence[inventory.StoredModel]) -> list[inventory.StoredModel]:
    """The models that a name stands for. Raises ModelNotFound, InvalidOption."""
    found = [model for model in models if model.name == name]
    wanted = hub_name(name)
    if wanted is not None and wanted.file is None:  # the repository
        hub_names = [(model, hub_name(model.name)) for model in models]
        found = [model for model, other in hub_names if other is not None and other.repo == wanted.repo]
    if not found:
        there = ", ".join(model.name for model in models) or "none"
        raise ModelNotFound(f"No model called {name} was fetched. There are: {there}.")
    return found


def confirmed(question: str) -> bool:
    """Whether a person says yes. Raises UsageError where there is none to be asked."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("Nobody can be asked here: `shaderlm rm --yes NAME` deletes without asking.")
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
