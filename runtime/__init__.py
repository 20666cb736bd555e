"""Language models on WebGPU, driven from Python.

    import shaderlm

    with shaderlm.load("smollm2") as model:
        print(model.complete("The capital of France is", max_tokens=8, temperature=0).text)

Importing this package imports neither numpy nor a GPU library: what needs them gets them when it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import inspect, load, load_async, load_tokenizer
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
    "load",
    "load_async",
    "load_tokenizer",
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
    "load": "api",
    "load_async": "api",
    "load_tokenizer": "api",
}


def __getattr__(name: str) -> Any:
    """Fetch a public name from its module at its first use."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
