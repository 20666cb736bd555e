"""The table of pre-tokenizers: complete, and each row cuts words as llama.cpp's own regexes say."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import regex
from tokenizers import Tokenizer

from chromium import running_chromium
from shaderlm.formats.gguf_tokenizer import ALWAYS_BOS, BEGINS_WITH_BOS
from shaderlm.hosts.native.codec import NativeCodec
from shaderlm.tokenizer_json import tokenizer_json
from shaderlm.tokenizer_json.pre_tokenizers import PRE_TOKENIZERS, PreTokenizer
from vocabularies import byte_level, pieced_together, settled, varied_strings

HERE = Path(__file__).parent
FACTS = json.loads((HERE / "data/pre_tokenizers.json").read_text(encoding="utf-8"))
NAMES, TYPES = FACTS["names"], FACTS["types"]

PAGE = HERE.parent / "docs/tokenizers.md"

# Two of its regexes only name a function of its own. This is what the comments beside them say that these do.
FUNCTIONS = {
    r"\p{AFMoE_digits}": r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
    r"\p{Han}+": (
        r"(?V1)[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
SPACES = [" " * n + end for n in (*range(40), 127, 128, 255, 257, 511, 513, 1024) for end in ("", "x", "\n")]
TEXTS = [
    *map(settled, varied_strings(200, seed=5)),
    *pieced_together(400, seed=6),
    *SPACES,
    *("7" * n for n in range(1, 20)),
    "a" + " " * 600 + "b",
]
ROWS = {row.patterns: name for name, row in PRE_TOKENIZERS.items()}  # one name for each way to cut


def words(text: str, patterns: list[str]) -> list[str]:
    """Cut by each pattern in turn, by an engine that has nothing to do with ours."""
    parts = [text]
    for pattern in patterns:
        compiled = regex.compile(FUNCTIONS.get(pattern, pattern))
        parts = [word for part in parts for word in _cut(part, compiled)]
    return parts


def _cut(text: str, pattern: regex.Pattern[str]) -> Iterator[str]:
    at = 0
    for match in pattern.finditer(text):
        yield from filter(None, (text[at : match.start()], match[0]))
        at = match.end()
    yield from filter(None, [text[at:]])


def our_words(row: PreTokenizer, name: str) -> Tokenizer:
    definition = tokenizer_json(byte_level(pre=name))
    before_bytes = definition["pre_tokenizer"]["pretokenizers"][: len(row.patterns)]
    definition["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": before_bytes}
    return NativeCodec(definition)._library.pre_tokenizer


def test_the_table_has_every_name_with_its_flags() -> None:
    assert set(PRE_TOKENIZERS) == set(NAMES)
    for name, row in PRE_TOKENIZERS.items():
        facts = NAMES[name]
        assert (row.ignore_merges, row.clean_up) == (facts["ignore_merges"], facts["clean_spaces"]), name
        assert row.byte_level == TYPES[facts["type"]]["byte_encode"], name
        assert (not row.byte_level and not row.drops_spaces) == facts["escape_whitespaces"], name


def test_the_page_of_documentation_has_every_name_with_its_flags() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = page[page.index("| `default` |") :]
    rows = re.findall(r"^\| (`[^|]*)\|[^|]*\|([ a-z,]*)\|$", table, re.MULTILINE)
    told = {name: flags for names, flags in rows for name in re.findall("`(.*?)`", names)}
    assert sum(len(re.findall("`(.*?)`", names)) for names, _ in rows) == len(told) == len(PRE_TOKENIZERS)
    for name, row in PRE_TOKENIZERS.items():
        assert ("whole" in told[name], "clean" in told[name]) == (row.ignore_merges, row.clean_up), name
    assert f"llama.cpp {FACTS['version']}" in page


def test_the_models_that_want_bos_are_those_of_llama_cpp() -> None:
    assert {name for name, facts in NAMES.items() if facts["add_bos"]} == BEGINS_WITH_BOS
    assert {name for name, facts in NAMES.items() if facts["type"] == "GEMMA4"} == ALWAYS_BOS


def test_the_table_says_which_llama_cpp_it_is_from() -> None:
    source = (HERE.parent / "runtime/tokenizer_json/pre_tokenizers.py").read_text(encoding="utf-8")
    assert f"llama.cpp {FACTS['version']} " in source


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_words_are_cut_by_llama_cpps_regexes(name: str) -> None:
    row = PRE_TOKENIZERS[name]
    ours, patterns = our_words(row, name), TYPES[NAMES[name]["type"]]["regexes"]
    texts = TEXTS if ROWS[row.patterns] == name else TEXTS[:: len(TEXTS) // 20]  # names of one row are cut alike
    for text in texts:
        expected = words(text, patterns)
        if row.drops_spaces:
            expected = [word for word in expected if regex.search(r"\S", word)]
        assert [word for word, _ in ours.pre_tokenize_str(text)] == expected, repr(text)


def test_javascript_cuts_the_same_words() -> None:
    """Its regexes with the `u` flag, run as the library for browsers runs them: matches, and what lies between."""
    texts = [text for text in TEXTS[::7] if text]
    rows = [{"patterns": patterns, "drop": PRE_TOKENIZERS[name].drops_spaces} for patterns, name in ROWS.items()]
    with running_chromium() as browser:
        found = browser.evaluate(CUT, {"rows.json": json.dumps({"rows": rows, "texts": texts}).encode()})
    for (_, name), cut in zip(ROWS.items(), found, strict=True):
        ours = our_words(PRE_TOKENIZERS[name], name)
        assert [[word for word, _ in ours.pre_tokenize_str(text)] for text in texts] == cut, name


CUT = """async () => {
  const { rows, texts } = await (await fetch("rows.json")).json();
  const cut = (text, pattern, drop) => {
    const found = [];
    let at = 0;
    for (const match of text.matchAll(pattern)) {
      found.push(text.slice(at, match.index), drop ? "" : match[0]);
      at = match.index + match[0].length;
    }
    return [...found, text.slice(at)].filter((word) => word);
  };
  return rows.map(({ patterns, drop }) => {
    const compiled = patterns.map((pattern) => new RegExp(pattern, "gu"));
    const words = (text) => compiled.reduce((parts, p) => parts.flatMap((part) => cut(part, p, drop)), [text]);
    return texts.map(words);
  });
}"""


def test_no_pattern_leaves_to_the_engines_what_they_disagree_on() -> None:
    for patterns, name in ROWS.items():
        for pattern in patterns:
            rest = pattern.replace(r"[\s\S]", "")
            assert not re.search(r"\\[sSdDwWbBAZzh]", rest), f"{name}: {rest}"


LONG = ["a", "A", " ", "\n", "1", "!", "½", "e\u0301", "中", " a", "aA1½", "\r\n"]


@pytest.mark.parametrize("name", ROWS.values())
def test_long_runs_do_not_take_the_square_of_their_length(name: str) -> None:
    ours, started = our_words(PRE_TOKENIZERS[name], name), time.monotonic()
    for unit in LONG:
        text = "中" + (unit * 10_000)[:10_000] + "a"
        found = "".join(word for word, _ in ours.pre_tokenize_str(text))
        assert found == text or PRE_TOKENIZERS[name].drops_spaces
    assert time.monotonic() - started < 10  # the square would take a minute; this takes a quarter of a second


def test_groups_of_three_are_counted_from_the_end() -> None:
    texts = {"1234567": ["1", "234", "567"], "12": ["12"], "123": ["123"], "1234 12": ["1", "234", " ", "12"]}
    for name in ("tiny_aya", "cohere2moe", "afmoe"):
        ours = our_words(PRE_TOKENIZERS[name], name)
        for text, expected in texts.items():
            assert [word for word, _ in ours.pre_tokenize_str(text)] == expected, name


def test_superbpe_joins_words_and_cuts_numbers() -> None:
    ours = our_words(PRE_TOKENIZERS["superbpe"], "superbpe")
    assert [word for word, _ in ours.pre_tokenize_str("by the way 1234")] == ["by the way ", "1", "234"]
