"""Reports of model files: what they say, how near their memory comes to what an engine takes, and their verdicts."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gguf
import pytest

import shaderlm
from command_line import CommandLine
from engines import living, opened, start
from gguf_writer import write_gguf, write_llama
from gpu import Device
from plans import GPU
from random_llama import prompt, random_llama
from shaderlm.errors import InvalidFile, NoAdapter
from shaderlm.hosts.native import adapters
from shaderlm.hosts.native import host as native
from shaderlm.hosts.native.files import FileSource
from shaderlm.hosts.native.thread import run_now
from shaderlm.inspection import Inspection, inspect_source
from tiny_model import TINY


def inspected(path: Path, **options: Any) -> Inspection:
    """The report of a file on an adapter with plenty of everything, or on the one given."""
    given = {"adapter": WIDE, "free_memory": None, **options}
    source = FileSource(path)
    try:
        return run_now(inspect_source(source, native.make_codec, **given))
    finally:
        source.close()


WIDE = replace(GPU, limits={"max-storage-buffer-binding-size": 1 << 30, "max-buffer-size": 1 << 30})

# What of a model's shape and of its loading the memory depends on: ten of them.
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "plain": ({}, {}, "F32"),
    "wide": ({"hidden_size": 512, "intermediate_size": 1024, "n_heads": 8, "head_dim": 64}, {}, "Q8_0"),
    "deep": ({"n_layers": 8}, {}, "Q4_0"),
    "many words": ({"vocab_size": 12_000}, {}, "F16"),
    "untied output": ({"tied_output": False, "vocab_size": 3000}, {}, "BF16"),
    "long context": ({}, {"context": 480}, "Q4_1"),
    "cache in f32": ({}, {"context": 480, "kv_dtype": "f32"}, "Q4_1"),
    "window": ({"sliding_window": 13}, {"context": 256}, "F16"),
    "biases": ({"attention_bias": True, "output_bias": True, "mlp_bias": True}, {}, "Q8_0"),
    "odd sizes": ({"hidden_size": 72, "n_heads": 3, "n_kv_heads": 1, "head_dim": 24, "intermediate_size": 100,
                   "vocab_size": 101}, {}, "F16"),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_memory_is_estimated_within_5_percent_of_what_an_engine_counts(gpu: Device, tmp_path: Path, shape: str) -> None:
    """With the whole context in use, prompts and answers both made."""
    changes, options, weight_type = SHAPES[shape]
    hyperparameters, weights = random_llama(3, **changes)
    path = write_llama(tmp_path / "model.gguf", weights, hyperparameters, weight_type)
    options = {"context": 128, "kv_dtype": "f16", **options}
    memory = inspected(path, adapter=gpu.gpu.adapter, **options).memory
    assert memory is not None
    before = living(gpu.gpu)["bytes"]
    with opened(gpu.gpu, path, **options) as engine:
        run_now(engine.decode_plan(1))
        start(engine, prompt(hyperparameters, options["context"] - 1))
        counted = living(gpu.gpu)["bytes"] - before
    assert abs(memory.total / counted - 1) < 0.05, f"{memory.total:,} bytes estimated, {counted:,} counted"


def test_a_file_is_told_as_it_is() -> None:
    report = inspected(TINY)
    reader = gguf.GGUFReader(TINY)
    assert (report.file, report.bytes, report.architecture) == ("tiny.gguf", TINY.stat().st_size, "llama")
    assert report.parameters == sum(int(tensor.n_elements) for tensor in reader.tensors)
    for share in report.types:
        own = [tensor for tensor in reader.tensors if tensor.tensor_type.name == share.type]
        assert (share.tensors, share.values, share.bytes) == (
            len(own), sum(int(t.n_elements) for t in own), sum(int(t.n_bytes) for t in own)
        )  # fmt: skip
    assert report.hyperparameters["n_layers"] == 4
    assert report.rope == "theta 10,000, interleaved pairs"
    assert report.tokenizer is not None
    assert (report.tokenizer.model, report.tokenizer.pre, report.tokenizer.tokens) == ("gpt2", "smollm", 512)
    assert report.tokenizer.ends == ("<|endoftext|>", "<|im_end|>")
    assert report.chat_template == len(reader.get_field("tokenizer.chat_template").contents())
    assert (report.verdict, report.problems) == ("runs", ())


def test_the_cache_is_told_per_1024_tokens_in_each_precision() -> None:
    memory = inspected(TINY).memory
    assert memory is not None
    values = 4 * 2 * 2 * 16 * 1024  # layers, K and V, KV heads, head_dim, tokens
    assert memory.kv_per_1k_tokens == {"f16": 2 * values, "f32": 4 * values}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"rope_scaling": "linear", "rope_scaling_factor": 4.0},
            "theta 10,000, interleaved pairs, linear scaling by 4",
        ),
        ({"rope_frequency_factors": (2.0,) * 8}, "interleaved pairs, frequencies divided by a tensor of the file"),
    ],
)
def test_rope_scaling_is_told(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    hyperparameters, weights = random_llama(0, n_layers=1, **changes)
    assert told in inspected(write_llama(tmp_path / "model.gguf", weights, hyperparameters)).rope


# Verdicts


def test_a_context_that_memory_cuts_is_told() -> None:
    memory = inspected(TINY).memory
    assert memory is not None
    report = inspected(TINY, free_memory=memory.weights + (8 << 20))
    assert report.verdict == "runs", "512 tokens is the least that is chosen silently"
    deep = replace(WIDE, limits={**WIDE.limits, "max-buffer-size": 100_000})
    report = inspected(TINY, adapter=deep, context=256)
    assert report.verdict == "runs"
    assert report.memory is not None
    assert report.memory.context == 256


def test_a_model_too_large_for_the_adapter_is_told_with_the_numbers() -> None:
    small = replace(WIDE, limits={**WIDE.limits, "max-storage-buffer-binding-size": 60_000})
    report = inspected(TINY, adapter=small)
    assert report.verdict == "does not run"
    assert "layer 0 needs 69,632 bytes in one binding, and the adapter allows 60,000" in report.problems[0]
    assert report.memory is not None, "what it would take is told all the same"


def test_an_adapter_that_lacks_what_kernels_need_is_told_by_type() -> None:
    few = replace(WIDE, limits={**WIDE.limits, "max-storage-buffers-per-shader-stage": 4})
    report = inspected(TINY, adapter=few)
    assert report.verdict == "does not run"
    assert "(F16) needs" in report.problems[0]
    assert "storage buffers in a kernel, and a GPU has 4" in report.problems[0]


def test_a_software_adapter_refuses_a_context_that_it_would_compute_wrongly() -> None:
    slow = replace(WIDE, kind="software")
    report = inspected(TINY, adapter=slow, context=200_000)  # heads of 16 values
    assert report.verdict == "does not run"
    assert "behind position 65,536 a software adapter may end the loops of attention early" in report.problems[0]
    assert inspected(TINY, adapter=slow, context=4096).verdict == "runs"


def test_an_unknown_architecture_is_told_with_all_the_rest(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", "mamba", {"mamba.context_length": 7}, {})
    report = inspected(path)
    assert report.verdict == "does not run"
    assert "architecture 'mamba', which is not known. Known: " in report.problems[0]
    assert report.hyperparameters["context_length"] == 7
    assert report.memory is None
    assert report.tokenizer is None


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(InvalidFile, match="zip archive"):
        inspected(path)


# Faces


def test_no_gpu_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "find_adapters", list)
    monkeypatch.setattr(native, "find_adapters", list)
    report = shaderlm.inspect(TINY, context=64)
    assert report.adapter is None
    assert report.memory is not None
    assert (report.verdict, report.memory.context) == ("runs", 64)
    with pytest.raises(NoAdapter):
        shaderlm.inspect(TINY, adapter="radeon")


def test_the_command_tells_every_part(capsys: Any, monkeypatch: Any) -> None:
    done = CommandLine(capsys, monkeypatch).run("inspect", str(TINY), "--context", "128")
    assert done.code == 0
    for part in ("llama, 332,640 parameters", "F16", "29 tensors", "4 layers", "theta 10,000", "gpt2 (smollm)",
                 "a context of 128", "KV cache 0.1 MB in f16", "largest binding", "verdict         runs"):  # fmt: skip
        assert part in done.out, done.out


def test_the_command_gives_the_whole_report_as_json(capsys: Any, monkeypatch: Any) -> None:
    done = CommandLine(capsys, monkeypatch).run("inspect", str(TINY), "--json", "--kv-dtype", "f32")
    told, report = json.loads(done.out), asdict(shaderlm.inspect(TINY, kv_dtype="f32"))
    told["adapter"].pop("free_memory"), report["adapter"].pop("free_memory")
    assert told == json.loads(json.dumps(report))
    assert told["memory"]["kv_dtype"] == "f32"


def test_a_verdict_is_an_answer_also_where_it_is_no(capsys: Any, monkeypatch: Any, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", "mamba", {}, {})
    done = CommandLine(capsys, monkeypatch).run("inspect", str(path))
    assert done.code == 0
    assert "verdict         does not run" in done.out
    assert "architecture 'mamba'" in done.out
