"""Write which pre-tokenizers llama.cpp knows, and by which regexes each cuts a text into words.

    python tests/data/make_pre_tokenizers.py LLAMA_CPP

reads src/llama-vocab.cpp of the checkout LLAMA_CPP and writes, beside this file, pre_tokenizers.json: under "types" the
regexes of each type as they stand there, and whether its words are spelled in bytes; under "names" the type of each
name that `tokenizer.ggml.pre` can have, and the flags that it sets.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
PREFIX = "LLAMA_VOCAB_PRE_TYPE_"
FLAGS = ("ignore_merges", "add_bos", "add_sep", "clean_spaces", "escape_whitespaces")
DEFAULTS = {"clean_spaces": True}  # set for every byte BPE before the name is looked at
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def main() -> None:
    checkout = Path(sys.argv[1])
    source = (checkout / "src/llama-vocab.cpp").read_text(encoding="utf-8")
    facts = {"version": version(checkout), "types": types(source), "names": names(source)}
    text = json.dumps(facts, indent=1, sort_keys=True)
    (HERE / "pre_tokenizers.json").write_text(text + "\n", encoding="utf-8")


def version(checkout: Path) -> str:
    """llama.cpp's version, "0.5.0"."""
    settings = (checkout / "CMakeLists.txt").read_text(encoding="utf-8")
    return ".".join(re.search(rf"LLAMA_VERSION_{part} (\d+)", settings)[1] for part in ("MAJOR", "MINOR", "PATCH"))


def types(source: str) -> dict[str, object]:
    """Regexes of each type: the `switch` of the byte BPE, whose last case is the default."""
    start = source.index("switch (vocab.get_pre_type())")
    found: dict[str, object] = {}
    labels: list[str] = []
    for line in without_comments(source[start : source.index("std::vector<std::string> regex_exprs;", start)]):
        label = re.search(rf"case {PREFIX}(\w+):", line)
        if label or "default:" in line:
            labels.append(label[1] if label else "DEFAULT")
            case: dict[str, object] = {"regexes": [], "byte_encode": True}
        elif "byte_encode = false" in line:
            case["byte_encode"] = False
        elif "break;" in line:
            found |= dict.fromkeys(labels, case)
            labels = []
        elif labels:
            case["regexes"] += strings(line)
    return found


def names(source: str) -> dict[str, object]:
    """Type and flags of each name: the chain of `if` that compares `tokenizer_pre`."""
    start = source.index('tokenizer_pre == "default"')
    chain = source[start : source.index("unknown pre-tokenizer type", start)]
    found: dict[str, object] = {}
    for branch in chain.split("else if"):
        flags = {name: DEFAULTS.get(name, False) for name in FLAGS}
        flags |= {
            name: value == "true" for name, value in re.findall(r"(\w+) = (true|false);", branch) if name in FLAGS
        }
        row = {"type": re.search(rf"pre_type = {PREFIX}(\w+)", branch)[1], **flags}
        found |= dict.fromkeys(re.findall(r'tokenizer_pre == "([^"]+)"', branch), row)
    return found


def without_comments(source: str) -> list[str]:
    return [line for line in source.splitlines() if not line.strip().startswith("//")]


def strings(line: str) -> list[str]:
    """The string literals of a line of C++."""
    literals = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    return [re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), literal) for literal in literals]


if __name__ == "__main__":
    main()
