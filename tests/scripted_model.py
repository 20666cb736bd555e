"""A Llama that says what it was told to: each token has one successor, which its weights write out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

from gguf_writer import write_llama
from random_llama import random_llama
from shaderlm.formats.checkpoint import TokenizerData
from shaderlm.tokenizer_json import TokenType

END, GO = "<|end|>", "<|go|>"
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}" + GO
ALPHABET = sorted(ByteLevel.alphabet())


def scripted_model(
    path: Path,
    script: Sequence[str],
    *,
    template: str = TEMPLATE,
    marks: Mapping[str, TokenType] | None = None,
    ends: Sequence[str] = (END,),
    after: str = GO,
) -> Path:
    """A file whose model answers `after` with the texts of `script`, a token each, and then with the last of `ends`.

    `marks`: texts that are one token of the given type each, in prompts too.
    """
    special = {**dict.fromkeys((*ends, GO), TokenType.CONTROL), **(marks or {})}
    said = [text if text in special else _byte_level(text) for text in (after, *script, ends[-1])]
    assert len({*said}) == len(said), "a token has one successor, so no text may come twice"
    tokens = list(dict.fromkeys([*special, *ALPHABET, *said, "QQ"]))
    types = [*special.values(), *[TokenType.NORMAL] * (len(tokens) - len(special))]
    ids = [tokens.index(text) for text in said]
    tokenizer = TokenizerData(
        model="gpt2",
        pre="gpt-2",
        tokens=tokens,
        scores=(),
        token_types=types,
        merges=["Q Q"],  # a vocabulary needs one, and no text of a test has it
        bos_id=None,
        eos_ids=tuple(tokens.index(end) for end in ends),
        unknown_id=None,
        add_bos=False,
        add_eos=False,
        add_space_prefix=False,
        chat_template=template,
    )
    width = len(tokens) + len(tokens) % 2
    hyperparameters, weights = random_llama(0, vocab_size=len(tokens), hidden_size=width, n_layers=1, tied_output=False)
    successors = np.zeros((len(tokens), width), np.float32)
    successors[ids[1:], ids[:-1]] = 1
    weights["output.weight"] = successors
    weights["token_embd.weight"] = np.eye(len(tokens), width, dtype=np.float32)
    weights["output_norm.weight"] = np.ones(width, np.float32)
    for name in ("attn_output", "ffn_down"):  # so that a layer adds nothing
        weights[f"blk.0.{name}.weight"][:] = 0
    return write_llama(path, weights, hyperparameters, tokenizer=tokenizer)


def _byte_level(text: str) -> str:
    """Text as a byte-level vocabulary writes it (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + i) for i, byte in enumerate(others)}
    return "".join(letters[byte] for byte in text.encode())
