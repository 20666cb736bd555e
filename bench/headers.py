"""How long the headers of GGUF files take to parse: `python3 build.py bench headers`.

Two headers are written for it, without weights behind them: one as large as that of TinyLlama 1.1B (201 tensors,
23 keys, 32,000 tokens, 61,249 merges), one with a vocabulary of 150,000 tokens and as many merges.
"""

import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shaderlm.formats import read_checkpoint
from shaderlm.formats.checkpoint import Checkpoint
from shaderlm.hosts.native.files import FileSource
from shaderlm.hosts.native.thread import run_now

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # types of metadata, as GGUF numbers them
F32 = 0  # type of tensors
RUNS = 7
Value = int | float | str | list[int] | list[float] | list[str]


def like_tinyllama() -> bytes:
    """201 tensors, 23 keys, 32,000 tokens."""
    keys = llama_keys(layers=22) | sentencepiece_keys(tokens=32_000, merges=61_249)
    names = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
    tensors = [f"blk.{i}.{name}.weight" for i in range(22) for name in names]
    return header(keys, ["token_embd.weight", *tensors, "output_norm.weight", "output.weight"])


def large_vocabulary() -> bytes:
    """150,000 tokens and as many merges, of byte-level BPE."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [f"\u0120{letters[i % 26]}{letters[i // 26 % 26]}{i:x}" for i in range(150_000)]
    keys = llama_keys(layers=1) | {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": [1] * len(words),
        "tokenizer.ggml.merges": [f"{word[:2]} {word[2:]}" for word in words],
        "tokenizer.ggml.eos_token_id": 2,
    }
    return header(keys, ["token_embd.weight"])


def llama_keys(*, layers: int) -> dict[str, Value]:
    return {
        "general.architecture": "llama",
        "general.name": "a header",
        "general.file_type": 0,
        "general.quantization_version": 2,
        "llama.context_length": 2048,
        "llama.embedding_length": 2048,
        "llama.block_count": layers,
        "llama.feed_forward_length": 5632,
        "llama.rope.dimension_count": 64,
        "llama.rope.freq_base": 10000.0,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 4,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
    }


def sentencepiece_keys(*, tokens: int, merges: int) -> dict[str, Value]:
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [f"\u2581word{i:x}" for i in range(tokens)],
        "tokenizer.ggml.scores": [float(-i) for i in range(tokens)],
        "tokenizer.ggml.token_type": [1] * tokens,
        "tokenizer.ggml.merges": [f"\u2581w ord{i:x}" for i in range(merges)],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
    }


def header(keys: Mapping[str, Value], tensors: Sequence[str]) -> bytes:
    """A GGUF file (version 3) whose tensors are 8 values each."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(keys))]
    parts += [string(key) + value(content) for key, content in keys.items()]
    parts += [string(name) + struct.pack("<IQIQ", 1, 8, F32, 32 * i) for i, name in enumerate(tensors)]
    written = b"".join(parts)
    return written + bytes(-len(written) % 32 + 32 * len(tensors))


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(content: Value) -> bytes:
    if isinstance(content, str):
        return struct.pack("<I", STRING) + string(content)
    if isinstance(content, int):
        return struct.pack("<II", UINT32, content)
    if isinstance(content, float):
        return struct.pack("<If", FLOAT32, content)
    if isinstance(content[0], str):
        return struct.pack("<IIQ", ARRAY, STRING, len(content)) + b"".join(map(string, map(str, content)))
    kind, letter = (INT32, "i") if isinstance(content[0], int) else (FLOAT32, "f")
    return struct.pack(f"<IIQ{len(content)}{letter}", ARRAY, kind, len(content), *content)


def seconds(made: Callable[[], bytes], folder: Path) -> tuple[float, float]:
    """To parse the header, and to decode its tokens and merges: medians."""
    path = folder / f"{made.__name__}.gguf"
    path.write_bytes(made())
    runs = [_run(path) for _ in range(RUNS)]
    return statistics.median(parse for parse, _ in runs), statistics.median(decode for _, decode in runs)


def _run(path: Path) -> tuple[float, float]:
    source = FileSource(path)
    try:
        started = time.perf_counter()
        checkpoint: Checkpoint = run_now(read_checkpoint(source))
        parsed = time.perf_counter()
        assert checkpoint.tokenizer is not None
        _ = list(checkpoint.tokenizer.tokens), list(checkpoint.tokenizer.merges)
        return parsed - started, time.perf_counter() - parsed
    finally:
        source.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for made in (like_tinyllama, large_vocabulary):
            parse, decode = seconds(made, Path(folder))
            print(
                f"{made.__name__.replace('_', ' '):18} {1e3 * parse:5.0f} ms, and {1e3 * decode:4.0f} ms to decode all"
            )


if __name__ == "__main__":
    main()
