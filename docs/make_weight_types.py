"""Writes docs/weight-types.md: every weight type, and how exactly this machine's adapter computes with it.

    pip install -e ".[test]"
    python docs/make_weight_types.py

What is measured is what tests/test_linear_kernels.py holds under a bound: random blocks whose scales go from zero and
the smallest denormal to the largest f16, against what the `gguf` package decodes, multiplied in float64.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
from gpu import Device  # noqa: E402
from linear_kernels import BROADCAST, TILE, LinearKernel, embedded, matvec, multiplied, rows_of  # noqa: E402
from shaderlm.formats.gguf import OTHER_TYPES  # noqa: E402
from shaderlm.tensors import WEIGHT_TYPES, WeightType  # noqa: E402
from weight_blocks import Blocks, random_blocks  # noqa: E402

PAGE = ROOT / "docs" / "weight-types.md"
ROWS = 67
KERNELS = {
    "matvec, a lane a pair": matvec(1, 1),
    "matvec, 16 lanes": matvec(1, 16),
    "matmul, no subgroups": TILE,
    "matmul, subgroups": BROADCAST,
}

HEAD = """\
# Weight types

<!-- Written by docs/make_weight_types.py: change it there. -->

A file's weights are run in the very bits that it holds, whatever their type: nothing is converted when a model is
loaded, and each kernel decodes what it reads. A file may mix types as it likes, also within Q, K and V, or gate and up;
each type more that reads the same input costs a dispatch a layer. No type needs a feature of the adapter: `shader-f16`
is never used, and subgroups only by kernels for CPUs that have them with 4 or 8 lanes.

| type | values a block | bits a weight | {columns} |
|---|---|---|{lines}|
"""

TAIL = """
The last columns are worst errors in 10^-7, measured on {adapter}.
For the embedding table (embed) it is the relative error of a value; for products the error of a sum, relative to the
sum of its terms' magnitudes, of W [{rows}, 3 blocks or groups of 32] times standard normals. What is right is what the
`gguf` package decodes, multiplied in float64; the rounding error of an f32 alone is 0.6. Blocks are random bits, with
scales from zero and the smallest denormal f16 to the largest. A scale that is no number spoils its own row alone.

- Norms and biases must be in F32, which they are in every file that llama.cpp writes.
- **NVFP4** has a second level of scales, one number a weight, in tensors of their own: products with
  `blk.3.attn_q.weight` are multiplied by `blk.3.attn_q.scale`. Activations are not quantized, so `input_scale`
  takes no part.
- **MXFP4**: a value below the smallest normal f32, 1.2 * 10^-38, may count as zero.
- **Q1_0**: the `gguf` package does not decode it yet; it was held against the format as llama.cpp's source has it.
- Refused, with a message that says so: {refused}.

How another is added: [ARCHITECTURE.md](../ARCHITECTURE.md#how-to-add-a-weight-type).
"""


def page(gpu: Device) -> str:
    columns = ["embed", *KERNELS]
    lines = "|".join(["---:"] * len(columns))
    rows = "".join(_row(gpu, weight_type) for weight_type in WEIGHT_TYPES.values())
    adapter = gpu.gpu.adapter
    tail = TAIL.format(
        adapter=adapter.driver or adapter.name,
        rows=ROWS,
        refused=", ".join(name for name, _ in OTHER_TYPES.values()),
    )
    return HEAD.format(columns=" | ".join(columns), lines=lines) + rows + tail


def facts(weight_type: WeightType) -> str:
    """A row of the table up to what is measured."""
    return f"| {weight_type} | {weight_type.block} | {8 * weight_type.bytes / weight_type.block:.5g} |"


def _row(gpu: Device, weight_type: WeightType) -> str:
    columns = 75 if weight_type.block == 1 else 3 * max(weight_type.block, 32)
    blocks = random_blocks(weight_type, ROWS, columns)
    errors = [_of_lookup(gpu, blocks), *(_of_product(gpu, kernel, blocks) for kernel in KERNELS.values())]
    return facts(weight_type) + "".join(f" {1e7 * error:.1f} |" for error in errors) + "\n"


def _of_lookup(gpu: Device, blocks: Blocks) -> float:
    expected = blocks.decoded()
    return _worst(np.abs(embedded(gpu, blocks) - expected), np.abs(expected))


def _of_product(gpu: Device, kernel: LinearKernel, blocks: Blocks) -> float:
    x = np.random.default_rng(5).standard_normal((rows_of(kernel), blocks.columns), dtype=np.float32)
    w, x64 = blocks.decoded(), x.astype(np.float64)
    return _worst(np.abs(multiplied(gpu, kernel, blocks, x) - x64 @ w.T), np.abs(x64) @ np.abs(w).T)


def _worst(error: NDArray[Any], of: NDArray[Any]) -> float:
    return float(np.max(error[of > 0] / of[of > 0]))


if __name__ == "__main__":
    device = Device()
    try:
        PAGE.write_text(page(device), encoding="utf-8")
    finally:
        device.close()
