"""The kernels that multiply by a weight, each with any input and epilogue, run as the planner runs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu import Arrays, Device, Uniforms, needs_subgroups_of_8
from shaderlm.planner.compose import Kernel, Value, compose
from shaderlm.planner.weights import codebook_uniform
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
        if blocks.type.codebook and "SUBGROUP" in self.parameters:
            includes["codebook"] = "quant/codebook_in_uniform.wgsl"
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
        if "SUBGROUP" in self.parameters:
            needs_subgroups_of_8(gpu)
        kernel = self.compose(blocks, input, epilogue, parameters or {}, kv)
        linear = blocks.uniform(pairs=pairs, biased=biases is not None, scale=scale)
        bound = {"W": blocks.laid_out(biases), "x": padded(x), **arrays}
        assert isinstance(linear["all_pairs"], int)
        groups = self.groups(linear["all_pairs"], len(x) if rows is None else rows)
        codebook = np.frombuffer(codebook_uniform(blocks.type), np.uint32).tolist()
        return gpu.run(kernel, bound, {"linear": linear, "codebook": {"words": codebook}, **uniforms}, groups)


def padded(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """x [rows, columns] as a linear wants it: rows of whole groups of 32. What fills them up must not matter."""
    return np.pad(x, ((0, 0), (0, -x.shape[1] % 32)), constant_values=1e30)


def matvec(m: int, team: int, workgroup: int | None = None) -> LinearKernel:
    """The decode kernel for `m` rows, with workgroups as by default on CPUs (team 1) and GPUs, unless one is given."""
    workgroup = workgroup or (32 if team == 1 else 64)
    return LinearKernel("matvec.wgsl", {"M": m, "TEAM": team, "WORKGROUP": workgroup}, workgroup // team)


def broadcast(m: int) -> LinearKernel:
    """`m` rows of x at a time, by subgroups of 8."""
    return LinearKernel("matmul_broadcast.wgsl", {"M": m, "SUBGROUP": 8, "WORKGROUP": 32}, tile_pairs=32, tile_rows=m)


TILE = LinearKernel("matmul_tile.wgsl", {"LANE_PAIRS": 2}, tile_pairs=16, tile_rows=32)
LARGE_TILE = LinearKernel("matmul_tile.wgsl", {"LANE_PAIRS": 4}, tile_pairs=32, tile_rows=32)
INT8 = LinearKernel("matmul_int8.wgsl", {}, tile_pairs=32, tile_rows=32)  # rounds x
BROADCAST = broadcast(4)
EACH = (matvec(2, 1), matvec(4, 16), TILE, LARGE_TILE, BROADCAST)  # one of each kind


def rows_of(kernel: LinearKernel) -> int:
    """Rows of x that suit a kernel, several tiles where it has tiles."""
    return 2 * kernel.tile_rows or int(kernel.parameters["M"])


def multiplied(gpu: Device, kernel: LinearKernel, blocks: Blocks, x: NDArray[np.float32]) -> NDArray[Any]:
    """W x by a kernel, [rows of x, rows of W]."""
    stride = blocks.rows + 1
    y = np.full((len(x), stride), 77.0, np.float32)
    uniforms = {"out": {"width": blocks.rows, "stride": stride}}
    y = kernel.run(gpu, blocks, x, epilogue="plain", arrays={"y": y}, uniforms=uniforms)["y"]
    assert (y[:, blocks.rows :] == 77.0).all(), "wrote between the rows"
    return y[:, : blocks.rows]


def embed(
    gpu: Device, blocks: Blocks, tokens: NDArray[np.uint32], rows: NDArray[np.uint32], gain: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """What the embedding's kernel writes for rows (slot, position, ...) of tokens [slots, context]."""
    width, stride = blocks.columns, blocks.groups * 32
    arrays = {
        "W": blocks.laid_out(),
        "rows": rows,
        "tokens": tokens,
        "residual": np.full((len(rows), width), 77, np.float32),
        "normed": np.full((len(rows), stride), 77, np.float32),
        "sums": np.full((len(rows), 1), 77, np.float32),
        "gain": gain,
    }
    table = {
        "planes": blocks.uniform()["planes"],
        "groups": blocks.groups,
        "width": width,
        "stride": stride,
        "context": tokens.shape[1],
        "vocab": blocks.rows,
        "first_token": 0,
        "end_token": blocks.rows,
    }
    kernel = compose("embed.wgsl", includes={"quant": blocks.type.shader})
    return gpu.run(kernel, arrays, {"table": table}, (len(rows),))


def embedded(gpu: Device, blocks: Blocks) -> NDArray[np.float32]:
    """All rows of a weight as the kernels decode them."""
    tokens = np.arange(blocks.rows, dtype=np.uint32)[np.newaxis]
    rows = np.stack([0 * tokens[0], tokens[0], 0 * tokens[0], tokens[0]], axis=1)
    values: NDArray[np.float32] = embed(gpu, blocks, tokens, rows, np.ones(blocks.columns, np.float32))["residual"]
    return values
