"""Factors that a GGUF file keeps in tensors of their own: NVFP4 has a second level of scales, one number a weight.

Beside `blk.3.attn_q.weight` may stand `blk.3.attn_q.scale`, by which the products with the weight are multiplied before
a bias is added, and `blk.3.attn_q.input_scale`, which is for kernels that quantize the input: they divide by it, and
multiply by it again. Ours read the input as it is, so it takes no part.
"""

import math
import struct

from ..errors import InvalidFile
from ..host import ByteSource
from ..tensors import F32
from .checkpoint import TensorInfo

SCALE, INPUT_SCALE, WEIGHT = ".scale", ".input_scale", ".weight"
TABLE = "token_embd.weight"  # is looked up in, which no scale is meant for


async def take_scales(source: ByteSource, tensors: dict[str, TensorInfo]) -> dict[str, float]:
    """Remove the scales of linears from `tensors` and return those of products, by the weight's name.

    One that belongs to no linear stays, to be reported as unexpected. Raises InvalidFile.
    """
    scales = {}
    for name in [name for name in tensors if name.endswith((SCALE, INPUT_SCALE))]:
        stem, _, suffix = name.rpartition(".")
        weight = stem + WEIGHT
        if weight not in tensors or len(tensors[weight].shape) != 2 or weight == TABLE:
            continue
        tensor = tensors.pop(name)
        if tensor.type is not F32 or tensor.values != 1:
            raise InvalidFile(
                f"{name} in {source.name} is {tensor.type} of shape {tensor.shape}, but a scale must be one F32. "
                "Convert the model again, or take another file of it."
            )
        if f".{suffix}" == SCALE:
            scales[weight] = _number(await source.read(tensor.offset, 4), name, source.name)
    return scales


def _number(data: bytes, name: str, file: str) -> float:
    number: float = struct.unpack("<f", data)[0]
    if not math.isfinite(number):
        raise InvalidFile(f"{name} in {file} is {number}, but a scale must be finite. The file is broken.")
    return number
