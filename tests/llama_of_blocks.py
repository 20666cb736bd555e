"""A random Llama in any weight types, also in those that the `gguf` package reads but does not write."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gguf_writer import TensorSource, llama_metadata, write_gguf
from random_llama import random_llama
from shaderlm.tensors import WEIGHT_TYPES, WeightType
from weight_blocks import ordinary_blocks

SIZES = {"hidden_size": 256, "intermediate_size": 256, "n_heads": 4, "n_kv_heads": 2, "head_dim": 64, "vocab_size": 96}

# Models with a weight type for each matrix: which types, and the sizes that make so many matrices.
ROOM_FOR_A_MIX: dict[str, Any] = {"n_layers": 2, "tied_output": False}
IN_A_MIX = 16
MIXES = [list(WEIGHT_TYPES.values())[first:][:IN_A_MIX] for first in range(0, len(WEIGHT_TYPES), IN_A_MIX)]


def write_llama_of_blocks(
    path: Path, *types: WeightType, n_layers: int = 1, tied_output: bool = True
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A file whose matrices have these types in turn: its hyperparameters, and the values that its tensors hold."""
    hyperparameters, weights = random_llama(3, n_layers=n_layers, tied_output=tied_output, **SIZES)
    in_turn = itertools.cycle(types)
    tensors: dict[str, TensorSource] = {}
    values: dict[str, NDArray[Any]] = {}
    for seed, (name, weight) in enumerate(weights.items()):
        if weight.ndim == 2:
            weight_type = next(in_turn)
            blocks = ordinary_blocks(weight_type, *weight.shape, seed, deviation=float(weight.std()))
            tensors[name], values[name] = (blocks.bytes, weight_type.name), blocks.decoded()
        else:
            tensors[name], values[name] = (weight, "F32"), weight.astype(np.float64)
    write_gguf(path, "llama", llama_metadata(hyperparameters), tensors)
    return hyperparameters, values
