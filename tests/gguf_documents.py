"""Small models of every kind as the parts that their files are written from, so that tests can change a part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import gguf
import numpy as np
from gguf import GGUFValueType
from numpy.typing import NDArray

from gguf_writer import Tensor, Typed, gguf_bytes, llama_metadata, tensor, tokenizer_metadata
from random_llama import random_llama
from shaderlm.formats.checkpoint import TokenizerData
from shaderlm.tensors import WEIGHT_TYPES
from tiny_model import TINY
from vocabularies import byte_level, charsmap, sentence_piece, unigram, word_piece
from weight_blocks import ordinary_blocks

U16, I32 = GGUFValueType.UINT16, GGUFValueType.INT32
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"


@dataclass
class Document:
    """What a file is written from. `options` are those of `gguf_bytes`, by which its counts are made to lie."""

    metadata: list[tuple[str, Any]]
    tensors: list[tuple[str, Tensor]]
    options: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> "Document":
        return Document([*self.metadata], [*self.tensors], {**self.options})

    def bytes(self) -> bytes:
        return gguf_bytes(self.metadata, self.tensors, **self.options)


def bare() -> Document:
    """Weights in F32, and the few keys that a model needs."""
    return _llama({}, {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8})


def all_metadata() -> Document:
    """Every key of hyperparameters, and values of every type."""
    options = {
        "rope_scaling": "yarn",
        "rope_scaling_factor": 4.0,
        "rope_original_context": 128,
        "rope_dim": 8,
        "sliding_window": 13,
        "rope_attention_factor": 1.5,
        "rope_beta_fast": 16.0,
    }
    biases = {"attention_bias": True, "output_bias": True, "mlp_bias": True, "tied_output": False}
    more = {
        "general.name": "A model",
        "general.alignment": 32,
        "nested": Typed(GGUFValueType.ARRAY, [[[1], [2, 3]], [[4]]], GGUFValueType.ARRAY),
        "names": ["a", "", "é🙂"],
        "flag": True,
        "flags": [True, False],
        "big": Typed(GGUFValueType.UINT64, 2**63),
        "double": Typed(GGUFValueType.FLOAT64, 1e300),
        "bytes": Typed(GGUFValueType.ARRAY, [1, 2, 3], GGUFValueType.UINT8),
    }
    sizes = {"vocab_size": 33, "hidden_size": 24, "intermediate_size": 20, "n_layers": 1}
    document = _llama(more, {**options, **biases, **sizes}, "F16")
    document.tensors.append(("rope_freqs.weight", tensor(np.ones(4), "F32")))
    document.tensors.append(("blk.0.attn_q.scale", tensor(np.ones(1), "F32")))
    return document


def words_in_bytes() -> Document:
    """With a byte-level tokenizer and a chat template; weights in Q8_0."""
    return _llama(_spoken(byte_level()), {"hidden_size": 32, "intermediate_size": 32, "n_layers": 1}, "Q8_0")


def words_in_pieces() -> Document:
    """With a SentencePiece tokenizer; weights in Q4_0 and Q4_1, their norms in F32."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "n_layers": 2}
    return _llama(_spoken(sentence_piece()), sizes, "Q4_0", ffn_down="Q4_1", attn_k="BF16")


def words_by_likelihood() -> Document:
    """With a unigram tokenizer and its map of characters; weights in BF16."""
    spoken = _spoken(unigram(charsmap=charsmap({"Ａ": "A"}), remove_extra_whitespaces=True))
    return _llama(spoken, {"hidden_size": 16, "intermediate_size": 16}, "BF16")


def words_and_their_endings() -> Document:
    """With a WordPiece tokenizer; weights in Q5_1."""
    return _llama(_spoken(word_piece()), {"hidden_size": 32, "intermediate_size": 32}, "Q5_1")


def every_type() -> Document:
    """No two matrices beside each other in one weight type, nor one type left out."""
    sizes = {"hidden_size": 256, "intermediate_size": 256, "n_heads": 4, "n_kv_heads": 1, "head_dim": 64}
    document = _llama({}, {**sizes, "n_layers": -(-len(WEIGHT_TYPES) // 7), "vocab_size": 16})
    types = list(WEIGHT_TYPES.values())
    matrices = [i for i, (_, line) in enumerate(document.tensors) if len(line.shape) == 2]
    for turn, i in enumerate(matrices):
        name, line = document.tensors[i]
        blocks = ordinary_blocks(types[turn % len(types)], *line.shape, seed=turn)
        document.tensors[i] = (name, tensor(blocks.bytes, blocks.type.name))
    return document


def tiny() -> Document:
    """Our own trained model, as the `gguf` package reads it."""
    reader = gguf.GGUFReader(TINY)
    keys = [(name, _value(key)) for name, key in reader.fields.items() if not name.startswith("GGUF.")]
    tensors = [
        (line.name, Tensor(tuple(map(int, reversed(line.shape))), int(line.tensor_type), line.data.tobytes()))
        for line in reader.tensors
    ]
    return Document(keys, tensors)


def in_two(document: Document) -> tuple[Document, Document]:
    """The two parts of a model in several files."""
    half, total = len(document.tensors) // 2, len(document.tensors)
    split = {"split.count": Typed(U16, 2), "split.tensors.count": Typed(I32, total)}
    first, second = ([("split.no", Typed(U16, number)), *split.items()] for number in (0, 1))
    return (
        Document([*document.metadata, *first], document.tensors[:half]),
        Document(second, document.tensors[half:]),
    )


_MADE = (bare, all_metadata, words_in_bytes, words_in_pieces, words_by_likelihood, words_and_their_endings)
SMALL: dict[str, Callable[[], Document]] = {made.__name__: cache(made) for made in (*_MADE, tiny)}
MODELS = {**SMALL, "every_type": cache(every_type)}


def _llama(more: Mapping[str, Any], changes: Mapping[str, Any], weight_type: str = "F32", **types: str) -> Document:
    """A random Llama; `types` are those of matrices that have another one, by a part of their name."""
    sizes = {"context_length": 64, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8, "n_layers": 1}
    vocabulary = {"vocab_size": len(more["tokenizer.ggml.tokens"])} if "tokenizer.ggml.tokens" in more else {}
    hyperparameters, weights = random_llama(2, **{**sizes, **vocabulary, **changes})
    metadata = {"general.architecture": "llama", **llama_metadata(hyperparameters), **more}

    def type_of(name: str, weight: NDArray[Any]) -> str:
        named = [other for part, other in types.items() if part in name]
        fits = weight.ndim == 2 and weight.shape[1] % WEIGHT_TYPES[weight_type].block == 0
        return (named or [weight_type])[0] if fits else "F32"

    return Document(
        [*metadata.items()], [(name, tensor(weight, type_of(name, weight))) for name, weight in weights.items()]
    )


def _spoken(tokenizer: TokenizerData) -> dict[str, Any]:
    return {**tokenizer_metadata(tokenizer), "tokenizer.chat_template": TEMPLATE}


def _value(key: Any) -> Any:
    """A value of a file that `gguf` reads, with its type."""
    kind, *element = key.types
    return Typed(kind, key.contents(), element[0] if element else None)
