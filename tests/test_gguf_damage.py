"""GGUF files with anything wrong with them: a clear error or a model that answers, soon, in little memory."""

import gc
import json
import math
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pytest
from gguf import GGUFValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gguf_damage as damage
from byte_sources import BytesSource
from engines import living
from gguf_damage import Damage, damaged, numbers
from gguf_documents import MODELS, SMALL, in_two
from gguf_writer import LLAMA_KEYS, Typed
from gpu import Device
from plans import GPU
from shaderlm.cli.inspect import particulars
from shaderlm.core import Core, load_core, make_tokenizer
from shaderlm.engine.blueprint import blueprint
from shaderlm.errors import ShaderLMError
from shaderlm.formats import read_checkpoint
from shaderlm.formats.gguf_arrays import MetadataArray
from shaderlm.generation import Completion
from shaderlm.host import Gpu
from shaderlm.hosts.native import host as native
from shaderlm.hosts.native.thread import run_now
from shaderlm.inspection import inspect_source
from shaderlm.parts import JoinedSource
from tiny_model import TINY

WIDE = replace(GPU, limits={"max-storage-buffer-binding-size": 1 << 30, "max-buffer-size": 1 << 30})

# What a header may say

ARRAY, U64, F64 = GGUFValueType.ARRAY, GGUFValueType.UINT64, GGUFValueType.FLOAT64
EDGES = [0, 1, 2, 3, 4, 9, 12, 31, 32, 33, 255, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40]
EDGES += [2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1]
COUNTS = st.sampled_from(EDGES) | st.integers(0, 64)
PLACES = st.integers(0, 2**11) | st.integers(0, 2**20)
SOME_BYTES = st.binary(min_size=1, max_size=24)
TEXTS = st.text(max_size=6) | st.sampled_from(["", "a" * 5000, "\x1b[2J", "\n", "\0", "yarn", "linear", "none", "gpt2"])

FLOATS = st.floats(width=32) | st.sampled_from([1e-40, 3e38])
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.integers(-(2**31), 2**32 - 1),
    st.sampled_from([0, 1, 2, 7, 64, 4096, 2**31 - 1, 2**31, 2**32 - 1]),
    FLOATS,
    TEXTS,
    st.sampled_from([b"\xff", b"a\x80"]),
    st.builds(Typed, st.just(U64), st.sampled_from(EDGES)),
    st.builds(Typed, st.just(F64), st.floats()),
)
NUMBERS = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5)


def positive(numbers: list[int]) -> list[int]:
    return [abs(number) for number in numbers]


ARRAYS = st.one_of(
    st.builds(Typed, st.just(ARRAY), NUMBERS, st.just(GGUFValueType.INT32)),
    st.builds(Typed, st.just(ARRAY), st.lists(FLOATS, max_size=5), st.just(GGUFValueType.FLOAT32)),
    st.builds(Typed, st.just(ARRAY), st.lists(TEXTS, max_size=5), st.just(GGUFValueType.STRING)),
    st.builds(Typed, st.just(ARRAY), st.lists(NUMBERS.map(positive), max_size=3), st.just(ARRAY)),
)
ANY_VALUES: list[Any] = [
    0,
    1,
    7,
    2**32 - 1,
    -1,
    0.0,
    1e-40,
    3e38,
    math.nan,
    math.inf,
    True,
    False,
    "",
    "yarn",
    "linear",
]
ANY_VALUES += [[], [1, 2], [1.5], ["a"], [[1]], Typed(U64, 2**64 - 1), Typed(F64, 5e-324), "a" * 5000]

HYPERPARAMETERS = [key.format(arch="llama") for key in LLAMA_KEYS.values()]
HYPERPARAMETERS += ["llama.attention.value_length", "llama.rope.scale_linear", "llama.expert_count"]
KEYS = [*HYPERPARAMETERS, "general.architecture", "general.alignment", "split.count"]
KEYS += [name for name, _ in MODELS["words_in_pieces"]().metadata if name.startswith("tokenizer.")]
KEYS += [f"tokenizer.ggml.{name}" for name in ("merges", "eot_token_id", "eom_token_id", "add_eos_token")]
KEYS.remove("tokenizer.ggml.add_sep_token")
SOME_KINDS_KEYS = [
    "tokenizer.ggml.add_sep_token",
    "tokenizer.ggml.precompiled_charsmap",
    "general.name",
    "flags",
    "é" * 9,
]
ANY_KEY = st.sampled_from([*KEYS, *SOME_KINDS_KEYS, ""])
TENSORS = [
    "",
    "output.weight",
    "rope_freqs.weight",
    "blk.1.attn_q.weight",
    "blk.0.attn_q.bias",
    "x" * 5000,
    "\x1b[31m",
]

# What may be wrong with it

SHAPES = st.lists(st.sampled_from([0, 1, 2, 8, 16, 24, 32, 256, *EDGES]), max_size=5).map(tuple)
LINES = st.one_of(
    st.builds(damage.Line, PLACES, st.just("shape"), SHAPES),
    st.builds(damage.Line, PLACES, st.just("type"), st.integers(0, 45) | st.sampled_from([2**31, 2**32 - 1])),
    st.builds(damage.Line, PLACES, st.just("offset"), st.sampled_from([8, 33, 64, 4096, *EDGES])),
    st.builds(damage.Name, PLACES, st.integers(0, 20) | st.sampled_from(TENSORS)),
    st.builds(damage.TensorAgain, PLACES, st.none() | st.sampled_from(TENSORS)),
    st.builds(damage.NoTensor, PLACES),
)
VALUES = st.one_of(
    st.builds(damage.Key, ANY_KEY, st.none() | SCALARS | ARRAYS),
    st.builds(damage.Element, ANY_KEY, PLACES, SCALARS),
    st.builds(damage.KeyAgain, st.integers(0, 40)),
    st.builds(damage.Writing, st.just("version"), COUNTS.map(lambda version: version % 2**32)),
    st.builds(damage.Writing, st.sampled_from(["n_tensors", "n_keys"]), COUNTS),
    st.builds(damage.Writing, st.just("alignment"), st.sampled_from([1, 8, 64])),
)
QUIET_NAN, INFINITY, LARGEST, DENORMAL = b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\x7f\x7f", b"\1\0\0\0"
PATTERNS = st.sampled_from([QUIET_NAN, INFINITY, LARGEST, DENORMAL, b"\0", b"\xff", b"\0\x7c", b"\x01\x00"])
WEIGHTS = st.builds(damage.Contents, st.integers(0, 20), PLACES, PATTERNS | SOME_BYTES)
BYTES = st.one_of(
    st.builds(damage.Number, st.integers(0, 500), COUNTS),
    st.builds(damage.Number, st.integers(0, 500), st.none(), st.sampled_from([-1, 1, -8, 8, 32, -32])),
    st.builds(damage.Flip, PLACES, st.integers(0, 7)),
    st.builds(damage.Overwrite, PLACES, SOME_BYTES),
    st.builds(damage.Insert, PLACES, SOME_BYTES),
    st.builds(damage.CutOut, PLACES, st.integers(1, 64)),
    st.builds(damage.CutOff, PLACES),
    st.builds(damage.Again, PLACES, st.integers(1, 4096), PLACES),
    st.builds(damage.Splice, PLACES, st.sampled_from([*MODELS]), PLACES),
)
WRONG: st.SearchStrategy[list[Damage]] = st.one_of(
    st.lists(VALUES | WEIGHTS, min_size=1, max_size=3),
    st.lists(LINES | WEIGHTS, min_size=1, max_size=3),
    st.lists(BYTES, min_size=1, max_size=3),
    st.lists(VALUES | LINES | BYTES | WEIGHTS, min_size=2, max_size=5),
)


MOSTLY_WHOLE: st.SearchStrategy[list[Damage]] = st.one_of(
    st.lists(WEIGHTS, min_size=1, max_size=4),
    st.lists(WEIGHTS | st.builds(damage.Key, st.sampled_from(HYPERPARAMETERS), SCALARS), min_size=1, max_size=2),
    st.lists(WEIGHTS | VALUES | LINES, min_size=1, max_size=2),
)

BROKEN = ("InvalidFile", "TruncatedFile", "TensorOutOfFile", "UnknownWeightType")
QUIET = pytest.mark.filterwarnings("ignore:The file names no pre-tokenizer")
TEXT = "the in\n\n</s> é🙂"


# What a file is read for


def use(source: BytesSource | JoinedSource) -> str:
    """All that is read of a model but its weights: metadata, tokenizer, graph and plans. The verdict of a report."""
    checkpoint = run_now(read_checkpoint(source))
    for value in checkpoint.metadata.values():
        flat(value)
    report = run_now(inspect_source(source, native.make_codec, adapter=WIDE, free_memory=1 << 30))
    for problem in report.problems:
        check_message(problem)
    assert [*particulars(report)]
    json.dumps(asdict(report), allow_nan=False)
    tokenizer = None if report.problems else make_tokenizer(checkpoint, native.make_codec)
    if tokenizer is not None:
        tokenizer.decode(tokenizer.encode(TEXT, parse_special=True))
    return report.verdict


def flat(value: object) -> object:
    return [flat(item) for item in value] if isinstance(value, MetadataArray) else value


def outcome(source: BytesSource | JoinedSource) -> str:
    """The verdict, or the error's name."""
    try:
        return use(source)
    except ShaderLMError as error:
        check_message(str(error))
        return type(error).__name__


def check_message(message: str) -> None:
    """It names the file, and what a file says at length it does not repeat."""
    assert "model.gguf" in message
    assert len(message) < 4000, f"{len(message):,} characters"


def modest_outcome(source: BytesSource | JoinedSource) -> str:
    """The outcome, which must not take more time and memory than a file of this size may."""
    gc.disable()  # what earlier examples left is not this one's to pay for
    tracemalloc.start()
    started = time.thread_time()
    try:
        found = outcome(source)
        took, (_, peak) = time.thread_time() - started, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert took < 1, f"{took:.2f} s"
    assert peak < (4 << 20) + 30 * source.size, f"{peak:,} bytes for a file of {source.size:,}"
    return found


@pytest.fixture(scope="module", autouse=True)
def kept() -> None:
    """What is read once and kept is no file's fault: kernels, tables of tokenizers."""
    for made in MODELS.values():
        outcome(BytesSource(made().bytes()))


# Undamaged


@pytest.mark.parametrize("name", MODELS)
def test_a_document_is_a_model_that_runs(name: str) -> None:
    assert outcome(BytesSource(MODELS[name]().bytes())) == "runs"
    assert outcome(JoinedSource([BytesSource(part.bytes()) for part in in_two(MODELS[name]())])) == "runs"


def test_our_own_model_is_written_as_it_was_read() -> None:
    assert MODELS["tiny"]().bytes() == TINY.read_bytes()


def test_the_numbers_of_a_header_are_found_and_each_of_them_counts() -> None:
    document = MODELS["words_in_pieces"]()
    for at in range(len(list(numbers(document.bytes())))):
        assert outcome(BytesSource(damaged(document, [damage.Number(at, 2**64 - 1)]))) in BROKEN


# Damaged


@QUIET
@pytest.mark.parametrize("name", KEYS)
def test_any_value_in_any_key_gives_a_named_error_or_a_model(name: str) -> None:
    document = MODELS["words_in_bytes"]()
    found = {outcome(BytesSource(damaged(document, [damage.Key(name, value)]))) for value in ANY_VALUES}
    assert found != {"runs"}


@pytest.mark.parametrize("by", [-1, 1])
def test_a_number_that_is_off_by_one_gives_a_named_error_or_a_model(by: int) -> None:
    document = MODELS["all_metadata"]()
    for at in range(len(list(numbers(document.bytes())))):
        outcome(BytesSource(damaged(document, [damage.Number(at, by=by)])))


SAID: list[tuple[str, list[Damage], str]] = [
    (
        "bare",
        [damage.Key("llama.block_count", 4096)],
        r"^model\.gguf says that it has 4,096 layers, but it holds 11 tensors",
    ),
    (
        "bare",
        [damage.TensorAgain(0, f"extra {i}") for i in range(99)],
        r"(?s)unexpected: extra 29, 8 x 8\n  and 69 more$",
    ),
    ("bare", [damage.Line(1, "type", 1)], r"attn_norm\.weight is stored as F16; .* Take another file .* model\.gguf"),
    ("bare", [damage.Name(1, "x" * 65)], r"the name of tensor 1 has 65 bytes, but at most 64 are allowed"),
]


def plan(data: bytes) -> None:
    model = blueprint(run_now(read_checkpoint(BytesSource(data))))
    model.memory(model.deployment(WIDE, 64))


@pytest.mark.parametrize(("name", "wrong", "message"), SAID, ids=[case[2] for case in SAID])
def test_what_is_wrong_is_said(name: str, wrong: list[Damage], message: str) -> None:
    with pytest.raises(ShaderLMError, match=message):
        plan(damaged(MODELS[name](), wrong))


# Damaged at random

EXAMPLES = [500, pytest.param(10_000, marks=pytest.mark.slow)]
FEWER_EXAMPLES = [60, pytest.param(1000, marks=pytest.mark.slow)]


def each_time_the_same(examples: int) -> settings:
    return settings(
        max_examples=examples, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )


@QUIET
@pytest.mark.parametrize("examples", EXAMPLES)
def test_a_damaged_file_gives_a_named_error_or_a_model(examples: int) -> None:
    found: Counter[str] = Counter()

    @each_time_the_same(examples)
    @given(st.sampled_from([*MODELS]), WRONG)
    def meet(name: str, wrong: list[Damage]) -> None:
        found[modest_outcome(BytesSource(damaged(MODELS[name](), wrong)))] += 1

    meet()
    assert min(found[name] for name in ("runs", "does not run", *BROKEN)) > examples // 100, found


@QUIET
@pytest.mark.parametrize("examples", FEWER_EXAMPLES)
def test_a_damaged_part_of_a_model_gives_a_named_error_or_a_model(examples: int) -> None:
    found: Counter[str] = Counter()

    @each_time_the_same(examples)
    @given(st.sampled_from([*MODELS]), WRONG, st.integers(0, 1))
    def meet(name: str, wrong: list[Damage], which: int) -> None:
        parts = in_two(MODELS[name]())
        data = [damaged(part, wrong if i == which else []) for i, part in enumerate(parts)]
        found[modest_outcome(JoinedSource(list(map(BytesSource, data))))] += 1

    meet()
    assert min(found["runs"], found["InvalidFile"]) > examples // 20, found


@QUIET
@pytest.mark.parametrize("examples", FEWER_EXAMPLES)
def test_a_damaged_model_is_refused_or_loaded_and_answers(gpu: Device, examples: int) -> None:
    found: Counter[str] = Counter()

    @each_time_the_same(examples)
    @given(st.sampled_from([*SMALL]), MOSTLY_WHOLE)
    def meet(name: str, wrong: list[Damage]) -> None:
        data = damaged(SMALL[name](), wrong)
        job = partial(loaded_outcome, gpu.gpu, BytesSource(data))
        found[soon(job)] += 1

    for made in SMALL.values():
        loaded_outcome(gpu.gpu, BytesSource(made().bytes()))  # compiles the kernels
    meet()
    assert found["answers"] > examples // 5, found


def loaded_outcome(gpu: Gpu, source: BytesSource) -> str:
    """Load a model, let it answer, free it: the error's name, or "answers". Nothing is left on the GPU."""
    before = living(gpu)
    try:
        core = run_now(load_core(source, gpu, native.make_codec, None, context=64, kv_dtype="f16"))
    except ShaderLMError as error:
        check_message(str(error))
        assert living(gpu) == before
        return type(error).__name__
    try:
        assert core.engine.memory.total < (16 << 20) + 8 * source.size
        run_now(answer(core))
    finally:
        core.engine.close()
    assert living(gpu) == before
    return "answers"


async def answer(core: Core) -> None:
    vocab = core.engine.vocabulary.size
    request = core.prompt_request([1 % vocab, 2 % vocab, 3 % vocab], {"max_tokens": 4, "temperature": 0, "logprobs": 1})
    *_, last = [item async for item in core.answer(request, lambda: False, None)]
    assert isinstance(last, Completion)
    assert all(0 <= token < vocab for token in last.tokens)
    assert not any(entry.logprob > 0 for entry in last.logprobs)  # it may be NaN: so may the weights


def soon(job: Callable[[], str]) -> str:
    """What a job gives, which takes less than a second; of two tries, if others kept the machine busy at the first."""
    for _ in range(2):
        started = time.monotonic()
        found = job()
        took = time.monotonic() - started
        if took < 1:
            return found
    pytest.fail(f"{took:.2f} s")
