"""Language models on WebGPU, driven from Python.

    import shaderlm

    with shaderlm.load("smollm2") as model:
        print(model.complete("The capital of France is", max_tokens=8, temperature=0).text)

Importing this package imports neither numpy nor a GPU library: what needs them gets them when it is used.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import inspect, inspect_async, load, load_async, load_tokenizer, load_tokenizer_async
    from .generation import Chunk, Completion, Provenance, Timings, TokenLogprobs, Usage
    from .inspection import Inspection
    from .model import AsyncModel, Model

__all__ = [
    "AsyncModel",
    "Chunk",
    "Completion",
    "Inspection",
    "Model",
    "Provenance",
    "Timings",
    "TokenLogprobs",
    "Usage",
    "inspect",
    "inspect_async",
    "load",
    "load_async",
    "load_tokenizer",
    "load_tokenizer_async",
]

_HOMES = {
    "AsyncModel": "model",
    "Chunk": "generation",
    "Completion": "generation",
    "Inspection": "inspection",
    "Model": "model",
    "Provenance": "generation",
    "Timings": "generation",
    "TokenLogprobs": "generation",
    "Usage": "generation",
    "inspect": "api",
    "inspect_async": "api",
    "load": "api",
    "load_async": "api",
    "load_tokenizer": "api",
    "load_tokenizer_async": "api",
}
_HOMES_IN_BROWSERS = {
    "inspect": "blocking",
    "inspect_async": "api_browser",
    "load": "blocking",
    "load_async": "api_browser",
    "load_tokenizer": "blocking",
    "load_tokenizer_async": "api_browser",
}


def __getattr__(name: str) -> Any:
    """Fetch a public name from its module at its first use."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES_IN_BROWSERS.get(name) if sys.platform == "emscripten" else None
    return getattr(import_module(f".{home or _HOMES[name]}", __name__), name)
