"""The command line: `shaderlm COMMAND ...`. Answers go to stdout, everything else to stderr."""

import difflib
import importlib
import os
import sys
import traceback
from typing import Any

from .. import log
from ..errors import ContextFull, ModelTooLarge, PromptTooLong, ShaderLMError
from .arguments import Parser, UsageError, parse
from .terminal import fail, note

COMMANDS = {
    "complete": "go on from a prompt, or answer it with --chat",
    "chat": "talk with a model",
    "inspect": "say what a model's file holds, and whether it would run here",
    "pull": "fetch a model, or check and update one that is here",
    "list": "list the models that were fetched",
    "rm": "delete a model that was fetched",
    "web": "serve the page for browsers, and open it",
    "devices": "list the adapters that a model can run on",
    "bench": "measure a model on an adapter",
    "perplexity": "how well a model predicts a text",
}
HINTS: dict[type[ShaderLMError], str] = {
    ContextFull: "On the command line: --context N, or --shift.",
    PromptTooLong: "On the command line: --context N.",
    ModelTooLarge: "On the command line: --context N.",
}
FAILED, BAD_USAGE, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 with an answer, 1 without, 2 for bad usage, 130 for Ctrl-C."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it is ours to the end
    try:
        log.configure(os.environ.get("SHADERLM_LOG"))
        return _run(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        return fail(str(error), BAD_USAGE)
    except ShaderLMError as error:
        _trace()
        return fail("\n".join(filter(None, (str(error), HINTS.get(type(error))))), FAILED)
    except KeyboardInterrupt:
        note("")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except OSError as error:
        _trace()
        _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}", FAILED)
    except Exception as error:
        _trace()
        what = f"{type(error).__name__}: {error}"
        return fail(f"A defect of shaderlm: {what}\nSHADERLM_LOG=debug shows where; please report it.", FAILED)


def _drop_output() -> None:
    """Leave unwritten what a stdout holds that takes no more: at its end Python would try again, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: list[str]) -> int:
    if not arguments:
        print(_overview(), file=sys.stderr)
        return BAD_USAGE
    name, rest = arguments[0], arguments[1:]
    if name in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if name in ("-V", "--version"):
        print(_version())
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}."
        raise UsageError(f"There is no command {name}; {hint}")
    command: Any = importlib.import_module(f".{name}", __name__)
    parser = Parser(prog=f"shaderlm {name}", description=command.__doc__, epilog=getattr(command, "EPILOG", None))
    command.add_arguments(parser)
    arguments_of_command = parse(parser, rest)
    if arguments_of_command is None:
        return 0
    code: int = command.run(arguments_of_command)
    return code


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: shaderlm COMMAND ...",
            "",
            "Language models on WebGPU. Commands:",
            *lines,
            "",
            "`shaderlm COMMAND --help` lists a command's options, `shaderlm --version` says which shaderlm this is.",
        ]
    )


def _version() -> str:
    from importlib.metadata import version

    return f"shaderlm {version('shaderlm')}"


def _trace() -> None:
    if log.LOG.isEnabledFor(log.DEBUG):
        traceback.print_exc()
