"""Our own tiny trained model and what transformers generates from its weights; tests/data/train_tiny.py made both."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

TINY = Path(__file__).parent / "data/tiny.gguf"
END_OF_TEXT, END_OF_TURN = 0, 2  # either ends an answer
NO_END: dict[int, float] = {END_OF_TEXT: float("-inf"), END_OF_TURN: float("-inf")}  # a bias that lets none end


@dataclass(frozen=True)
class Golden:
    """A prompt and its greedy answer. `ids` hold the token that ended it, which `text` does not show."""

    name: str
    prompt: str  # of a chat: its messages after the template
    prompt_ids: list[int]
    max_tokens: int
    finish_reason: Literal["stop", "length"]
    ids: list[int]
    text: str
    margin: float  # the least distance between the top two logits of a step
    messages: list[dict[str, str]] = field(default_factory=list)  # empty for a completion


@dataclass(frozen=True)
class GoldenLogits:
    """A prompt and the logits after each of its tokens, float32 [tokens, vocab]."""

    prompt: str
    prompt_ids: list[int]
    logits: NDArray[np.float32]


def goldens() -> dict[str, Golden]:
    """Every golden by its name: completions and chats."""
    return {entry["name"]: Golden(**entry) for entry in _entries() if "ids" in entry}


def golden_logits() -> GoldenLogits:
    (entry,) = (entry for entry in _entries() if "ids" not in entry)
    logits = np.load(TINY.with_name("tiny.goldens.npz"))["logits"]
    return GoldenLogits(entry["prompt"], entry["prompt_ids"], logits)


def _entries() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(TINY.with_name("tiny.goldens.json").read_text(encoding="utf-8"))
    return entries
