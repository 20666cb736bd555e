"""Say what a model's file holds, what memory it takes, and whether it would run here: reads the headers alone."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict

from .. import api
from ..hosts.native import sources
from ..inspection import AdapterSummary, Inspection, MemorySummary, TokenizerSummary
from . import loading
from .arguments import add_model_arguments, model_of, no_words_left
from .terminal import line

EPILOG = "The exit code is 0 also for a model that does not run: the verdict is the answer."
SHOWN = 48  # characters of a token


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shaderlm inspect MODEL [options]"
    add_model_arguments(parser)
    parser.add_argument("--json", action="store_true", help="the whole report, as JSON")


def run(arguments: argparse.Namespace) -> int:
    source = model_of(arguments)
    no_words_left(arguments)
    if arguments.verify:
        loading.verify(sources.locate(source))
    report = api.inspect(source, context=arguments.context, adapter=arguments.adapter, kv_dtype=arguments.kv_dtype)
    if arguments.json:
        print(json.dumps(asdict(report)))
        return 0
    line(report.file, style="bold")
    for label, value in particulars(report):
        line(f"   {label:15} {value}")
    line(f"   {'verdict':15} {report.verdict}", style="bold")
    for problem in report.problems:
        line(problem, style="yellow")
    return 0


def particulars(report: Inspection) -> Iterator[tuple[str, str]]:
    """What is told of a model, by label."""
    yield "file", megabytes(report.bytes)
    if report.name:
        yield "model", report.name
    yield "architecture", f"{report.architecture}, {report.parameters:,} parameters"
    for share in report.types:
        bits = 8 * share.bytes / share.values
        yield "", f"{share.type:8} {share.tensors:4} tensors, {megabytes(share.bytes)}, {bits:.4g} bits a value"
    yield "sizes", ", ".join(_sizes(report))
    yield "rope", report.rope
    yield "tokenizer", "none" if report.tokenizer is None else _tokenizer(report.tokenizer)
    yield "chat template", "none" if report.chat_template is None else f"{report.chat_template:,} characters"
    if report.memory is not None:
        yield from _memory(report.memory)
    yield "adapter", "none on this machine" if report.adapter is None else _adapter(report.adapter)


def megabytes(size: int) -> str:
    """ "98.7 MB"."""
    return f"{size / 1e6:,.1f} MB"


def _sizes(report: Inspection) -> Iterator[str]:
    names = {
        "n_layers": "layers",
        "hidden_size": "wide",
        "n_heads": "heads",
        "n_kv_heads": "KV heads",
        "head_dim": "values a head",
        "intermediate_size": "inner",
        "context_length": "positions",
        "sliding_window": "positions of window",
    }
    for name, what in names.items():
        value = report.hyperparameters.get(name)
        if isinstance(value, int):
            yield f"{value:,} {what}"


def _tokenizer(tokenizer: TokenizerSummary) -> str:
    kind = tokenizer.model + (f" ({tokenizer.pre})" if tokenizer.pre else "")
    bos = (
        "no BOS" if tokenizer.bos is None else f"BOS {_shown(tokenizer.bos)}{'' if tokenizer.add_bos else ' not added'}"
    )
    ends = ", ".join(map(_shown, tokenizer.ends)) or "nothing"
    return f"{kind}, {tokenizer.tokens:,} tokens, {bos}, a turn ends with {ends}"


def _shown(token: str) -> str:
    return repr(token if len(token) <= SHOWN else token[:SHOWN] + "...")


def _memory(memory: MemorySummary) -> Iterator[tuple[str, str]]:
    cache = ", ".join(f"{megabytes(size)} in {dtype}" for dtype, size in memory.kv_per_1k_tokens.items())
    yield "memory", f"{megabytes(memory.total)} with a context of {memory.context:,} in use:"
    yield "", f"weights {megabytes(memory.weights)}"
    yield "", f"KV cache {megabytes(memory.kv_cache)} in {memory.kv_dtype} (1,024 tokens take {cache})"
    yield "", f"activations {megabytes(memory.activations)}"
    yield "", f"largest binding {megabytes(memory.largest_binding)}, {memory.largest_name}"


def _adapter(adapter: AdapterSummary) -> str:
    free = "" if adapter.free_memory is None else f", {megabytes(adapter.free_memory)} free"
    return (
        f"{adapter.name} ({adapter.kind}): buffers up to {megabytes(adapter.largest_buffer)}, "
        f"bindings up to {megabytes(adapter.largest_binding)}{free}"
    )
