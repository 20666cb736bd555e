"""Serve the page for browsers to this machine, with a model from the local cache, and open it.

shaderlm web
shaderlm web --model path/to/model.gguf --port 8000

The page computes in the browser, on its GPU; no text leaves it. Its address goes to stdout. Ctrl-C ends the server.
"""

import argparse
import asyncio
import os
import sys
import webbrowser

from ..catalogue import SMOLLM2
from ..hosts.native import sources
from ..server.places import find_site
from .arguments import UsageError, no_words_left
from .terminal import Bar, note, warn

PORT = 8717  # always the same by default: a browser keeps models by the page's address


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shaderlm web [--model M] [--port N] [--host A] [--no-open]"
    parser.add_argument("--model", metavar="M", help="the model that the page takes by default (smollm2)")
    parser.add_argument("--port", type=int, metavar="N", default=PORT, help=f"default {PORT}; 0 takes any free one")
    parser.add_argument("--host", metavar="A", default="127.0.0.1", help="listen at this address (127.0.0.1)")
    parser.add_argument("--no-open", action="store_true", help="open no browser")


def run(arguments: argparse.Namespace) -> int:
    no_words_left(arguments)
    if not 0 <= arguments.port < 65536:
        raise UsageError(f"port: must be from 0 to 65535, not {arguments.port}.")
    folder = find_site()
    wanted = arguments.model or SMOLLM2.name
    with Bar("downloading", "bytes") as bar:
        files = sources.locate(wanted, bar)
    from ..server import static  # aiohttp takes a while to import

    try:
        site = static.open_site(folder, files, None if wanted == SMOLLM2.name else files[0].name)
        app = static.application(site, local=static.is_local(arguments.host))
    except ValueError as error:
        raise UsageError(f"{folder / static.SETTINGS}: {error}.") from error
    if not static.is_local(arguments.host):
        warn("Browsers offer WebGPU to pages from this machine, or over https: elsewhere this page will find no GPU.")

    def ready(address: str) -> None:
        print(address, flush=True)
        note(f"{files[0].name} and the page are served until Ctrl-C")
        if not arguments.no_open and has_display():
            webbrowser.open(address)

    try:
        asyncio.run(static.serve(app, arguments.host, arguments.port, ready))
    except KeyboardInterrupt:
        note("")
    except OSError as error:
        at = f"{arguments.host}:{arguments.port}"
        raise OSError(f"Nobody can listen at {at}: {error.strerror or error}. Another --port may be free.") from error
    return 0


def has_display() -> bool:
    """Whether a browser that is opened can be seen. A text browser would take the terminal."""
    named = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    return named or sys.platform in ("win32", "darwin")
