"""The architectures that can be run: one short file each."""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from ..errors import UnknownArchitecture
from ..graph import Graph, Node
from . import llama
from .decoder import DecoderConfig, Fields


@dataclass(frozen=True)
class Architecture:
    """How to read an architecture's hyperparameters and how to build its graph."""

    config: Callable[[Fields, Container[str]], DecoderConfig]
    build: Callable[[Graph, Any], Node]


ARCHITECTURES = {"llama": Architecture(llama.config, llama.build)}


def architecture(name: str, file: str) -> Architecture:
    """The architecture called `name`. Raises UnknownArchitecture, naming those that work."""
    if name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UnknownArchitecture(
            f"{file} holds a model of architecture {name!r:.80}, which is not known. Known: {known}. "
            "Take a model of one of these."
        )
    return ARCHITECTURES[name]
