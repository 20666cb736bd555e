"""Holding a checkpoint's tensors against the weights that a graph needs."""

from collections.abc import Mapping

from ..errors import TensorMismatch
from .checkpoint import Checkpoint

LISTED = 30  # differences that a message tells


def check_weights(checkpoint: Checkpoint, weights: Mapping[str, tuple[int, ...]]) -> None:
    """`weights` maps names to shapes, outermost first. Raises TensorMismatch, which lists what differs."""
    tensors = checkpoint.tensors
    lines = [f"  missing: {name}, {_shape(shape)}" for name, shape in weights.items() if name not in tensors]
    lines += [
        f"  wrong shape: {name} is {_shape(tensors[name].shape)}, but must be {_shape(shape)}"
        for name, shape in weights.items()
        if name in tensors and tensors[name].shape != tuple(shape)
    ]
    lines += [
        f"  unexpected: {name}, {_shape(tensor.shape)}" for name, tensor in tensors.items() if name not in weights
    ]
    if len(lines) > LISTED:
        lines[LISTED:] = [f"  and {len(lines) - LISTED:,} more"]
    if lines:
        raise TensorMismatch(
            f"The tensors of {checkpoint.name} are not those of its architecture, {checkpoint.architecture}, "
            "with its hyperparameters:\n" + "\n".join(lines)
        )


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
