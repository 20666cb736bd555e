"""From a graph to the few fused operations of a step: what can share a kernel is found by its shape in the graph.

A norm is split: whoever writes the residual stream also writes gain * residual and partial sums of squares, and the
linear behind the norm scales its result. So every writer of the stream is told the gain of the norm that reads it next.
"""

from dataclasses import dataclass

from ..errors import InvalidConfig, KernelError
from ..graph import Activation, Add, Attention, Embed, Gated, Linear, Node, RmsNorm
from .rope_turns import MAX_PAIRS


@dataclass(frozen=True)
class EmbedRows:
    """residual = table[token]."""

    weight: str
    next_norm: RmsNorm


@dataclass(frozen=True)
class ProjectQkv:
    """q, and k and v into the cache, from a normed residual."""

    q: Linear
    k: Linear
    v: Linear
    norm: RmsNorm
    attention: Attention


@dataclass(frozen=True)
class Attend:
    """Attention of q over the cache."""

    attention: Attention


@dataclass(frozen=True)
class AddProjection:
    """residual += linear(attention or feed-forward)."""

    linear: Linear
    layer: int
    next_norm: RmsNorm


@dataclass(frozen=True)
class GateUp:
    """activation(gate) * up, from a normed residual."""

    gate: Linear
    up: Linear
    norm: RmsNorm
    activation: Activation
    layer: int


@dataclass(frozen=True)
class MakeLogits:
    """Logits from the last normed residual."""

    linear: Linear
    norm: RmsNorm


LARGEST_HEAD = 2 * MAX_PAIRS  # values

FusedOp = EmbedRows | ProjectQkv | Attend | AddProjection | GateUp | MakeLogits


def fuse(root: Node) -> list[FusedOp]:
    """The operations of a step, in order.

    Raises KernelError for a graph that has no fused form yet, InvalidConfig for heads that no kernel takes.
    """
    if not isinstance(root, Linear) or not isinstance(root.x, RmsNorm):
        raise KernelError("a graph must end in a linear behind a norm")
    backwards: list[FusedOp] = [MakeLogits(root, root.x)]
    norm, x = root.x, root.x.x
    layer = -1
    while isinstance(x, Add):
        stream, update = x.a, x.b
        if not isinstance(update, Linear):
            raise KernelError(f"cannot add a {type(update).__name__} to the residual stream")
        inner = update.x
        if isinstance(inner, Attention):
            layer = inner.layer
            ops, reader = _attention(inner)
        elif isinstance(inner, Gated):
            layer = _next_layer(stream)
            ops, reader = _feed_forward(inner, layer)
        else:
            raise KernelError(f"cannot project a {type(inner).__name__} into the residual stream")
        if reader.x is not stream:
            raise KernelError("a block must read the stream that it adds to")
        backwards += [AddProjection(update, layer, norm), *reversed(ops)]
        norm, x = reader, stream
    if not isinstance(x, Embed):
        raise KernelError(f"a graph must begin with an embedding, not with a {type(x).__name__}")
    backwards.append(EmbedRows(x.weight, norm))
    return backwards[::-1]


def _attention(attention: Attention) -> tuple[list[FusedOp], RmsNorm]:
    q, k, v = attention.q, attention.k, attention.v
    if attention.head_dim % 2 or attention.head_dim > LARGEST_HEAD:
        raise InvalidConfig(f"head_dim is {attention.head_dim}; attention is made for even sizes up to {LARGEST_HEAD}.")
    if not (isinstance(q, Linear) and isinstance(k, Linear) and isinstance(v, Linear)):
        raise KernelError("q, k and v must be linears")
    norm = q.x
    if not isinstance(norm, RmsNorm) or k.x is not norm or v.x is not norm:
        raise KernelError("q, k and v must read one norm")
    return [ProjectQkv(q, k, v, norm, attention), Attend(attention)], norm


def _feed_forward(gated: Gated, layer: int) -> tuple[list[FusedOp], RmsNorm]:
    gate, up = gated.gate, gated.up
    if not (isinstance(gate, Linear) and isinstance(up, Linear)):
        raise KernelError("gate and up must be linears")
    norm = gate.x
    if not isinstance(norm, RmsNorm) or up.x is not norm:
        raise KernelError("gate and up must read one norm")
    return [GateUp(gate, up, norm, gated.activation, layer)], norm


def _next_layer(stream: Node) -> int:
    """The layer that a feed-forward belongs to: that of the attention before it."""
    while isinstance(stream, Add):
        if isinstance(stream.b, Linear) and isinstance(stream.b.x, Attention):
            return stream.b.x.layer
        stream = stream.a
    return 0
