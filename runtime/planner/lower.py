"""From fused operations to dispatches: kernels, bindings, uniforms, and where activations lie."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

from ..graph import Attention
from .assembly import Assembly, Groups, UniformValues
from .choice import PAGE, Deployment, LinearKernel
from .compose import Value, composed
from .fuse import AddProjection, Attend, EmbedRows, FusedOp, GateUp, MakeLogits, ProjectQkv
from .lower_sampling import MAX_TOP, Rows, sampling_stages
from .plan import EVERY_ROW, ONE, Extent, Plan
from .rope_turns import rope_uniform
from .shares import head_shares, shares
from .vocabulary import VocabularyLayout
from .weights import (
    Parts,
    Types,
    codebook_uniform,
    gate_up,
    linear_shape,
    linear_uniform,
    plane_starts,
    qkv,
    single,
    table,
)
from .work import NO_WORK, Work

Mode = Literal["decode", "prefill", "logits"]

QUERIES = tuple(f"queries/{number}.wgsl" for number in ("one", "two", "three", "four"))  # that attention makes at once


def lower(ops: Sequence[FusedOp], types: Types, deployment: Deployment, mode: Mode, rows: int) -> Plan:
    """A plan for `rows` rows: "decode" samples from each, "prefill" from one, "logits" keeps the logits of all."""
    return _Lowering(types, deployment, mode, rows).plan(ops)


class _Lowering:
    def __init__(self, types: Types, deployment: Deployment, mode: Mode, rows: int) -> None:
        self.types = types
        self.d = deployment
        self.mode = mode
        self.rows = rows
        self.outputs = 1 if mode == "prefill" else rows
        self.assembly = Assembly()
        self.composed = cache(composed)  # layers are alike, and dispatches are hundreds
        self.n_blocks = 0  # entries of the logits' statistics, a row
        self.n_parts = 1  # partial sums of squares that the last writer of the residual left, a row
        self.vocab_size = 0
        self.block_tokens = 1  # logits that an entry of their statistics stands for

    def plan(self, ops: Sequence[FusedOp]) -> Plan:
        self.vocab_size = next(op.linear.width for op in ops if isinstance(op, MakeLogits))
        for op in ops:
            self.lower_op(op)
        dispatches, places, sizes = self.assembly.place(frozenset({"logits"}))
        own = {"rows": 16 * self.rows, "results": (16 + 8 * MAX_TOP) * self.outputs}
        return Plan(
            self.rows,
            self.outputs,
            dispatches,
            sizes | own,
            bytes(self.assembly.uniforms),
            places["logits"],
            places["residual"],
            self.vocab_size,
        )

    # Operations

    def lower_op(self, op: FusedOp) -> None:
        match op:
            case EmbedRows():
                self.embed(op)
            case ProjectQkv():
                self.project_qkv(op)
            case Attend():
                self.attend(op)
            case AddProjection():
                self.add_projection(op)
            case GateUp():
                self.gate_up(op)
            case MakeLogits():
                self.make_logits(op)
                if self.mode != "logits":
                    self.sample()

    def embed(self, op: EmbedRows) -> None:
        width = op.next_norm.x.width
        bound = {
            "rows": "rows",
            "tokens": "tokens",
            "residual": self.value("residual", width),
            "normed": self.linear_input("normed", width),
            "sums": self.value("sums", 1),
            "gain": f"weight:{op.next_norm.weight}",
        }
        for part in table(op.weight, self.vocab_size, width, self.types, self.d.binding_limit):
            uniform = {
                "planes": plane_starts(part),
                "groups": part.groups,
                "width": width,
                "stride": _padded(width),
                "context": self.d.context,
                "vocab": self.vocab_size,
                "first_token": part.first_row,
                "end_token": part.first_row + part.n_rows,
            }
            self.dispatch(
                "embed",
                "embed.wgsl",
                {"quant": part.type.shader},
                {},
                {"W": f"weight:{part.name}", **bound},
                {"table": uniform},
                (EVERY_ROW, ONE, ONE),
                work=Work(width / self.d.choice.linear_rate),
            )
        self.n_parts = 1

    def project_qkv(self, op: ProjectQkv) -> None:
        a = op.attention
        for parts in qkv(op, self.types, self.d.binding_limit):
            heads = {
                "q_pairs": op.q.width // 2 if op.q.weight in parts[0].tensors else 0,
                "k_pairs": op.k.width // 2 if op.k.weight in parts[0].tensors else 0,
                "head_dim": a.head_dim,
                "n_heads": a.n_heads,
                "n_kv_heads": a.n_kv_heads,
                "max_pages": self.d.max_pages,
                "page_table": self.d.page_table(a.window),
            }
            self.linear(
                "qkv",
                parts,
                "normed",
                "qkv",
                {
                    "q": self.value("q", a.n_heads * a.head_dim),
                    "kv": f"kv:{a.layer}",
                    "rows": "rows",
                    "pages": "pages",
                },
                {"heads": heads, "rope": rope_uniform(a.rope)},
                layer=a.layer,
                norm=self.norm(op.norm.x.width, op.norm.eps),
                parameters={"PAGE": PAGE, "INTERLEAVED": a.rope is None or a.rope.interleaved},
            )

    def attend(self, op: Attend) -> None:
        a = op.attention
        heads = {
            "n_heads": a.n_heads,
            "n_kv_heads": a.n_kv_heads,
            "max_pages": self.d.max_pages,
            "page_table": self.d.page_table(a.window),
            "window": a.window if a.window is not None else 0xFFFFFFFF,
            "scale": a.scale,
        }
        bound = {"q": "q", "kv": f"kv:{a.layer}", "rows": "rows", "pages": "pages"}
        if self.mode == "decode":
            self.attend_few_rows(a, heads, bound)
        else:
            self.attend_many_rows(a, heads, bound)

    def attend_many_rows(self, a: Attention, heads: Mapping[str, object], bound: Mapping[str, str]) -> None:
        width = a.n_heads * a.head_dim
        four = self.d.choice.broadcasts_attention(a.head_dim)
        file, includes, parameters = self.attention_kernel("prefill", a, four)
        rows = 4 if four else 1  # that a workgroup makes
        y = {"y": self.linear_input("attended", width)}
        work = Work(per_key=rows * 2 * a.head_dim / self.d.choice.attention_rate, window=a.window)
        for first, extent in head_shares(a.n_heads, -(-self.rows // rows), work, self.d.context):
            self.dispatch(
                "attention",
                file,
                includes,
                parameters,
                {**bound, **y},
                {"heads": {**heads, "stride": _padded(width) // 2, "first_head": first}},
                (extent, Extent(rows_per_group=rows), ONE),
                a.layer,
                work,
            )

    def attend_few_rows(self, a: Attention, heads: Mapping[str, object], bound: Mapping[str, str]) -> None:
        four = self.d.choice.broadcasts_attention(a.head_dim)
        file, includes, parameters = self.attention_kernel("decode", a, four)
        max_splits = -(-self.d.context // self.d.choice.split)
        size = a.n_heads * max_splits * (a.head_dim + 2)
        groups = a.n_kv_heads * _tiles_of_heads(a) if four else a.n_heads
        width = a.n_heads * a.head_dim
        y = {"y": self.linear_input("attended", width)}
        stride = {"stride": _padded(width) // 2}
        self.dispatch(
            "attention",
            file,
            includes,
            parameters,
            {**bound, "parts": self.value("attention_parts", size), **y},
            {"heads": {**heads, **stride, "max_splits": max_splits}},
            (Extent(groups), Extent(keys_per_group=self.d.choice.split), EVERY_ROW),
            a.layer,
        )
        joined = {"n_heads": a.n_heads, "max_splits": max_splits, "window": heads["window"], **stride}
        self.dispatch(
            "combine",
            "attention_combine.wgsl",
            {},
            {"HEAD_DIM": a.head_dim, "SPLIT": self.d.choice.split, "WORKGROUP": self.d.choice.attention_workgroup},
            {"parts": "attention_parts", "rows": "rows", **y},
            {"heads": joined},
            (Extent(a.n_heads, above_keys=self.d.choice.split), EVERY_ROW, ONE),
            a.layer,
        )

    def attention_kernel(self, mode: str, a: Attention, four: bool) -> tuple[str, dict[str, str], dict[str, Value]]:
        """The file, its includes and its parameters."""
        choice = self.d.choice
        includes = {"kv": f"kv/{self.d.kv_dtype}.wgsl"}
        parameters: dict[str, Value] = {"HEAD_DIM": a.head_dim, "PAGE": PAGE}
        if mode == "decode" or not four:  # which goes by blocks, not by splits, in prefill
            parameters["SPLIT"] = choice.split
        if not four:
            return f"attention_{mode}.wgsl", includes, parameters | {"WORKGROUP": choice.attention_workgroup}
        if mode == "decode":
            sharing = a.n_heads // a.n_kv_heads
            includes["queries"] = QUERIES[-(-sharing // _tiles_of_heads(a)) - 1]
        return f"attention_{mode}_broadcast.wgsl", includes, parameters | {"SUBGROUP": choice.attention_subgroup}

    def add_projection(self, op: AddProjection) -> None:
        width = op.linear.width
        source = "attended" if isinstance(op.linear.x, Attention) else "gated"
        self.n_parts = self.linear(
            "project",
            single(op.linear, self.types, self.d.binding_limit),
            source,
            "residual",
            {
                "residual": "residual",
                "normed": "normed",
                "sums": "sums",
                "gain": f"weight:{op.next_norm.weight}",
            },
            {"out": {"width": width, "stride": _padded(width)}},
            layer=op.layer,
        )
        self.value("sums", self.n_parts)

    def gate_up(self, op: GateUp) -> None:
        norm = self.norm(op.norm.x.width, op.norm.eps)
        width = op.gate.width
        out = {"out": {"width": width, "stride": _padded(width)}}
        y = {"y": self.linear_input("gated", width)}
        weights = gate_up(op, self.types, self.d.binding_limit)
        epilogues = ("gated",) if len(weights) == 1 else ("plain", "up")
        for parts, epilogue in zip(weights, epilogues, strict=True):
            self.linear(epilogue, parts, "normed", epilogue, y, out, layer=op.layer, norm=norm)

    def make_logits(self, op: MakeLogits) -> None:
        vocabulary = VocabularyLayout(self.vocab_size)
        parts = single(op.linear, self.types, self.d.binding_limit)
        self.block_tokens = 2 * self.kernel(parts, selected=True).pairs
        self.n_blocks = self.linear(
            "logits",
            parts,
            "normed",
            "logits",
            {
                "rows": "rows",
                "logits": self.output("logits", self.vocab_size),
                "stats": self.output("stats", 4 * -(-self.vocab_size // self.block_tokens)),
                "vocabulary": "vocabulary",
                "sequences": "sequences",
            },
            {
                "vocab": {
                    "size": self.vocab_size,
                    "mask_words": vocabulary.mask_words,
                    "slot_words": vocabulary.slot_words,
                }
            },
            norm=self.norm(op.norm.x.width, op.norm.eps),
            selected=True,
        )

    def sample(self) -> None:
        rows = Rows(self.outputs, self.vocab_size, self.n_blocks, self.block_tokens, self.d.context)
        self.assembly.value("survey", rows.survey_bytes)
        for stage in sampling_stages(rows, self.d.choice.sampling_workgroup):
            bound = {name: name for name in stage.bound}
            self.dispatch(stage.label, stage.file, {}, stage.parameters, bound, {"vocab": stage.vocab}, stage.groups)

    # Linears

    def kernel(self, parts: Parts, *, selected: bool) -> LinearKernel:
        """What computes a linear; of a prefill's rows only a `selected` one goes on to logits."""
        if self.mode == "decode" or (selected and self.mode == "prefill"):
            return self.d.choice.few_rows(self.outputs, linear_shape("decode", parts))
        return self.d.choice.many_rows(parts[0].type, linear_shape("prefill", parts))

    def linear(
        self,
        label: str,
        parts: Parts,
        x: str,
        epilogue: str,
        bound: Mapping[str, str],
        uniforms: Mapping[str, Mapping[str, object]],
        *,
        layer: int | None = None,
        norm: Mapping[str, object] | None = None,
        selected: bool = False,
        parameters: Mapping[str, Value] | None = None,
    ) -> int:
        """A linear with its epilogue, in a dispatch for each part and in several where one is assumed to take too long.

        Returns the workgroups along the weight's rows.
        """
        kernel = self.kernel(parts, selected=selected)
        includes = {
            "quant": parts[0].type.shader,
            "input": "input/" + ("selected" if selected else "normed" if norm else "plain") + ".wgsl",
            "epilogue": f"epilogue/{epilogue}.wgsl",
            "kv": f"kv/{self.d.kv_dtype}.wgsl",
        }
        all_bound = {"x": x, **bound}
        all_uniforms: dict[str, UniformValues] = dict(uniforms)
        if norm is not None:
            all_bound["parts"] = "sums"
            all_uniforms["norm"] = norm
        if parts[0].type.codebook:
            includes["codebook"] = kernel.codebook
            all_uniforms["codebook"] = codebook_uniform(parts[0].type)
        tiles = Extent(rows_per_group=kernel.rows)
        work = Work(2 * kernel.pairs * kernel.rows * 32 * parts[0].groups / self.d.choice.linear_rate)
        given = {**kernel.parameters, **(parameters or {})}
        all_pairs = sum(-(-part.n_rows // 2) for part in parts)
        first_pair = 0
        for part in parts:
            its = {"W": f"weight:{part.name}", **all_bound}
            groups = -(-part.n_rows // (2 * kernel.pairs))
            cuts = shares(groups, tiles.count(self.rows, 1) * work.fixed) if kernel.rows else [(0, groups)]
            for first, count in cuts:
                all_uniforms["linear"] = linear_uniform(part, first_pair, all_pairs, first_pair // kernel.pairs + first)
                extents = (Extent(count), tiles, ONE)
                self.dispatch(label, kernel.file, includes, given, its, all_uniforms, extents, layer, work)
            first_pair += -(-part.n_rows // 2)
        return -(-all_pairs // kernel.pairs)

    def norm(self, width: int, eps: float) -> dict[str, object]:
        return {"n_parts": self.n_parts, "width": width, "eps": eps}

    # Values and dispatches

    def value(self, name: str, width: int) -> str:
        """An activation of `width` f32 a row."""
        return self.assembly.value(name, 4 * width * self.rows)

    def linear_input(self, name: str, width: int) -> str:
        """An activation that a linear reads: rows are filled up to groups of 32.

        What fills them is multiplied by zero weights and written by no kernel. It stays the zeros that the buffer was
        made of, because a NaN left there by another value would reach every sum.
        """
        if width % 32:
            self.assembly.unshared.add(name)
        return self.value(name, _padded(width))

    def output(self, name: str, width: int) -> str:
        """A value of `width` f32 per row of logits."""
        return self.assembly.value(name, 4 * width * self.outputs)

    def dispatch(
        self,
        label: str,
        file: str,
        includes: Mapping[str, str],
        parameters: Mapping[str, Value],
        bound: Mapping[str, str],
        uniforms: Mapping[str, UniformValues],
        groups: Groups,
        layer: int | None = None,
        work: Work = NO_WORK,
    ) -> None:
        prologue = self.d.prologue if file.endswith("_broadcast.wgsl") else ""
        kernel = self.composed(file, tuple(includes.items()), tuple(parameters.items()), prologue)
        self.assembly.dispatch(label, kernel, bound, uniforms, groups, layer, work)


def _tiles_of_heads(a: Attention) -> int:
    """Workgroups for the heads that share keys and values: each makes up to four."""
    return -(-a.n_heads // a.n_kv_heads // len(QUERIES))


def _padded(width: int) -> int:
    return -(-width // 32) * 32
