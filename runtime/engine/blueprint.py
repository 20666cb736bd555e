"""A model before it is on a device: what its file says, its operations, and what they will need of a device."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import InvalidConfig, InvalidOption, ModelTooLarge, UnknownWeightType
from ..formats.checkpoint import Checkpoint
from ..formats.matching import check_weights
from ..graph import Graph
from ..host import Adapter, KernelSource
from ..models import architecture
from ..models.decoder import DecoderConfig, Fields
from ..planner.buffers import shared_activations
from ..planner.capability import check_capability
from ..planner.choice import DECODE_ROWS, INT8, Arithmetic, Deployment, KvDtype, choose_kernels, longest_context
from ..planner.fuse import Attend, FusedOp, fuse
from ..planner.lower import Mode, lower
from ..planner.memory import MemoryEstimate, binding_limit, estimate, fitting_context
from ..planner.plan import Plan, WeightSpec
from ..planner.tuned import Tuned
from ..planner.weights import weight_specs
from ..tensors import WeightType
from .kv_cache import LayerShape


@dataclass(frozen=True)
class Blueprint:
    """Nothing here has touched a device, so a report can be made of a model that no device here could run."""

    checkpoint: Checkpoint
    config: DecoderConfig
    ops: tuple[FusedOp, ...]
    types: Mapping[str, WeightType]
    layers: tuple[LayerShape, ...]
    _plans: dict[tuple[Deployment, Mode, int], Plan] = field(default_factory=dict, init=False, repr=False)

    def specs(self, deployment: Deployment) -> Mapping[str, WeightSpec]:
        """Every weight that the model's plans bind, by name. Raises UnknownWeightType."""
        try:
            return weight_specs(self.ops, self.types, self.config.vocab_size, deployment.binding_limit)
        except UnknownWeightType as error:
            raise UnknownWeightType(f"{error} Take another file of the model than {self.checkpoint.name}.") from None

    def deployment(
        self,
        adapter: Adapter,
        context: int,
        *,
        slots: int = 1,
        kv_dtype: KvDtype = "f16",
        arithmetic: Arithmetic = "exact",
        dropped: Collection[str] = (),
        tuned: Sequence[Tuned] = (),
    ) -> Deployment:
        """How the model would run on an adapter with a context of so many positions, without the variants `dropped`."""
        windows = tuple(dict.fromkeys(shape.window for shape in self.layers))
        choice = choose_kernels(adapter, context, dropped, arithmetic, tuned)
        limit = binding_limit(adapter)
        return Deployment(choice, context, slots, kv_dtype, windows, adapter.prologue, limit)

    def fitting(
        self,
        adapter: Adapter,
        available: int | None,
        *,
        context: int | None = None,
        slots: int = 1,
        kv_dtype: KvDtype = "f16",
        arithmetic: Arithmetic = "exact",
        dropped: Collection[str] = (),
        tuned: Sequence[Tuned] = (),
    ) -> Deployment:
        """With `context`, or where that is None with the model's own, halved until it fits.

        `available` are the bytes that may be taken, None where nobody knows. Raises ModelTooLarge, InvalidOption.
        """
        if context is not None and context < 2:
            raise InvalidOption(f"context is {context}, but must be at least 2.")

        def deployed(positions: int) -> Deployment:
            return self.deployment(
                adapter,
                positions,
                slots=slots,
                kv_dtype=kv_dtype,
                arithmetic=arithmetic,
                dropped=dropped,
                tuned=tuned,
            )

        def memory_at(positions: int) -> MemoryEstimate:
            return self.memory(deployed(positions))

        most = longest_context(adapter, self.config.head_dim)
        if context is not None and context > most:
            raise ModelTooLarge(
                f"{self.checkpoint.name} cannot have a context of {context:,} on {adapter.name}: behind position "
                f"{most:,} a software adapter may end the loops of attention early. A context of {most:,} works: "
                f"load(..., context={most})."
            )
        wanted = context or min(self.config.context_length, most)
        fits = fitting_context(memory_at, wanted, adapter, available, self.checkpoint.name, shrink=context is None)
        return deployed(fits)

    def memory(self, deployment: Deployment) -> MemoryEstimate:
        """What the model takes when its whole context is in use."""
        return estimate(self.specs(deployment).values(), self.layers, self._answering_plans(deployment), deployment)

    def arithmetic(self, deployment: Deployment) -> Arithmetic:
        """What prompts are computed by: fast only where some kernel rounds."""
        prefill = self.plan(deployment, "prefill", deployment.choice.prefill_rows)
        label = INT8.removesuffix(".wgsl")
        rounds = any(dispatch.kernel.source.label.startswith(label) for dispatch in prefill.dispatches)
        return "fast" if rounds else "exact"

    def check_adapter(self, deployment: Deployment, adapter: Adapter) -> None:
        """Raise UnsuitableAdapter, naming a tensor and its type, where kernels need more than the adapter has."""
        check_capability(self._answering_plans(deployment), self.specs(deployment), adapter)

    def kernels(self, deployment: Deployment) -> list[KernelSource]:
        """What the plans need that answers are made with, each once."""
        plans = self._answering_plans(deployment)
        return list(dict.fromkeys(dispatch.kernel.source for plan in plans for dispatch in plan.dispatches))

    def activations(self, deployment: Deployment) -> dict[str, int]:
        """Bytes of the buffers that those plans have in common: one runs at a time, and leaves nothing for the next."""
        return shared_activations(plan.sizes for plan in self._answering_plans(deployment))

    def _answering_plans(self, deployment: Deployment) -> list[Plan]:
        """Those that answers are made with."""
        rows = [rows for rows in DECODE_ROWS if rows < 2 * deployment.slots]
        decode = [self.plan(deployment, "decode", n) for n in rows]
        return [self.plan(deployment, "prefill", deployment.choice.prefill_rows), *decode]

    def plan(self, deployment: Deployment, mode: Mode, rows: int) -> Plan:
        """The plan of a step, made once: the estimate and the engine want the same ones."""
        key = deployment, mode, rows
        if key not in self._plans:
            self._plans[key] = lower(self.ops, self.types, deployment, mode, rows)
        return self._plans[key]


def blueprint(checkpoint: Checkpoint) -> Blueprint:
    """Read hyperparameters, build the graph, hold it against the tensors.

    Raises UnknownArchitecture, InvalidConfig, TensorMismatch, UnknownWeightType.
    """
    model = architecture(checkpoint.architecture, checkpoint.name)
    config = model.config(Fields(checkpoint.hyperparameters, checkpoint.name), checkpoint.tensors)
    tokenizer = checkpoint.tokenizer
    if tokenizer is not None and len(tokenizer.tokens) > config.vocab_size:
        raise InvalidConfig(
            f"{checkpoint.name} has {len(tokenizer.tokens):,} tokens, but {config.vocab_size:,} rows of embedding."
        )
    if config.n_layers > len(checkpoint.tensors):  # before a graph is built of them
        raise InvalidConfig(
            f"{checkpoint.name} says that it has {config.n_layers:,} layers, but it holds {len(checkpoint.tensors):,} "
            "tensors. It is a vocabulary alone, or broken: download the whole model."
        )
    graph = Graph(scales=checkpoint.weight_scales)
    root = model.build(graph, config)
    check_weights(checkpoint, graph.weights)
    ops = tuple(fuse(root))
    attentions = [op.attention for op in ops if isinstance(op, Attend)]
    layers = tuple(LayerShape(a.layer, a.window, a.n_kv_heads, a.head_dim) for a in attentions)
    return Blueprint(checkpoint, config, ops, {name: t.type for name, t in checkpoint.tensors.items()}, layers)
