"""A model as a graph of a few operations with named weights. It knows nothing of kernels, buffers or devices.

Shapes are those of one step: `rows` is the number of tokens that the step computes, whichever sequences they belong to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Activation = Literal["silu"]


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (Su et al. 2021, RoFormer, section 3.2.2).

    Pair `i` of a head turns by `position * frequencies[i]` radians; cosine and sine are multiplied by `magnitude`.
    Interleaved pairs are (2i, 2i + 1), the others (i, i + len(frequencies)). Values past the pairs pass unturned.
    """

    frequencies: tuple[float, ...]  # radians per position, scaling applied
    interleaved: bool
    magnitude: float = 1.0


@dataclass(frozen=True, eq=False)
class Node:
    """The value that an operation makes, [rows, width]."""

    width: int


@dataclass(frozen=True, eq=False)
class Embed(Node):
    """Rows of the table `weight` [vocab, width], picked by the step's token ids."""

    weight: str


@dataclass(frozen=True, eq=False)
class RmsNorm(Node):
    """x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019)."""

    x: Node
    weight: str
    eps: float


@dataclass(frozen=True, eq=False)
class Linear(Node):
    """scale * (x @ weight.T) + bias; weight is [width, x.width]."""

    x: Node
    weight: str
    bias: str | None = None
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Add(Node):
    """a + b."""

    a: Node
    b: Node


@dataclass(frozen=True, eq=False)
class Gated(Node):
    """activation(gate) * up (Shazeer 2020, "GLU variants")."""

    gate: Node
    up: Node
    activation: Activation


@dataclass(frozen=True, eq=False)
class Attention(Node):
    """Causal attention over the cache of layer `layer`, which gets this step's keys and values first.

    q is [rows, n_heads * head_dim]; k and v are [rows, n_kv_heads * head_dim]; q and k are turned by `rope`.
    A row sees the last `window` positions, its own included; None means all.
    """

    q: Node
    k: Node
    v: Node
    layer: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    scale: float
    rope: Rope | None = None
    window: int | None = None


@dataclass
class Graph:
    """Builds nodes; remembers every weight with its shape, so that a checkpoint can be held against them.

    `scales` has the factors that a checkpoint keeps apart from the weights of its linears.
    """

    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)

    def embed(self, weight: str, *, vocab_size: int, width: int) -> Node:
        return Embed(width, self._weight(weight, (vocab_size, width)))

    def rms_norm(self, x: Node, weight: str, eps: float) -> Node:
        return RmsNorm(x.width, x, self._weight(weight, (x.width,)), eps)

    def linear(self, x: Node, weight: str, width: int, bias: str | None = None) -> Node:
        if bias is not None:
            self._weight(bias, (width,))
        return Linear(width, x, self._weight(weight, (width, x.width)), bias, self.scales.get(weight, 1.0))

    def add(self, a: Node, b: Node) -> Node:
        return Add(a.width, a, b)

    def gated(self, gate: Node, up: Node, activation: Activation) -> Node:
        return Gated(gate.width, gate, up, activation)

    def attention(
        self,
        q: Node,
        k: Node,
        v: Node,
        *,
        layer: int,
        n_heads: int,
        n_kv_heads: int,
        head_dim: int,
        scale: float,
        rope: Rope | None = None,
        window: int | None = None,
    ) -> Node:
        return Attention(n_heads * head_dim, q, k, v, layer, n_heads, n_kv_heads, head_dim, scale, rope, window)

    def _weight(self, name: str, shape: Sequence[int]) -> str:
        known = self.weights.setdefault(name, tuple(shape))
        if known != tuple(shape):
            raise ValueError(f"weight {name} is used as {known} and as {tuple(shape)}")
        return name
