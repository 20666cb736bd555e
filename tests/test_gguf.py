"""GGUF files: what the parser reads is what was written, and what the `gguf` package reads from real files."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGUFValueType

import reference
from byte_sources import ARCHITECTURE, BytesSource, checkpoint, wait
from gguf_writer import (
    Tensor,
    Typed,
    dequantized,
    encoded,
    gguf_bytes,
    tensor,
    write_gguf,
    write_llama,
)
from random_llama import prompt, random_llama
from shaderlm.errors import InvalidConfig, InvalidFile, UnknownWeightType
from shaderlm.formats.gguf import FIRST_READ, OTHER_TYPES, read_gguf, read_header
from shaderlm.formats.gguf_arrays import MetadataArray
from shaderlm.hosts.native.files import FileSource
from shaderlm.tensors import BY_GGML, WEIGHT_TYPES


def plain(value: object) -> object:
    return [plain(item) for item in value] if isinstance(value, MetadataArray) else value


# Metadata

SCALARS = [
    (GGUFValueType.UINT8, [0, 255]),
    (GGUFValueType.INT8, [-128, 127]),
    (GGUFValueType.UINT16, [0, 2**16 - 1]),
    (GGUFValueType.INT16, [-(2**15), 2**15 - 1]),
    (GGUFValueType.UINT32, [0, 2**32 - 1]),
    (GGUFValueType.INT32, [-(2**31), 2**31 - 1]),
    (GGUFValueType.UINT64, [0, 2**64 - 1]),
    (GGUFValueType.INT64, [-(2**63), 2**63 - 1]),
    (GGUFValueType.FLOAT32, [-0.5, 2.0**100]),
    (GGUFValueType.FLOAT64, [0.1, -1e300]),
    (GGUFValueType.BOOL, [True, False]),
    (GGUFValueType.STRING, ["", "naïve 🦙"]),
]


@pytest.mark.parametrize("version", [2, 3])
def test_every_type_of_value_reads_back(version: int) -> None:
    written: dict[str, Any] = {f"{kind.name}.{i}": Typed(kind, v) for kind, vs in SCALARS for i, v in enumerate(vs)}
    arrays = {f"{kind.name}.all": Typed(GGUFValueType.ARRAY, vs, kind) for kind, vs in SCALARS}
    found = checkpoint({**written, **arrays}, version=version).metadata
    for key, typed in (written | arrays).items():
        value = plain(found[key])
        assert value == typed.value, key
        assert type(value) is type(typed.value), key


def test_arrays_of_arrays_read_back() -> None:
    strings = Typed(GGUFValueType.ARRAY, [["a", "bc"], [], ["d"]], GGUFValueType.ARRAY)
    numbers = Typed(GGUFValueType.ARRAY, [[[1], [2, 3]], [[4]]], GGUFValueType.ARRAY)
    found = checkpoint({"strings": strings, "numbers": numbers, "behind": 5}).metadata
    assert plain(found["strings"]) == strings.value
    assert plain(found["numbers"]) == numbers.value
    assert found["behind"] == 5


def test_an_array_behaves_like_a_tuple() -> None:
    found = checkpoint({"n": [3, 1, 2], "s": ["x", "y", "z"], "e": []}).metadata
    numbers, strings = found["n"], found["s"]
    assert isinstance(numbers, MetadataArray)
    assert isinstance(strings, MetadataArray)
    assert (len(numbers), numbers[0], numbers[-1], numbers[1:]) == (3, 3, 2, [1, 2])
    assert (len(strings), strings[0], strings[-1], strings[::2]) == (3, "x", "z", ["x", "z"])
    assert 2 in numbers
    assert strings.index("y") == 1
    with pytest.raises(IndexError):
        strings[3]
    assert repr(strings) == "<3 x STRING: s of model.gguf>"
    assert plain(found["e"]) == []


def test_a_string_that_is_not_utf8_is_reported_when_it_is_asked_for() -> None:
    found = checkpoint({"tokens": [b"ok", b"\xff"]}).metadata["tokens"]
    assert isinstance(found, MetadataArray)
    assert found[0] == "ok"
    with pytest.raises(InvalidFile, match=r"String 1 of tokens of model\.gguf is not UTF-8"):
        found[1]


def test_a_header_larger_than_the_first_read_is_read_in_a_few_steps() -> None:
    words = [f"word {i}" for i in range(300_000)]
    source = BytesSource(gguf_bytes({**ARCHITECTURE, "words": words}, {"t": tensor(np.ones((2, 2)), "F32")}))
    found = wait(read_header(source))
    assert plain(found.metadata["words"]) == words
    sizes = [size for _, size in source.reads]
    assert sizes[0] == FIRST_READ
    assert len(sizes) < 5
    assert [offset for offset, _ in source.reads] == [sum(sizes[:i]) for i in range(len(sizes))]
    assert sum(sizes) == len(source.data)


def test_a_small_header_takes_one_read_and_no_weights() -> None:
    source = BytesSource(gguf_bytes(ARCHITECTURE, {"t": tensor(np.ones((1000, 1000)), "F32")}))
    wait(read_gguf(source))
    assert source.reads == [(0, FIRST_READ)]


# Tensors


def test_shapes_are_outermost_first_and_bytes_are_where_the_table_says() -> None:
    rng = np.random.default_rng(0)
    arrays = {f"t.{name}": rng.integers(0, 256, (3, 2, 64 * t.bytes), np.uint8) for name, t in WEIGHT_TYPES.items()}
    found = checkpoint({}, {name: tensor(array, name[2:]) for name, array in arrays.items()})
    assert list(found.tensors) == list(arrays)
    for name, info in found.tensors.items():
        block = WEIGHT_TYPES[name[2:]].block
        assert (info.name, info.shape, info.values) == (name, (3, 2, 64 * block), 384 * block)
        assert info.type is WEIGHT_TYPES[name[2:]]
        assert wait(found.source.read(info.offset, info.size)) == arrays[name].tobytes()


@pytest.mark.parametrize("alignment", [1, 8, 64, 4096])
def test_another_alignment_is_heeded(alignment: int) -> None:
    data = np.arange(5, dtype=np.float32)
    key = {"general.alignment": alignment}
    found = checkpoint(key, {"a": tensor(data, "F32"), "b": tensor(data, "F32")}, alignment=alignment)
    for info in found.tensors.values():
        assert info.offset % alignment == 0
        assert wait(found.source.read(info.offset, info.size)) == data.tobytes()


def test_every_type_of_the_gguf_package_has_its_name() -> None:
    known = {number: weight_type.name for number, weight_type in BY_GGML.items()}
    others = {number: name for number, (name, _) in OTHER_TYPES.items()}
    theirs = {int(kind): kind.name for kind in gguf.GGMLQuantizationType}
    assert (others | known).items() >= theirs.items()
    assert not others.keys() & known.keys()


@pytest.mark.parametrize("number", [*OTHER_TYPES, 99])
def test_a_type_that_no_weight_is_run_in_is_refused_by_name_with_those_that_are(number: int) -> None:
    name, why = OTHER_TYPES.get(number, ("type number 99", "which this version does not know"))
    with pytest.raises(UnknownWeightType) as error:
        checkpoint({}, {"w": Tensor((256,), number, bytes(2048))})
    assert str(error.value) == (
        f"w in model.gguf is stored as {name}, {why}; it cannot be run. "
        f"Take a file of the model whose weights are in {', '.join(WEIGHT_TYPES)}."
    )


# Hyperparameters


def test_a_llama_reads_back_with_its_canonical_names(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "rope_dim": 8,
        "sliding_window": 9,
        "rope_scaling": "yarn",
        "rope_scaling_factor": 4.0,
        "rope_original_context": 64,
        "rope_attention_factor": 1.5,
        "rope_extrapolation_factor": 0.5,
        "rope_beta_fast": 16.0,
        "rope_beta_slow": 2.0,
        "rope_frequency_factors": (1.0, 2.0, 3.0, 4.0),
        "rope_interleaved": True,
        "norm_eps": 2.0**-17,
    }
    h, weights = random_llama(3, tied_output=False, attention_bias=True, **changes)
    found = wait(read_gguf(FileSource(write_llama(tmp_path / "m.gguf", weights, h))))
    assert found.hyperparameters == h
    assert {name: info.shape for name, info in found.tensors.items()} == {n: w.shape for n, w in weights.items()}
    assert (found.name, found.architecture, found.tokenizer) == ("m.gguf", "llama", None)


HALF_SPLIT: list[tuple[str, dict[str, Any]]] = [
    ("F32", {}),
    ("F32", {"rope_dim": 4, "attention_bias": True}),
    ("Q8_0", {"hidden_size": 32, "rope_frequency_factors": (1.0, 2.0, 3.0, 4.0)}),
    ("F32", {"rope_interleaved": True}),
]


@pytest.mark.parametrize(("weight_type", "options"), HALF_SPLIT, ids=str)
def test_a_file_computes_what_its_weights_did_before_they_were_written(
    tmp_path: Path, weight_type: str, options: dict[str, Any]
) -> None:
    h, weights = random_llama(5, **{"head_dim": 8, "rope_interleaved": False, **options})
    path = write_llama(tmp_path / "m.gguf", weights, h, weight_type)
    found = wait(read_gguf(FileSource(path)))
    stored = reference.dequantized(path)
    written = reference.Reference.of(h, dequantized(weights, weight_type)).logits(prompt(h, 12))
    read = reference.Reference.of(found.hyperparameters, stored).logits(prompt(h, 12))
    assert np.abs(read - written).max() < 1e-5 * np.abs(written).max()


def hyperparameters(metadata: dict[str, object], tensors: dict[str, Tensor] | None = None) -> dict[str, object]:
    keyed = {f"llama.{key}": value for key, value in metadata.items()}
    return dict(checkpoint(keyed, tensors).hyperparameters)


def test_the_vocabulary_has_as_many_tokens_as_the_embedding_has_rows() -> None:
    embedding = {"token_embd.weight": tensor(np.ones((7, 4)), "F32")}
    assert hyperparameters({}, embedding)["vocab_size"] == 7
    assert hyperparameters({"vocab_size": 5}, embedding)["vocab_size"] == 5
    assert "vocab_size" not in hyperparameters({})


def test_the_older_key_of_linear_scaling_is_read() -> None:
    for key in ("rope.scale_linear", "rope.scaling.factor"):
        found = hyperparameters({key: 4.0})
        assert (found["rope_scaling"], found["rope_scaling_factor"]) == ("linear", 4.0)


def test_a_scaling_that_says_none_stays_none() -> None:
    assert hyperparameters({"rope.scaling.type": "none", "rope.scaling.factor": 4.0})["rope_scaling"] == "none"


def test_yarn_without_an_original_context_takes_the_models_own() -> None:
    found = hyperparameters({"context_length": 128, "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0})
    assert found["rope_original_context"] == 128


@pytest.mark.parametrize("key", ["attention.sliding_window", "rope.scaling.factor", "expert_count"])
def test_a_zero_means_that_a_feature_is_not_used(key: str) -> None:
    assert hyperparameters({key: 0}) == hyperparameters({})


def test_experts_are_counted() -> None:
    assert hyperparameters({"expert_count": 8})["n_experts"] == 8


def test_a_list_for_each_layer_passes_where_the_layers_are_alike() -> None:
    found = hyperparameters({"attention.head_count": [4, 4, 4], "attention.head_count_kv": [2, 2, 2]})
    assert (found["n_heads"], found["n_kv_heads"]) == (4, 2)


@pytest.mark.parametrize("value", [[4, 2, 4], [], ["4", "2"], [[4], [2]]])
def test_layers_that_differ_are_refused(value: list[object]) -> None:
    with pytest.raises(InvalidConfig, match=r"llama\.attention\.head_count differs from layer to layer in model\.gguf"):
        hyperparameters({"attention.head_count": value})


def test_keys_and_values_have_heads_of_one_width() -> None:
    assert hyperparameters({"attention.key_length": 16, "attention.value_length": 16})["head_dim"] == 16
    assert hyperparameters({"attention.value_length": 16})["head_dim"] == 16
    with pytest.raises(InvalidConfig, match=r"key_length is 16 and attention\.value_length is 8 in model\.gguf"):
        hyperparameters({"attention.key_length": 16, "attention.value_length": 8})


def test_a_file_without_an_architecture_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"general\.architecture is None in model\.gguf"):
        wait(read_gguf(BytesSource(gguf_bytes({}))))


def test_frequency_factors_are_a_hyperparameter_and_no_weight() -> None:
    found = checkpoint({}, {"rope_freqs.weight": tensor(np.array([1.0, 8.0]), "F32")})
    assert found.hyperparameters["rope_frequency_factors"] == (1.0, 8.0)
    assert found.tensors == {}


@pytest.mark.parametrize(("shape", "weight_type"), [((2, 2), "F32"), ((4,), "F16")])
def test_frequency_factors_are_a_row_of_f32(shape: tuple[int, ...], weight_type: str) -> None:
    with pytest.raises(InvalidConfig, match=rf"rope_freqs\.weight in model\.gguf is {weight_type} of shape"):
        checkpoint({}, {"rope_freqs.weight": tensor(np.ones(shape), weight_type)})


# Real files, against the `gguf` package's reader

VOCABULARIES = ["gpt-2", "deepseek-llm", "llama-spm", "phi-3", "bert-bge"]
REAL_FILES = [*(f"tokenizers/ggml-vocab-{name}.gguf" for name in VOCABULARIES), "models/llama-2-tiny-random.gguf"]


@pytest.mark.parametrize("path", REAL_FILES)
def test_a_real_file_reads_as_the_gguf_package_reads_it(oracles: Path, path: str) -> None:
    found, reader = wait(read_gguf(FileSource(oracles / path))), gguf.GGUFReader(oracles / path)
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert list(found.metadata) == list(fields)
    for key, field in fields.items():
        assert plain(found.metadata[key]) == field.contents(), key
    tensors = {
        t.name: (tuple(reversed(t.shape.tolist())), int(t.tensor_type), t.data_offset, t.n_bytes)
        for t in reader.tensors
    }
    assert {t.name: (t.shape, t.type.ggml, t.offset, t.size) for t in found.tensors.values()} == tensors


@pytest.mark.parametrize(("name", "eos_ids"), [("gpt-2", (50256,)), ("llama-spm", (2,)), ("phi-3", (32000, 32007))])
def test_real_tokenizers_end_their_turns(oracles: Path, name: str, eos_ids: tuple[int, ...]) -> None:
    found = wait(read_gguf(FileSource(oracles / f"tokenizers/ggml-vocab-{name}.gguf"))).tokenizer
    assert found is not None
    assert found.eos_ids == eos_ids


def test_smollm2_reads_with_its_model_cards_numbers(smollm2: Path) -> None:
    found = wait(read_gguf(FileSource(smollm2)))
    expected = {"n_layers": 30, "n_heads": 9, "n_kv_heads": 3, "hidden_size": 576, "intermediate_size": 1536}
    assert {name: found.hyperparameters[name] for name in expected} == expected
    assert len(found.tensors) == 272
    assert found.tokenizer is not None
    assert (found.tokenizer.pre, len(found.tokenizer.tokens)) == ("smollm", 49152)
    assert (found.tokenizer.bos_id, found.tokenizer.eos_ids, found.tokenizer.add_bos) == (1, (2, 0), False)


def test_the_gguf_package_reads_what_the_writer_wrote(tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((4, 32)).astype(np.float32)
    path = write_gguf(tmp_path / "m.gguf", "llama", {"k": ["x", "y"]}, {"t": (values, "Q8_0")})
    reader = gguf.GGUFReader(path)
    assert reader.fields["k"].contents() == ["x", "y"]
    assert reader.tensors[0].data.tobytes() == encoded(values, "Q8_0").tobytes()
