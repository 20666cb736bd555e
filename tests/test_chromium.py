"""What wgpu lets pass and a browser refuses: our kernels and plans in Chromium's WebGPU (Tint, Dawn, SwiftShader)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Error

from agreement import agree
from byte_sources import wait
from chromium import Chromium, running_chromium
from gguf_writer import write_llama
from gpu import Device
from kernel_variants import kernel_variants, needs_subgroups
from linear_kernels import embedded
from llama_of_blocks import MIXES, ROOM_FOR_A_MIX, write_llama_of_blocks
from random_llama import VARIANTS, random_llama
from recording_gpu import RecordingGpu
from shaderlm.engine.decode import Decoder
from shaderlm.engine.engine import Engine
from shaderlm.engine.prefill import prefill_and_sample, prefill_logits
from shaderlm.engine.programs import LoadedPlan
from shaderlm.engine.results import StepResult, read_results
from shaderlm.engine.sequence import SamplingState, Sequence
from shaderlm.formats import read_checkpoint
from shaderlm.host import Adapter, AdapterKind, BoundBuffer
from shaderlm.hosts.native.adapters import choose, find_adapters
from shaderlm.hosts.native.files import FileSource
from shaderlm.hosts.native.gpu import GUARANTEED_LIMITS, NativeGpu
from shaderlm.planner.choice import KvDtype
from shaderlm.planner.compose import Kernel, parse
from shaderlm.tensors import BF16, F16, F32, WEIGHT_TYPES
from tiny_model import TINY, golden_logits
from weight_blocks import random_blocks

TOLERANCE = 1e-4  # of the largest logit
ALL_OPTIONS = SamplingState(
    seed=11,
    top_k=40,
    temperature=0.9,
    top_p=0.95,
    min_p=0.02,
    repeat_penalty=1.2,
    frequency_penalty=0.1,
    presence_penalty=0.1,
    repeat_last_n=64,
    logit_bias={7: 0.5, 300: -1.0},
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> Iterator[RecordingGpu]:
    """Records what is asked of it, and says that it has the guaranteed limits and no feature; of the kind asked for."""
    found = choose(find_adapters())
    native = NativeGpu(found.handle, found.facts, guaranteed_limits_only=True)
    kind: AdapterKind = getattr(request, "param", "discrete")
    recording = RecordingGpu(native, Adapter("the least of devices", kind, "WebGPU", limits=GUARANTEED_LIMITS))
    yield recording
    recording.close()


# Kernels


def complaints(chromium: Chromium, kernels: Mapping[str, Kernel], *, pipelines: bool = False) -> list[str]:
    """What Chromium says against kernels; with `pipelines` each is made ready to run."""
    sources = [
        {
            "label": name,
            "code": kernel.source.code,
            "bindings": kernel.source.bindings,
            "features": ["subgroups"] if needs_subgroups(kernel) else [],
        }
        for name, kernel in kernels.items()
    ]
    files = {"kernels.json": json.dumps(sources).encode()}
    said: list[str] = chromium.evaluate(f"compile('kernels.json', {json.dumps(pipelines)})", files)
    return said


def test_every_kernel_variant_compiles_in_chromium(chromium: Chromium) -> None:
    said = complaints(chromium, kernel_variants("enable subgroups;\n"))
    assert not said, f"{len(said)} kernels are refused:\n" + "\n".join(said[:5])


@pytest.mark.slow
def test_every_kernel_variant_becomes_a_pipeline_in_chromium(chromium: Chromium) -> None:
    said = complaints(chromium, kernel_variants("enable subgroups;\n"), pipelines=True)
    assert not said, f"{len(said)} kernels are refused:\n" + "\n".join(said[:5])


def test_what_chromium_says_against_a_kernel_is_heard(chromium: Chromium) -> None:
    barrier = """
        @group(0) @binding(0) var<storage, read_write> y: array<u32>;
        @compute @workgroup_size(32) fn main(@builtin(local_invocation_index) lane: u32) {
            if (y[lane] > 0u) { workgroupBarrier(); }
        }
    """
    (said,) = complaints(chromium, {"barrier": parse(barrier, "barrier")})
    assert ":4:33 error: 'workgroupBarrier' must only be called from uniform control flow" in said


# Plans


@dataclass(frozen=True)
class Step:
    """Which of a recording's reads hold a step's logits, f32 [rows, vocab], and its results."""

    name: str
    rows: int
    logits: int
    results: int | None = None
    outputs: int = 1
    n_top: int = 0

    def read_logits(self, reads: list[bytes]) -> NDArray[np.float32]:
        return np.frombuffer(reads[self.logits], np.float32).reshape(self.rows, -1)

    def read_results(self, reads: list[bytes]) -> list[StepResult]:
        if self.results is None:
            return []
        return read_results(reads[self.results], self.rows, self.outputs, self.n_top)


class Recorder:
    """An engine on a RecordingGpu, and the steps that it was taken through."""

    def __init__(self, gpu: RecordingGpu, engine: Engine) -> None:
        self.gpu = gpu
        self.engine = engine
        self.steps: list[Step] = []

    def open(self, tokens: list[int], state: SamplingState) -> Sequence:
        sequence = self.engine.open_sequence()
        self.engine.set_tokens(sequence, tokens)
        self.engine.set_sampling(sequence, state)
        return sequence

    async def prefill(self, name: str, sequence: Sequence) -> None:
        await prefill_and_sample(self.engine, sequence)
        plan = await self.engine.plan("prefill", self.engine.deployment.choice.prefill_rows)
        await self._keep(name, plan, 1, 0)

    async def decode(self, name: str, sequences: list[Sequence], *, steps: int = 1, n_top: int = 0) -> None:
        decoder = await Decoder.open(self.engine, sequences)
        for i in range(steps):
            await decoder.read(decoder.submit(n_top=n_top))
            await self._keep(f"{name} {i}", decoder.plan, len(sequences), n_top)

    async def logits(self, name: str, sequence: Sequence) -> None:
        async for data in prefill_logits(self.engine, sequence):
            rows = len(data) // 4 // self.engine.vocabulary.size
            self.steps.append(Step(name, rows, len(self.gpu.reads) - 1))

    async def _keep(self, name: str, plan: LoadedPlan, rows: int, n_top: int) -> None:
        results = len(self.gpu.reads) - 1
        place = plan.bound(plan.plan.logits)
        await self.gpu.read_buffer(place.buffer, place.offset, 4 * rows * plan.plan.vocab_size)
        self.steps.append(Step(name, rows, results + 1, results, plan.plan.outputs, n_top))


async def record(gpu: RecordingGpu, kv_dtype: KvDtype) -> list[Step]:
    """Everything that an engine does with a GPU, from a file's weights to drawn tokens."""
    engine = await Engine.load(gpu, await read_checkpoint(FileSource(TINY)), context=512, slots=3, kv_dtype=kv_dtype)
    recorder = Recorder(gpu, engine)
    prompt = golden_logits().prompt_ids
    greedy = recorder.open(prompt, SamplingState())
    await recorder.prefill("prefill", greedy)
    await recorder.decode("decode", [greedy], steps=3)
    long = (prompt * 300)[:255]  # the next step takes the cache beyond its first slab
    drawn = recorder.open(long, ALL_OPTIONS)
    await recorder.prefill("long prefill", drawn)
    await recorder.decode("decode of two rows", [greedy, drawn], steps=3, n_top=4)
    await recorder.logits("logits of every row", recorder.open(prompt, SamplingState()))
    engine.close()
    return recorder.steps


def replay(chromium: Chromium, gpu: RecordingGpu) -> list[bytes]:
    """What Chromium reads back when it does all that `gpu` was asked for. Raises playwright's Error for one of its."""
    files = {"calls.json": gpu.recording, "bytes.bin": bytes(gpu.bytes)}
    words = chromium.evaluate("replay('calls.json', 'bytes.bin')", files)
    return [np.array(read, np.uint32).tobytes() for read in words]


@pytest.mark.parametrize(("gpu", "kv_dtype"), [("discrete", "f32"), ("software", "f16")], indirect=["gpu"])
def test_plans_for_the_least_of_devices_give_the_same_logits_in_chromium(
    chromium: Chromium, gpu: RecordingGpu, kv_dtype: KvDtype
) -> None:
    steps = wait(record(gpu, kv_dtype))
    replayed = replay(chromium, gpu)
    for step in steps:
        expected = step.read_logits(gpu.reads)
        tolerance = TOLERANCE * float(np.abs(expected).max())
        print(step.name)  # shown where it fails
        agree(step.read_logits(replayed), expected, abs=tolerance)
        for actual, wanted in zip(step.read_results(replayed), step.read_results(gpu.reads), strict=True):
            assert (actual.token, actual.position, actual.ended) == (wanted.token, wanted.position, wanted.ended)
            assert [token for token, _ in actual.top] == [token for token, _ in wanted.top]
            agree(logprobs(actual), logprobs(wanted), abs=tolerance)


def test_weights_are_laid_out_in_chromium_as_they_are_natively(
    chromium: Chromium, gpu: RecordingGpu, tmp_path: Path
) -> None:
    """Each type, and rows that must be filled up to whole groups."""

    async def lay_out(file: Path) -> None:
        engine = await Engine.load(gpu, await read_checkpoint(FileSource(file)), context=64)
        for weight in engine.weights.values():
            await gpu.read_buffer(weight.buffer, 0, weight.size)
        engine.close()

    for i, types in enumerate(MIXES):
        write_llama_of_blocks(tmp_path / f"{i}.gguf", *types, **ROOM_FOR_A_MIX)
        wait(lay_out(tmp_path / f"{i}.gguf"))
    for weight_type in (F32, F16, BF16):
        hyperparameters, weights = random_llama(3, **VARIANTS["odd-sizes"])
        wait(lay_out(write_llama(tmp_path / f"{weight_type}.gguf", weights, hyperparameters, weight_type.name)))
    pairs = zip(replay(chromium, gpu), gpu.reads, strict=True)
    assert [i for i, (actual, expected) in enumerate(pairs) if actual != expected] == []


def test_random_bits_are_decoded_in_chromium_to_the_bit(chromium: Chromium, gpu: RecordingGpu) -> None:
    """By every type, denormal f16 scales too; a denormal f32 may count as zero, as it does for SwiftShader.

    What is natively decoded was held against the `gguf` package.
    """
    device = Device(gpu)
    expected, places = [], []
    for weight_type in WEIGHT_TYPES.values():
        first = len(gpu.reads)
        expected.append(embedded(device, random_blocks(weight_type, 8, 4 * max(32, weight_type.block))))
        (place, *_) = (i for i in range(first, len(gpu.reads)) if gpu.reads[i].startswith(expected[-1].tobytes()))
        places.append(place)
    replayed = replay(chromium, gpu)
    for weight_type, values, place in zip(WEIGHT_TYPES, expected, places, strict=True):
        actual = np.frombuffer(replayed[place][: values.nbytes], np.float32).reshape(values.shape)
        normal = np.abs(values) >= np.finfo(np.float32).tiny
        np.testing.assert_array_equal(actual[normal], values[normal], err_msg=weight_type)
        agree(actual, values, abs=float(np.finfo(np.float32).tiny))


def logprobs(result: StepResult) -> list[float]:
    return [result.log_probability, *(logprob for _, logprob in result.top)]


def test_what_wgpu_lets_pass_and_chromium_refuses_is_heard(chromium: Chromium, gpu: RecordingGpu) -> None:
    """Two ranges that are written to overlap."""
    code = """
        @group(0) @binding(0) var<storage, read_write> a: array<u32>;
        @group(0) @binding(1) var<storage, read_write> b: array<u32>;
        @compute @workgroup_size(1) fn main() { a[0] = 1u; b[1] = 2u; }
    """
    [pipeline] = wait(gpu.create_pipelines([parse(code, "overlap").source]))
    buffer = gpu.create_buffer("both", 512)
    group = gpu.create_bind_group(pipeline, [BoundBuffer(buffer, 0, 512), BoundBuffer(buffer, 256, 256)])
    gpu.submit(gpu.freeze([pipeline], [group]), [1, 1, 1])
    with pytest.raises(Error, match=r"call 4, submit: .*alias"):
        replay(chromium, gpu)
