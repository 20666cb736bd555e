"""The tokenizer that a GGUF file's metadata describes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from ..errors import TokenizerError
from .checkpoint import TokenizerData
from .gguf_arrays import FloatArray, IntegerArray, MetadataArray, StringArray
from .gguf_cursor import ValueType

SENTENCEPIECE, UNIGRAM, WORDPIECE, GEMMA4 = "llama", "t5", "bert", "gemma4"  # as `tokenizer.ggml.model` calls them
NO_TOKENIZER = {"none", "no_vocab"}
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4  # token types

# What holds where a file is silent. An id that lies outside the vocabulary is then none at all.
DEFAULT_IDS: Mapping[str, Mapping[str, int]] = {
    SENTENCEPIECE: {"unknown": 0, "bos": 1, "eos": 2},
    UNIGRAM: {"eos": 1, "unknown": 2},
    WORDPIECE: {"unknown": 100, "bos": 101, "seperator": 102},  # GGUF's own spelling
}
BEGINS_WITH_BOS = {  # pre-tokenizers whose models want it
    *("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"),
    *("tekken", "chameleon"),
}
ALWAYS_BOS = {"gemma4", "granite-embed-multi-311m"}  # whatever the file says

# Tokens that end a turn in some model's chat template. Files often name only one of those that their model uses.
ENDS_OF_TURN = {
    *("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>", "<|return|>", "<|call|>", "<|calls|>"),
    *("<|flush|>", "<|tool_response>", "<turn|>", "<end_of_turn>", "<end_of_utterance>", "<EOT>", "_<EOT>", "[EOT]"),
    *("[EOS]", "[e~[", "<｜end▁of▁sentence｜>"),
}
ENDS_OF_TEXT = {"<|endoftext|>", "<eos>", "</s>"}  # and turns, if control tokens: to some files </s> is a mark of HTML
ENDS_A_MESSAGE = "<|end|>"  # and not the turn, where there are such tokens too:
ENDS_A_TURN_OF_MESSAGES = ({"<|return|>", "<|call|>"}, {"<|flush|>", "<|calls|>"})

# Tokens that take white space with them when they are matched. Files do not say so: their names do.
MASK_STRIPS_LEFT_PRE = ("jina-v2-de", "jina-v2-es", "jina-v2-code")
MASK_STRIPS_LEFT_ARCHITECTURES = ("nomic-bert-moe", "jina-bert-v3")
PHI_3_STRIPS_NOT = {"<unk>", "<s>", "<|endoftext|>"}

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
    pre = GEMMA4 if model == GEMMA4 else keys.value("pre", str, "")
    is_bert, is_sentencepiece = model == WORDPIECE, model == SENTENCEPIECE
    begins_with_bos = is_sentencepiece or is_bert or pre in BEGINS_WITH_BOS
    lower_case = keys.value("normalizer.lowercase", bool, is_bert)
    left, right = _stripping(keys, pre, tokens, token_types)
    return TokenizerData(
        model=model,
        pre=pre,
        tokens=tokens,
        scores=keys.per_token("scores", FloatArray, len(tokens)),
        token_types=token_types,
        merges=keys.array("merges", StringArray),
        bos_id=keys.token_id("bos", model, len(tokens), other_name="cls" if is_bert else None),
        eos_ids=_end_ids(keys, model, tokens, token_types),
        unknown_id=keys.token_id("unknown", model, len(tokens)),
        sep_id=keys.token_id("seperator", model, len(tokens)),
        add_bos=pre in ALWAYS_BOS or keys.value("add_bos_token", bool, begins_with_bos),
        add_eos=keys.value("add_eos_token", bool, model == UNIGRAM),
        add_sep=is_bert and keys.value("add_sep_token", bool, True),
        add_space_prefix=keys.value("add_space_prefix", bool, is_sentencepiece),
        remove_extra_whitespaces=keys.value("remove_extra_whitespaces", bool, False),
        charsmap=keys.bytes("precompiled_charsmap"),
        lower_case=lower_case,
        strip_accents=keys.value("normalizer.strip_accents", bool, lower_case),
        left_stripping=left,
        right_stripping=right,
        chat_template=keys.value("chat_template", str, "", prefix="tokenizer.") or None,
    )


def _end_ids(keys: "_Keys", model: str, tokens: Sequence[str], token_types: Sequence[int]) -> tuple[int, ...]:
    """Every token that ends a turn: those that the file names, then known markers, each once."""
    named = [keys.token_id(name, model, len(tokens)) for name in ("eos", "eot", "eom")]
    special = {i: tokens[i] for i in _special(token_types, len(tokens))}
    controls = {i for i in special if token_types and token_types[i] == CONTROL}
    found = {i: t for i, t in special.items() if t in ENDS_OF_TURN or (t in ENDS_OF_TEXT and i in controls)}
    ends_message = any(ends <= set(found.values()) for ends in ENDS_A_TURN_OF_MESSAGES)
    markers = [i for i, text in found.items() if not (ends_message and text == ENDS_A_MESSAGE)]
    return tuple(dict.fromkeys([*(token for token in named if token is not None), *markers]))


def _stripping(
    keys: "_Keys", pre: str, tokens: Sequence[str], token_types: Sequence[int]
) -> tuple[frozenset[int], frozenset[int]]:
    """Ids of the tokens that strip the text to their left, and of those that strip it to their right."""
    name = keys.value("name", str, "", prefix="general.").lower()
    architecture = keys.value("architecture", str, "", prefix="general.")
    if pre in MASK_STRIPS_LEFT_PRE or architecture in MASK_STRIPS_LEFT_ARCHITECTURES:
        return _named("<mask>", tokens, token_types), frozenset()
    if "phi-3" in name or "phi3" in name:
        special = {i: tokens[i] for i in _special(token_types, len(tokens))}
        return frozenset(), frozenset(i for i, text in special.items() if text not in PHI_3_STRIPS_NOT)
    if "modern-bert" in name:
        return _named("[MASK]", tokens, token_types), frozenset()
    return frozenset(), frozenset()


def _named(text: str, tokens: Sequence[str], token_types: Sequence[int]) -> frozenset[int]:
    return frozenset(i for i in _special(token_types, len(tokens)) if tokens[i] == text)


def _special(token_types: Sequence[int], n_tokens: int) -> Iterator[int]:
    """Ids that no text makes; all where the file does not tell the types."""
    if not token_types:
        return iter(range(n_tokens))
    return (i for i, kind in enumerate(token_types) if kind in (UNKNOWN, CONTROL, USER_DEFINED))


class _Keys:
    """Typed look-ups of the keys behind "tokenizer.ggml."."""

    def __init__(self, metadata: Mapping[str, object], file: str) -> None:
        self.metadata = metadata
        self.file = file

    def value(self, name: str, kind: type[T], default: T, prefix: str = "tokenizer.ggml.") -> T:
        value = self.metadata.get(prefix + name, default)
        if not isinstance(value, kind):
            raise self._wrong(prefix + name, f"is {value!r:.80}, but must be of type {kind.__name__}")
        return value

    def array(self, name: str, kind: type[MetadataArray[T]]) -> Sequence[T]:
        """Empty where the file does not have it."""
        key = f"tokenizer.ggml.{name}"
        value = self.metadata.get(key, ())
        if isinstance(value, Sequence) and len(value) == 0:
            return ()
        if not isinstance(value, kind):
            raise self._wrong(key, f"is {value!r:.80}, but must be an array of {KINDS[kind]}")
        return value

    def per_token(self, name: str, kind: type[MetadataArray[T]], n_tokens: int) -> Sequence[T]:
        """Empty, or as long as the vocabulary."""
        found = self.array(name, kind)
        if found and len(found) != n_tokens:
            raise self._wrong(
                f"tokenizer.ggml.{name}", f"has {len(found):,} entries, but there are {n_tokens:,} tokens"
            )
        return found

    def bytes(self, name: str) -> bytes:
        """An array of numbers of one byte; empty where the file does not have it."""
        key = f"tokenizer.ggml.{name}"
        value = self.metadata.get(key)
        if value is None:
            return b""
        if not isinstance(value, IntegerArray) or value.element_type not in (ValueType.UINT8, ValueType.INT8):
            raise self._wrong(key, f"is {value!r:.80}, but must be an array of bytes")
        return value.data

    def token_id(self, name: str, model: str, n_tokens: int, other_name: str | None = None) -> int | None:
        """The id under one of two names; else the model's default, if the vocabulary has it."""
        names = [f"tokenizer.ggml.{key}_token_id" for key in (name, other_name) if key]
        key = next((key for key in names if key in self.metadata), None)
        if key is None:
            default = DEFAULT_IDS.get(model, {}).get(name)
            return default if default is not None and default < n_tokens else None
        value = self.metadata[key]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < n_tokens:
            raise self._wrong(key, f"is {value!r:.80}, but must be the id of one of {n_tokens:,} tokens")
        return value

    def _wrong(self, key: str, what: str) -> TokenizerError:
        return TokenizerError(f"{key} {what}, in {self.file}. The file is broken or was converted wrongly.")
