"""Fetch a model into the cache, or hold one that is there against its checksum and bring it up to date.

shaderlm pull smollm2
shaderlm pull hf:OWNER/REPOSITORY
shaderlm pull hf:OWNER/REPOSITORY/FILE.gguf@REVISION

A download that was interrupted is gone on with. What is fetched gets its SHA-256 in FILE.sha256 beside it. The path of
the model's (first) file goes to stdout.
"""

import argparse

from ..hosts.native import sources
from .arguments import UsageError, no_words_left
from .terminal import Bar, note, warn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shaderlm pull MODEL"


def run(arguments: argparse.Namespace) -> int:
    if not arguments.words:
        raise UsageError("Which model? Name one of the catalogue, smollm2, or hf:OWNER/REPOSITORY[/FILE][@REVISION].")
    source = arguments.words.pop(0)
    no_words_left(arguments)
    with Bar("checking", "bytes") as checking, Bar("downloading", "bytes") as downloading:
        done = sources.pull(source, downloading, checking)
    for file in done.files:
        if file in done.repaired:
            warn(f"{file.name} was damaged: fetched again")
        else:
            note(f"{file.name}: {'fetched' if file in done.received else 'is here already, and whole'}")
    print(done.files[0])
    return 0
