"""How a BPE cuts a text into words before it merges: a row for each name that `tokenizer.ggml.pre` can have.

Names, regexes and flags are those of llama.cpp 0.5.0 (src/llama-vocab.cpp): tests/data/make_pre_tokenizers.py takes
them from there, and the tests hold every row against them. The regexes are spelled so that both engines that run them,
Oniguruma and JavaScript's with the `u` flag, give the same: white space is written out, because they disagree on what
`\\s` is; a boundary, `$` and `\\d` likewise. Where llama.cpp replaces a regex by a function of its own that does
something else, the regex counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PreTokenizer:
    """Cuts a text by each pattern in turn; matches and what lies between them alike become words."""

    patterns: tuple[str, ...]
    ignore_merges: bool = False  # a word that is itself a token is taken whole
    clean_up: bool = True  # the model's own detokenizer takes out the spaces before marks and contractions
    byte_level: bool = True  # words are spelled in bytes; else in characters, a space as U+2581, a byte as <0x0A>
    whole_newlines: bool = False  # a run of line feeds that is a token is taken whole, whatever the merges
    drops_spaces: bool = False  # what the patterns match is left out


SPACE = r"\t-\r \u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000"  # what \s means, inside of brackets
END = r"(?![\s\S])"
START = r"(?<![\s\S])"

# Parts of the rows

_CONTRACTION = "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"  # with the mark or space in front of it
_MARKS = rf" ?[^{SPACE}\p{{L}}\p{{N}}]+"  # neither space, letter nor number
_LINES = rf"[{SPACE}]*[\r\n]+"
_SPACES = rf"[{SPACE}]+(?![^{SPACE}])|[{SPACE}]+"  # the last space before a word stays with the word
_GPT2 = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+|{_MARKS}|{_SPACES}"


def _words(numbers: str, *, contraction: str = _CONTRACTION, word: str = _WORD, lines: str = _LINES) -> str:
    """The kind of regex that began with GPT-4."""
    return "|".join(part for part in (contraction, word, numbers, rf"{_MARKS}[\r\n]*", lines, _SPACES) if part)


_LLAMA3 = _words(r"\p{N}{1,3}")
_QWEN2 = _words(r"\p{N}")
_QWEN35 = "|".join(
    (
        _CONTRACTION,
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
        r"\p{N}",
        rf" ?[^{SPACE}\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*",
        _LINES,
        _SPACES,
    )
)
_POWERS_OF_TWO = "|".join(rf"[{SPACE}]{{{count}}}(?![^{SPACE}])" for count in (512, 256, 128, 64, 32, 16, 8, 4, "1,2"))
_JAIS2 = "|".join((_CONTRACTION, _WORD, r"\p{N}{1,3}", rf"{_MARKS}[\r\n]*", _LINES, _POWERS_OF_TWO, rf"[{SPACE}]"))
_SEED = "|".join((_CONTRACTION, _WORD, r"\p{N}", rf" ?[^{SPACE}\p{{L}}\p{{N}}\r\n]+", _LINES, _SPACES))
_BAILING = _words(r"\p{N}", contraction="'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])", lines=rf"[{SPACE}]*[\r\n]")
_EXAONE_MOE = "|".join(  # several words with single spaces between them are one
    (
        _CONTRACTION,
        r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+",
        r"\p{N}",
        rf"{_MARKS}[\r\n/]?",
        rf"[{SPACE}]*[\r\n]",
        _SPACES,
    )
)


def _cased(upper: str, lower: str, numbers: str, *, contraction: str = "", slash: str = "/") -> str:
    """The kind that began with GPT-4o: a word ends where lower case turns to upper. `upper` and `lower` overlap."""
    ending = f"(?:{contraction})?" if contraction else ""
    lead = r"[^\r\n\p{L}\p{N}]?"
    words = (f"{lead}{upper}*{lower}+{ending}", f"{lead}{upper}+{lower}*{ending}")
    return "|".join((*words, numbers, rf"{_MARKS}[\r\n{slash}]*", _LINES, _SPACES))


_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_NOT_A_TO_Z_SMALL, _NOT_A_TO_Z_LARGE = r"[^\P{L}a-z]", r"[^\P{L}A-Z]"  # letters but for those
_TEKKEN = _cased(_NOT_A_TO_Z_SMALL, _NOT_A_TO_Z_LARGE, r"\p{N}")
_GPT4O = _cased(_NOT_A_TO_Z_SMALL, _NOT_A_TO_Z_LARGE, r"\p{N}{1,3}", contraction=_CONTRACTION)
_GRANITE = _cased(
    rf"(?:{_NOT_A_TO_Z_SMALL}|\p{{M}})", rf"(?:{_NOT_A_TO_Z_LARGE}|\p{{M}})", r"\p{N}{1,3}", contraction=_CONTRACTION
)
_YOUTU = _cased(_UPPER, _LOWER, r"\p{N}", contraction=_CONTRACTION)
_AYA = _cased(_UPPER, _LOWER, r"\p{N}{1,3}", contraction=_CONTRACTION)

_HAN = (
    "\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufa6d\ufa70-\ufad9\U00016fe2\U00016fe3\U00016ff0\U00016ff1\U00020000-\U0002a6df\U0002a700-\U0002b739"
    "\U0002b740-\U0002b81d\U0002b820-\U0002cea1\U0002ceb0-\U0002ebe0\U0002ebf0-\U0002ee5d\U0002f800-\U0002fa1d"
    "\U00030000-\U0003134a\U00031350-\U000323af"
)
_KIMI = f"[{_HAN}]+|" + _cased(  # llama.cpp runs a function here; this is the regex that it says it stands for
    f"(?:(?![{_HAN}]){_UPPER})", f"(?:(?![{_HAN}]){_LOWER})", r"\p{N}{1,3}", contraction=_CONTRACTION, slash=""
)

_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_CHINESE_AND_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
    rf"|{_LINES}|{_SPACES}"
)
_SPARK = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]"""
    rf"|{_SPACES}"
)
_CASED_LETTERS = (  # those that DeepSeek lists: scripts with upper and lower case
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376"
    "\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556"
    "\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a"
    "\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"
    "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"
    "\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f"
    "\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b"
    "\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    "\U000118a0-\U000118df\U0001e900-\U0001e943"
)
_ASIAN_SCRIPTS = (
    "[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f"
    "\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
)
_SENTENCE_PART = f" ?[^({SPACE}|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"


def _head_of_threes(digit: str) -> str:
    """The one or two digits in front, where the rest of a word, all digits, makes groups of three."""
    return rf"{START}{digit}{{1,2}}(?=(?:{digit}{{3}})+{END})"


_WORD_CHARACTER = r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]"
_WHOLE_NUMBER = rf"(?<!\p{{Nd}})\p{{Nd}}+(?!{_WORD_CHARACTER})"  # one that ends at a boundary
# The start of each group of three counted from the end of a number. Bounded, as it looks to the end from every digit.
_NUMBER, _BEFORE_THREES = r"\p{N}{1,999}", r"\p{N}+?(?=(?:\p{Nd}{3})+(?!\p{Nd}))"


def _rows(names: str, *patterns: str, clean_up: bool = False, **flags: bool) -> dict[str, PreTokenizer]:
    return dict.fromkeys(names.split(), PreTokenizer(patterns, clean_up=clean_up, **flags))


PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    **_rows("default", r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]", clean_up=True),
    **_rows(
        "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe gigachat a.x-4.0 mellum "
        "modern-bert exaone4 mpt olmo jais",
        _GPT2,
        clean_up=True,
    ),
    **_rows("trillion granite-docling", _GPT2),
    **_rows("starcoder refact codeshell exaone minerva-7b mellum2", r"\p{N}", _GPT2, clean_up=True),
    **_rows("smollm command-r", r"\p{N}", _GPT2),
    **_rows("falcon", r"[\p{P}$+<=>^~|`]+", _GPT2, "[0-9][0-9][0-9]", clean_up=True),
    **_rows(
        "chameleon",
        "<sentinel:[0-9]+>",
        "IMGIMG[A-I]{1,4}Z",
        r"[\t\n]|    |  ",
        r"\p{N}",
        r"[\p{P}!-/:-@\[-`{-~]",
        _GPT2,
    ),
    **_rows(
        "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano glm4 glm5",
        _LLAMA3,
        clean_up=True,
        ignore_merges=True,
    ),
    **_rows("dbrx smaug-bpe chatglm-bpe", _LLAMA3, clean_up=True),
    **_rows("minicpm5", r"\p{N}{1,3}", _words(r"\p{N}+"), clean_up=True, ignore_merges=True),
    **_rows("jais-2", _JAIS2, clean_up=True),
    **_rows("qwen2 deepseek-r1-qwen kormo f2llmv2 hunyuan solar-open grok-2", _QWEN2),
    **_rows("stablelm2 megrez", _QWEN2, clean_up=True),
    **_rows("laguna", r"[^\n]+|\n+", _QWEN2),
    **_rows("qwen35", _QWEN35),
    **_rows("ufakzeka", _words(r"\p{N}", contraction="")),
    **_rows("seed-coder", _SEED),
    **_rows("bailingmoe bailingmoe2 llada-moe", _BAILING),
    **_rows("exaone-moe", _EXAONE_MOE, clean_up=True),
    **_rows("tekken", _TEKKEN, ignore_merges=True),
    **_rows("gpt-4o llama4 kanana2 talkie minimax-m2", _GPT4O),
    **_rows("granite-embed-multi-97m", _GRANITE, ignore_merges=True),
    **_rows("tiny_aya cohere2moe", _WHOLE_NUMBER, _head_of_threes(r"\p{Nd}"), _AYA),
    **_rows("kimi-k2", _KIMI),
    **_rows(
        "youtu",
        "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f"
        f"\ufe30-\ufe4f]+|[\u3105-\u312f]+|{_CHINESE_AND_KANA}",
        _YOUTU,
        ignore_merges=True,
    ),
    **_rows(
        "deepseek-llm",
        r"[\r\n]",
        f"[{SPACE}]?[{_CASED_LETTERS}]+",
        f"[{SPACE}]?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
        f"(?<![{SPACE}])[{SPACE}]+{END}",
        _CJK,
        r"\p{N}+",
    ),
    **_rows("deepseek-coder", r"[\r\n]", rf"[{SPACE}]?\p{{L}}+", rf"[{SPACE}]?\p{{P}}+", _CJK, r"\p{N}"),
    **_rows("deepseek-v3 hunyuan-dense joyai-llm hy_v4", r"\p{N}{1,3}", _CHINESE_AND_KANA, _DEEPSEEK3),
    **_rows("spark2_5", r"\p{N}{1,3}", _CHINESE_AND_KANA, _SPARK, r"\p{N}"),
    **_rows("afmoe", r"\p{N}+", _head_of_threes(r"\p{N}"), r"\p{N}{3}", _ASIAN_SCRIPTS, _DEEPSEEK3),
    **_rows("superbpe", _NUMBER, _BEFORE_THREES),
    **_rows("poro-chat", _SENTENCE_PART),
    **_rows("bloom gpt3-finnish", _SENTENCE_PART, clean_up=True),
    **_rows("viking", _SENTENCE_PART, r"\p{N}"),
    **_rows("gemma4 granite-embed-multi-311m", r"[^\n]+|\n+", clean_up=True, byte_level=False, whole_newlines=True),
    **_rows("sarvam-moe", r"[^\n]+|\n+", byte_level=False),
    **_rows("whitespace", f"[{SPACE}]+", clean_up=True, byte_level=False, drops_spaces=True),
}
