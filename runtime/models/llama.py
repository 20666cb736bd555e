"""Llama (Touvron et al. 2023) and its descendants: pre-norm, RoPE, grouped-query attention, SwiGLU."""

from collections.abc import Container
from dataclasses import dataclass

from ..errors import UnknownArchitecture
from ..graph import Graph, Node, Rope
from .decoder import DecoderConfig, Fields, decoder_sizes
from .rope import rope


@dataclass(frozen=True)
class LlamaConfig(DecoderConfig):
    rope: Rope
    attention_bias: bool = False  # on Q, K and V
    output_bias: bool = False  # on the attention's output projection
    mlp_bias: bool = False
    tied_output: bool = False
    sliding_window: int | None = None


def config(fields: Fields, tensors: Container[str]) -> LlamaConfig:
    """Read and check the hyperparameters; what a file says by having a tensor is read off `tensors`."""
    if fields.values.get("n_experts"):
        raise UnknownArchitecture(
            f"{fields.file} holds a mixture of {fields.values['n_experts']!s:.80} experts, which is not supported yet."
        )
    sizes = decoder_sizes(fields)
    return LlamaConfig(
        **sizes,  # type: ignore[arg-type]
        rope=rope(fields, int(sizes["head_dim"])),
        attention_bias="blk.0.attn_q.bias" in tensors,
        output_bias="blk.0.attn_output.bias" in tensors,
        mlp_bias="blk.0.ffn_up.bias" in tensors,
        tied_output="output.weight" not in tensors,
        sliding_window=fields.integer("sliding_window") if "sliding_window" in fields.values else None,
    )


def build(g: Graph, c: LlamaConfig) -> Node:
    """Logits of one step, [rows, vocab]. q [rows, n_heads * head_dim]; k, v [rows, n_kv_heads * head_dim]."""
    x = g.embed("token_embd.weight", vocab_size=c.vocab_size, width=c.hidden_size)
    for i in range(c.n_layers):
        x = g.add(x, attention(g, c, i, g.rms_norm(x, f"blk.{i}.attn_norm.weight", c.norm_eps)))
        x = g.add(x, swiglu(g, c, i, g.rms_norm(x, f"blk.{i}.ffn_norm.weight", c.norm_eps)))
    x = g.rms_norm(x, "output_norm.weight", c.norm_eps)
    return g.linear(x, "token_embd.weight" if c.tied_output else "output.weight", c.vocab_size)


def attention(g: Graph, c: LlamaConfig, layer: int, x: Node) -> Node:
    def project(name: str, n_heads: int) -> Node:
        bias = f"blk.{layer}.{name}.bias" if c.attention_bias else None
        return g.linear(x, f"blk.{layer}.{name}.weight", n_heads * c.head_dim, bias)

    y = g.attention(
        project("attn_q", c.n_heads),
        project("attn_k", c.n_kv_heads),
        project("attn_v", c.n_kv_heads),
        layer=layer,
        n_heads=c.n_heads,
        n_kv_heads=c.n_kv_heads,
        head_dim=c.head_dim,
        scale=c.head_dim**-0.5,
        rope=c.rope,
        window=c.sliding_window,
    )
    bias = f"blk.{layer}.attn_output.bias" if c.output_bias else None
    return g.linear(y, f"blk.{layer}.attn_output.weight", c.hidden_size, bias)


def swiglu(g: Graph, c: LlamaConfig, layer: int, x: Node) -> Node:
    def linear(x: Node, name: str, width: int) -> Node:
        bias = f"blk.{layer}.{name}.bias" if c.mlp_bias else None
        return g.linear(x, f"blk.{layer}.{name}.weight", width, bias)

    gate = linear(x, "ffn_gate", c.intermediate_size)
    up = linear(x, "ffn_up", c.intermediate_size)
    return linear(g.gated(gate, up, "silu"), "ffn_down", c.hidden_size)
