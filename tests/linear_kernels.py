"""The kernels that multiply by a weight, each with any input and epilogue, run as the planner runs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu import Arrays, Device, Uniforms, needs_subgroups_of_8
from shaderlm.planner.compose import Kernel, Value, compose
from weight_blocks import Blocks


@dataclass(frozen=True)
class LinearKernel:
    """A kernel with its tile: workgroups along pairs of weight rows, and along rows of x (0: one makes all)."""

    file: str
    parameters: Mapping[str, Value]
    tile_pairs: int
    tile_rows: int = 0

    def __str__(self) -> str:
        return "-".join([self.file.removesuffix(".wgsl"), *(f"{k}{v}".lower() for k, v in self.parameters.items())])

    def compose(self, blocks: Blocks, input: str, epilogue: str, parameters: Mapping[str, Value], kv: str) -> Kernel:
        includes = {
            "quant": blocks.type.shader,
            "input": f"input/{input}.wgsl",
            "epilogue": f"epilogue/{epilogue}.wgsl",
            "kv": f"kv/{kv}.wgsl",
        }
        return compose(self.file, includes=includes, parameters={**self.parameters, **parameters})

    def groups(self, pairs: int, rows: int) -> tuple[int, int]:
        return -(-pairs // self.tile_pairs), rows // self.tile_rows if self.tile_rows else 1

    def run(
        self,
        gpu: Device,
        blocks: Blocks,
        x: NDArray[np.float32],
        *,
        epilogue: str,
        arrays: Arrays,
        uniforms: Uniforms,
        input: str = "plain",
        biases: NDArray[np.float32] | None = None,
        pairs: int | None = None,
        parameters: Mapping[str, Value] | None = None,
        kv: str = "f32",
        rows: int | None = None,
        scale: float = 1.0,
    ) -> dict[str, NDArray[Any]]:
        """W x with an epilogue; x is [rows, columns of W]. `arrays` and `uniforms` are the input's and epilogue's."""
        if self is BROADCAST:
            needs_subgroups_of_8(gpu)
        kernel = self.compose(blocks, input, epilogue, parameters or {}, kv)
        linear = blocks.uniform(pairs=pairs, biased=biases is not None, scale=scale)
        bound = {"W": blocks.laid_out(biases), "x": padded(x), **arrays}
        assert isinstance(linear["pairs"], int)
        groups = self.groups(linear["pairs"], len(x) if rows is None else rows)
        return gpu.run(kernel, bound, {"linear": linear, **uniforms}, groups)


def padded(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """x [rows, columns] as a linear wants it: rows of whole groups of 32. What fills them up must not matter."""
    return np.pad(x, ((0, 0), (0, -x.shape[1] % 32)), constant_values=1e30)


def matvec(m: int, team: int) -> LinearKernel:
    """The decode kernel for `m` rows, with workgroups as the planner chooses them for CPUs (team 1) and GPUs."""
    workgroup = 32 if team == 1 else 64
    return LinearKernel("matvec.wgsl", {"M": m, "TEAM": team, "WORKGROUP": workgroup}, workgroup // team)


TILE = LinearKernel("matmul_tile.wgsl", {}, tile_pairs=16, tile_rows=32)
BROADCAST = LinearKernel("matmul_broadcast.wgsl", {}, tile_pairs=8, tile_rows=8)
EACH = (matvec(2, 1), matvec(4, 16), TILE, BROADCAST)  # one of each kind


def rows_of(kernel: LinearKernel) -> int:
    """Rows of x that suit a kernel, several tiles where it has tiles."""
    m = kernel.parameters.get("M")
    return int(m) if m is not None else 2 * kernel.tile_rows
