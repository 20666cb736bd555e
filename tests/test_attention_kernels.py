"""Attention over the paged cache, in decode and in prefill, and RoPE's angles: against float64."""

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agreement import agree
from gpu import Device, needs_subgroups_of_8
from reference import Array, attention
from shaderlm.graph import Rope
from shaderlm.planner.choice import PAGE, longest_context
from shaderlm.planner.compose import Kernel, compose, parse, read_shader
from shaderlm.planner.lower import QUERIES
from shaderlm.planner.rope_turns import rope_uniform

Floats = NDArray[Any]

MAX_PAGES = 9  # of a slot
LENGTHS = (1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 288)  # around the borders of pages and splits
EVERYTHING = 0xFFFFFFFF


@dataclass(frozen=True)
class Shape:
    """What a kernel is compiled and called with."""

    n_heads: int
    n_kv_heads: int
    head_dim: int
    kv: str = "f32"
    window: int | None = None
    split: int = 64
    workgroup: int = 32

    def __str__(self) -> str:
        window = "" if self.window is None else f"-window{self.window}"
        return (
            f"{self.n_heads}over{self.n_kv_heads}-dim{self.head_dim}-{self.kv}{window}"
            f"-split{self.split}-lanes{self.workgroup}"
        )


SHAPES = (
    Shape(2, 2, 16, workgroup=8),
    Shape(9, 3, 64, kv="f16", workgroup=8),
    Shape(9, 3, 64, split=256),
    Shape(8, 1, 32, kv="f16", window=40),
    Shape(4, 1, 80, window=13),
    Shape(6, 2, 24, window=64, workgroup=8),
    Shape(4, 2, 128, kv="f16"),
    Shape(2, 1, 256),
    Shape(2, 1, 256, workgroup=8, window=129),
    Shape(1, 1, 2),
)


@dataclass(frozen=True)
class Cached:
    """Rows that see the caches of slots of their own: arrays as the kernels take them, and what they hold."""

    shape: Shape
    q: Floats  # [rows, n_heads, head_dim / 2, 2]
    kv: Floats  # [page, K or V, n_kv_heads, PAGE, head_dim / 2, 2]; NaN where nothing was cached
    rows: NDArray[np.uint32]
    pages: NDArray[np.uint32]
    expected: Array  # [rows, n_heads, head_dim]

    def only(self, index: slice) -> "Cached":
        """Some of the rows, over the same cache."""
        return replace(self, q=self.q[index], rows=self.rows[index], expected=self.expected[index])


FIRST_TABLE = 5  # where the page tables of this layer group begin


def cached(shape: Shape, lengths: tuple[int, ...] = LENGTHS, *, spread: float = 1.0) -> Cached:
    """Random queries, keys and values for rows of these lengths, their pages shuffled over the cache."""
    rng = np.random.default_rng(shape.head_dim)
    dtype = np.float32 if shape.kv == "f32" else np.float16
    n_pages = sum(-(-length // PAGE) for length in lengths) + 2
    free = list(rng.permutation(n_pages))
    kv = np.full((n_pages, 2, shape.n_kv_heads, PAGE, shape.head_dim), np.nan, dtype)
    pages = np.full(FIRST_TABLE + len(lengths) * MAX_PAGES, 0xFFFF, np.uint32)
    q = (spread * rng.normal(0, 1, (len(lengths), shape.n_heads, shape.head_dim))).astype(np.float32)
    rows, expected = [], []
    for slot, length in enumerate(lengths):
        k, v = (rng.normal(0, 1, (length, shape.n_kv_heads, shape.head_dim)).astype(dtype) for _ in "kv")
        table = np.array([free.pop() for _ in range(-(-length // PAGE))])
        pages[FIRST_TABLE + slot * MAX_PAGES :][: len(table)] = table
        position = np.arange(length)
        kv[table[position // PAGE], 0, :, position % PAGE] = k
        kv[table[position // PAGE], 1, :, position % PAGE] = v
        rows.append((slot, length - 1, 0, slot))
        scale, k64, v64 = shape.head_dim**-0.5, k.astype(np.float64), v.astype(np.float64)
        expected.append(attention(q[slot : slot + 1].astype(np.float64), k64, v64, scale=scale, window=shape.window)[0])
    pairs = (shape.head_dim // 2, 2)
    return Cached(
        shape,
        q.reshape(len(lengths), shape.n_heads, *pairs),
        kv.reshape(*kv.shape[:-1], *pairs),
        np.array(rows, np.uint32),
        pages,
        np.stack(expected),
    )


def parameters(shape: Shape) -> dict[str, int]:
    return {"HEAD_DIM": shape.head_dim, "SPLIT": shape.split, "WORKGROUP": shape.workgroup}


def heads_of(shape: Shape, *names: str, **more: object) -> dict[str, object]:
    """The uniform: some of its usual members, and more."""
    usual = {
        "n_heads": shape.n_heads,
        "n_kv_heads": shape.n_kv_heads,
        "max_pages": MAX_PAGES,
        "page_table": FIRST_TABLE,
        "window": EVERYTHING if shape.window is None else shape.window,
        "scale": shape.head_dim**-0.5,
    }
    return {name: usual[name] for name in names or usual} | more


def decoded(gpu: Device, c: Cached) -> Floats:
    """[rows, n_heads, head_dim] by attention_decode.wgsl and attention_combine.wgsl."""
    split = composed("attention_decode.wgsl", c.shape, parameters(c.shape))
    return joined(gpu, c, split, c.shape.n_heads)


def decoded_together(gpu: Device, c: Cached, queries: int = 3) -> Floats:
    """As `decoded`, by attention_decode_broadcast.wgsl, `queries` heads at a time."""
    needs_subgroups_of_8(gpu)
    needs_shares(c.shape)
    sharing = c.shape.n_heads // c.shape.n_kv_heads
    given = {"HEAD_DIM": c.shape.head_dim, "SPLIT": c.shape.split, "SUBGROUP": 8}
    split = composed("attention_decode_broadcast.wgsl", c.shape, given, queries=QUERIES[queries - 1])
    return joined(gpu, c, split, c.shape.n_kv_heads * -(-sharing // queries))


def needs_shares(shape: Shape) -> None:
    if shape.head_dim % 8 or shape.head_dim > 256:
        pytest.skip("attention_pages.wgsl has no shares for heads of this size")


def composed(file: str, shape: Shape, given: dict[str, int], **includes: str) -> Kernel:
    return compose(file, includes={"kv": f"kv/{shape.kv}.wgsl", **includes}, parameters={**given, "PAGE": PAGE})


def joined(gpu: Device, c: Cached, split: Kernel, groups: int) -> Floats:
    """What `split` makes of the parts of the keys, joined by attention_combine.wgsl."""
    shape, n = c.shape, len(c.rows)
    half, stride = shape.head_dim // 2, shape.n_heads * shape.head_dim // 2 + 3
    max_splits = -(-MAX_PAGES * PAGE // shape.split)
    splits = max_splits + 1  # one more workgroup than there can be keys for, as where a bucket is not full
    parts = np.full((n, shape.n_heads, max_splits, half + 1, 2), np.nan, np.float32)
    y = np.full((n, stride, 2), 77, np.float32)
    arrays = {"q": c.q, "kv": c.kv, "rows": c.rows, "pages": c.pages, "parts": parts, "y": y}
    uniform = heads_of(shape, max_splits=max_splits, stride=stride)
    combine = compose("attention_combine.wgsl", parameters=parameters(shape))
    joined = {"heads": {name: uniform[name] for name in combine.uniforms["heads"].fields}}
    steps = [(split, {"heads": uniform}, (groups, splits, n)), (combine, joined, (shape.n_heads, n))]
    if max(c.rows[:, 1]) < shape.split:  # as the planner does without joining where all keys are one part
        steps.pop()
    return unpadded(gpu.run_all(steps, arrays)["y"], shape)


def prefilled(gpu: Device, c: Cached) -> Floats:
    """[rows, n_heads, head_dim] by attention_prefill.wgsl."""
    shape, n = c.shape, len(c.rows)
    stride = shape.n_heads * shape.head_dim // 2 + 3
    kernel = composed("attention_prefill.wgsl", shape, parameters(shape))
    y = np.full((n, stride, 2), 77, np.float32)
    arrays = {"q": c.q, "kv": c.kv, "rows": c.rows, "pages": c.pages, "y": y}
    uniform = heads_of(shape, stride=stride, first_head=0)
    return unpadded(gpu.run(kernel, arrays, {"heads": uniform}, (shape.n_heads, n))["y"], shape)


def prefilled_by_fours(gpu: Device, c: Cached) -> Floats:
    """As `prefilled`, by attention_prefill_broadcast.wgsl: each row in a tile of its own, among rows that are done."""
    n = len(c.rows)
    places = 4 * np.arange(n) + np.arange(n) % 4
    rows = np.tile(np.array([0, 0, 1, 0], np.uint32), (4 * n, 1))
    rows[:, 0] = np.repeat(c.rows[:, 0], 4)
    rows[places] = c.rows
    q = np.full((4 * n, *c.q.shape[1:]), 5.0, np.float32)
    q[places] = c.q
    return in_tiles(gpu, replace(c, q=q, rows=rows))[places]


def in_tiles(gpu: Device, c: Cached) -> Floats:
    """[rows, n_heads, head_dim] of whole tiles of four rows of one slot."""
    needs_subgroups_of_8(gpu)
    needs_shares(c.shape)
    shape, n = c.shape, len(c.rows)
    stride = shape.n_heads * shape.head_dim // 2 + 3
    kernel = composed("attention_prefill_broadcast.wgsl", shape, {"HEAD_DIM": shape.head_dim, "SUBGROUP": 8})
    y = np.full((n, stride, 2), 77, np.float32)
    arrays = {"q": c.q, "kv": c.kv, "rows": c.rows, "pages": c.pages, "y": y}
    uniform = heads_of(shape, stride=stride, first_head=0)
    return unpadded(gpu.run(kernel, arrays, {"heads": uniform}, (shape.n_heads, n // 4))["y"], shape)


def unpadded(y: Floats, shape: Shape) -> Floats:
    """The heads out of rows with a stride, behind which nothing was written."""
    used = shape.n_heads * shape.head_dim // 2
    assert (y[:, used:] == 77).all(), "wrote between the rows"
    return y[:, :used].reshape(len(y), shape.n_heads, shape.head_dim)


each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
EACH = (decoded, decoded_together, prefilled, prefilled_by_fours)
each_kernel = pytest.mark.parametrize("attend", EACH)


@each_kernel
@each_shape
def test_attention_is_that_of_float64(gpu: Device, attend: Any, shape: Shape) -> None:
    c = cached(shape)
    agree(attend(gpu, c), c.expected, abs=4e-6)


@pytest.mark.parametrize("attend", [decoded, decoded_together])
def test_rows_whose_keys_are_one_part_need_no_joining(gpu: Device, attend: Any) -> None:
    c = cached(SHAPES[1], (1, 40, 64, 65))
    together = attend(gpu, c)
    agree(attend(gpu, c.only(slice(0, 3))), c.expected[:3], abs=4e-6)
    np.testing.assert_array_equal(attend(gpu, c.only(slice(0, 3))), together[:3])


@pytest.mark.parametrize("queries", [1, 2, 4])
@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(2, 2), (4, 2), (3, 1), (5, 1), (8, 1)])
def test_heads_are_the_same_bits_however_many_are_made_together(
    gpu: Device, queries: int, n_heads: int, n_kv_heads: int
) -> None:
    c = cached(Shape(n_heads, n_kv_heads, 64, kv="f16", window=100))
    np.testing.assert_array_equal(decoded_together(gpu, c, queries), decoded_together(gpu, c))


@each_kernel
def test_a_row_is_bit_equal_whatever_rows_are_computed_beside_it(gpu: Device, attend: Any) -> None:
    c = cached(SHAPES[1], LENGTHS[-8:])
    together = attend(gpu, c)
    for index in (slice(7, 8), slice(0, 2), slice(4, 8)):
        np.testing.assert_array_equal(attend(gpu, c.only(index)), together[index], err_msg=str(index))


@each_shape
def test_four_rows_of_a_tile_see_what_each_may(gpu: Device, shape: Shape) -> None:
    """The last four positions of a slot in one tile: keys and values are loaded for all, and masked for each."""
    c = cached(shape, (200,))
    rng = np.random.default_rng(4)
    rows = np.array([(0, position, 0, 0) for position in (196, 197, 198, 199)], np.uint32)
    q = rng.normal(0, 1, (4, *c.q.shape[1:])).astype(np.float32)
    positions = np.arange(200)
    table = c.pages[FIRST_TABLE:][positions // PAGE]
    k, v = (c.kv[table, i, :, positions % PAGE].reshape(200, shape.n_kv_heads, -1).astype(np.float64) for i in (0, 1))
    q64 = q.reshape(4, shape.n_heads, -1).astype(np.float64)
    expected = [
        attention(q64[i : i + 1], k[: 197 + i], v[: 197 + i], scale=shape.head_dim**-0.5, window=shape.window)[0]
        for i in range(4)
    ]
    agree(in_tiles(gpu, replace(c, q=q, rows=rows)), np.stack(expected), abs=4e-6)


@pytest.mark.parametrize("attend", [prefilled, prefilled_by_fours])
@pytest.mark.parametrize("head_dim", [16, 64, 128, 256, 512])
def test_attention_of_many_rows_is_right_as_far_as_contexts_go(
    gpu: Device, monkeypatch: pytest.MonkeyPatch, head_dim: int, attend: Any
) -> None:
    """A CPU's compiler may end loops that take too many rounds, without a word."""
    length = min(longest_context(gpu.gpu.adapter, head_dim), 65_536)
    monkeypatch.setattr(sys.modules[__name__], "MAX_PAGES", length // PAGE + 2)
    c = cached(Shape(1, 1, head_dim, kv="f16", workgroup=8), (length,))
    agree(attend(gpu, c), c.expected, abs=4e-6)


@each_kernel
@pytest.mark.parametrize("spread", [1e2, 1e6, 1e18, 1e36])
def test_scores_however_large_give_finite_averages(gpu: Device, attend: Any, spread: float) -> None:
    """Softmax then picks one position, so an average over any others is far off."""
    c = cached(Shape(2, 1, 64, split=64), spread=spread)
    agree(attend(gpu, c), c.expected, abs=2e-4 if spread == 1e2 else 1e-5)


# RoPE

ROPE_MAIN = """
@group(0) @binding(0) var<storage, read> positions: array<u32>;
@group(0) @binding(1) var<storage, read_write> turned: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < rope.n_pairs) {
        turned[id.y * rope.n_pairs + id.x] = rope_turn(id.x, positions[id.y]);
    }
}
"""
FAR = (0, 1, 2, 7, 511, 512, 8191, 8192, 32767, 65535, 99_991, 131_070, 131_071)


@pytest.mark.parametrize(("theta", "dim"), [(10000.0, 128), (500_000.0, 64), (1.001, 2), (1e6, 512)])
def test_rope_turns_by_the_exact_angle_however_far_the_position(gpu: Device, theta: float, dim: int) -> None:
    """In float64 an angle of 131,071 radians is known to 1e-11."""
    frequencies = tuple(theta ** (-2 * i / dim) for i in range(dim // 2))
    rope = Rope(frequencies, interleaved=True)
    kernel = parse(read_shader("rope.wgsl") + ROPE_MAIN, "rope")
    turned = np.zeros((len(FAR), dim // 2, 2), np.float32)
    arrays = {"positions": np.array(FAR, np.uint32), "turned": turned}
    turned = gpu.run(kernel, arrays, {"rope": rope_uniform(rope)}, (-(-dim // 128), len(FAR)))["turned"]
    angle = np.array(FAR, np.float64)[:, None] * np.array(frequencies)
    agree(turned, np.stack([np.cos(angle), np.sin(angle)], -1), abs=2e-7)


def test_rope_multiplies_by_its_magnitude(gpu: Device) -> None:
    rope = Rope((1.0,), interleaved=True, magnitude=1.5)
    arrays = {"positions": np.array([3], np.uint32), "turned": np.zeros((1, 1, 2), np.float32)}
    kernel = parse(read_shader("rope.wgsl") + ROPE_MAIN, "rope")
    turned = gpu.run(kernel, arrays, {"rope": rope_uniform(rope)}, (1, 1))["turned"]
    agree(turned[0, 0], [1.5 * np.cos(3), 1.5 * np.sin(3)], abs=2e-7)
