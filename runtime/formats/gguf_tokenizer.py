"""The tokenizer that a GGUF file's metadata describes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from ..errors import TokenizerError
from .checkpoint import TokenizerData
from .gguf_arrays import FloatArray, IntegerArray, MetadataArray, StringArray

SENTENCEPIECE = "llama"  # as `tokenizer.ggml.model` calls it
SENTENCEPIECE_IDS = {"unknown_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # where a file names none
NO_TOKENIZER = {"none", "no_vocab"}
BEGINS_WITH_BOS = {"llama-bpe", "llama3", "llama-v3"}  # pre-tokenizers whose models want BOS where the file is silent
CONTROL, USER_DEFINED = 3, 4  # token types

# Tokens that end a turn in some model's chat template. Files often name only one of those that their model uses.
# Not here: <|endoftext|> and </s>, which end a turn only where the file says so.
ENDS_OF_TURN = {
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
}

KINDS = {StringArray: "strings", IntegerArray: "integers", FloatArray: "floats"}
T = TypeVar("T")


def tokenizer_data(metadata: Mapping[str, object], file: str) -> TokenizerData | None:
    """The tokenizer of a file, None if it has none. Raises TokenizerError where its parts contradict each other."""
    keys = _Keys(metadata, file)
    model = keys.value("model", str, "none")
    if model in NO_TOKENIZER:
        return None
    tokens = keys.array("tokens", StringArray)
    if not tokens:
        raise TokenizerError(f"{file} names a tokenizer ({model}), but has no tokens (tokenizer.ggml.tokens).")
    token_types = keys.per_token("token_type", IntegerArray, len(tokens))
    pre = keys.value("pre", str, "")
    is_sentencepiece = model == SENTENCEPIECE
    return TokenizerData(
        model=model,
        pre=pre,
        tokens=tokens,
        scores=keys.per_token("scores", FloatArray, len(tokens)),
        token_types=token_types,
        merges=keys.array("merges", StringArray),
        bos_id=keys.token_id("bos_token_id", model, len(tokens)),
        eos_ids=_end_ids(keys, model, tokens, token_types),
        unknown_id=keys.token_id("unknown_token_id", model, len(tokens)),
        add_bos=keys.value("add_bos_token", bool, is_sentencepiece or pre in BEGINS_WITH_BOS),
        add_eos=keys.value("add_eos_token", bool, False),
        add_space_prefix=keys.value("add_space_prefix", bool, is_sentencepiece),
        chat_template=keys.value("chat_template", str, "", prefix="tokenizer.") or None,
    )


def _end_ids(keys: "_Keys", model: str, tokens: Sequence[str], token_types: Sequence[int]) -> tuple[int, ...]:
    """Every token that ends a turn: those that the file names, then known markers, each once."""
    named = [keys.token_id(name, model, len(tokens)) for name in ("eos_token_id", "eot_token_id", "eom_token_id")]
    found = [token for token in named if token is not None]
    found += [i for i in _special(token_types, len(tokens)) if tokens[i] in ENDS_OF_TURN]
    return tuple(dict.fromkeys(found))


def _special(token_types: Sequence[int], n_tokens: int) -> Iterator[int]:
    """Ids that no text makes; all where the file does not tell the types."""
    if not token_types:
        return iter(range(n_tokens))
    return (i for i, kind in enumerate(token_types) if kind in (CONTROL, USER_DEFINED))


class _Keys:
    """Typed look-ups of the keys behind "tokenizer.ggml."."""

    def __init__(self, metadata: Mapping[str, object], file: str) -> None:
        self.metadata = metadata
        self.file = file

    def value(self, name: str, kind: type[T], default: T, prefix: str = "tokenizer.ggml.") -> T:
        value = self.metadata.get(prefix + name, default)
        if not isinstance(value, kind):
            raise self._wrong(prefix + name, f"is {value!r}, but must be of type {kind.__name__}")
        return value

    def array(self, name: str, kind: type[MetadataArray[T]]) -> Sequence[T]:
        """Empty where the file does not have it."""
        key = f"tokenizer.ggml.{name}"
        value = self.metadata.get(key, ())
        if isinstance(value, Sequence) and len(value) == 0:
            return ()
        if not isinstance(value, kind):
            raise self._wrong(key, f"is {value!r}, but must be an array of {KINDS[kind]}")
        return value

    def per_token(self, name: str, kind: type[MetadataArray[T]], n_tokens: int) -> Sequence[T]:
        """Empty, or as long as the vocabulary."""
        found = self.array(name, kind)
        if found and len(found) != n_tokens:
            raise self._wrong(
                f"tokenizer.ggml.{name}", f"has {len(found):,} entries, but there are {n_tokens:,} tokens"
            )
        return found

    def token_id(self, name: str, model: str, n_tokens: int) -> int | None:
        default = SENTENCEPIECE_IDS.get(name) if model == SENTENCEPIECE else None
        value = self.metadata.get(f"tokenizer.ggml.{name}", default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < n_tokens:
            raise self._wrong(
                f"tokenizer.ggml.{name}", f"is {value!r}, but must be the id of one of {n_tokens:,} tokens"
            )
        return value

    def _wrong(self, key: str, what: str) -> TokenizerError:
        return TokenizerError(f"{key} {what}, in {self.file}. The file is broken or was converted wrongly.")
