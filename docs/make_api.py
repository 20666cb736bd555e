"""Writes docs/python-api.md out of the docstrings and comments of what is public: `python docs/make_api.py`."""

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

from shaderlm.sampling import RANGES

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = ROOT / "runtime"
PAGE = ROOT / "docs" / "python-api.md"
WIDTH = 100  # of a signature, before it is broken

LOADING = ("load", "load_async", "load_tokenizer", "load_tokenizer_async", "inspect", "inspect_async")
REPORT = ("Inspection", "TypeShare", "TokenizerSummary", "MemorySummary", "AdapterSummary")
HEAD = """\
# Python API

<!-- Written by docs/make_api.py out of the source: change it there. -->

`import shaderlm` gives what stands here; errors are in `shaderlm.errors`. Importing it imports no GPU library: what
needs one gets it when it is used.

```python
import shaderlm

with shaderlm.load("smollm2", context=1024) as model:
    answer = model.chat([{"role": "user", "content": "Name three colours."}], max_tokens=60, temperature=0)
    print(answer.text, answer.finish_reason, answer.usage)

    for chunk in model.stream("The capital of France is", max_tokens=20, logprobs=3):
        print(chunk.text, end="", flush=True)

    logits = model.logits("Hello")  # numpy, float32 [tokens, vocab]
```

Types in the signatures: a `Source` is a path or a name, as [models](models.md) has them (`str` or `os.PathLike`), a
`Prompt` a text or token ids (`str | Sequence[int]`), a `Message` a mapping with `"role"` and `"content"`, a `KvDtype`
"f16" or "f32". Callbacks for progress take two numbers, what is done and what there is in all, and run on the model's
own thread, where they may cancel and close the model, but not ask it for anything.
"""

ENDS = """\
An answer ends with `finish_reason` "stop" at an end token or a stop string, "length" after `max_tokens`, "cancelled"
when `cancel()` or `close()` was called. Closing its iterator or cancelling its task ends it too. A context that fills
up before that raises `ContextFull`, whose `partial` is the Completion so far.

```python
import shaderlm
from shaderlm.errors import ContextFull

with shaderlm.load("smollm2", context=64) as model:
    try:
        answer = model.complete("Once upon a time", temperature=0)
    except ContextFull as full:
        answer = full.partial
    print(len(answer.tokens), answer.text)
```
"""


CHATS = """\
[Chat](chat.md) tells about roles, tools, reasoning, and what chat templates may do.
"""


def page() -> str:
    """The whole page."""
    api = _module("api")
    parts = [HEAD, "## Loading\n"]
    parts += [_function(_named(api, name), "###", "shaderlm.") for name in LOADING]
    models = _module("model")
    model = _named(models, "Model")
    shared = [f for f in _methods(_named(models, "_Loaded")) if f.name != "_stream"]
    own = _methods(model)
    parts += [f"## Model\n\n{_doc(model)}\n", _properties(shared)]
    parts += [_function(f, "###", "model.") for f in [*own, *shared] if not _is_property(f)]
    parts += [f"## AsyncModel\n\n{_doc(_named(models, 'AsyncModel'))}\n", ASYNC]
    parts += [f"## Options\n\n{_doc(_named(_module('options'), 'Options'))}\n", _options(), ENDS]
    parts += [_fields("options", "ChatOptions"), CHATS, "## Results\n"]
    results = ("Completion", "Chunk", "TokenLogprobs", "Usage", "Timings", "Provenance")
    parts += [_fields("generation", name) for name in results]
    parts += [_fields("planner/choice", "KernelChoice")]
    parts += [_fields("planner/tuned", name) for name in ("Tuned", "LinearShape")]
    parts += ["## Reports\n", *(_fields("inspection", name) for name in REPORT)]
    tokenizer = _named(_module("tokenizer"), "Tokenizer")
    parts += [f"## Tokenizer\n\n{_doc(tokenizer)}\n"]
    parts += [_function(f, "###", "tokenizer.") for f in _methods(tokenizer) if f.name in ("encode", "decode")]
    parts += ["## Errors\n", _errors()]
    return "\n".join(parts)


ASYNC = """\
`complete`, `chat`, `logits` and `close` are coroutines; `stream` and `stream_chat` give asynchronous iterators.

```python
import asyncio
import shaderlm


async def main():
    async with await shaderlm.load_async("smollm2", context=512) as model:
        answers = await asyncio.gather(*(model.complete(text, max_tokens=8) for text in ("One", "Two")))
        async for chunk in model.stream("Three", max_tokens=8):
            print(chunk.text, end="", flush=True)


asyncio.run(main())
```
"""


def _module(name: str) -> ast.Module:
    return ast.parse((RUNTIME / f"{name}.py").read_text(encoding="utf-8"))


def _named(module: ast.Module, name: str) -> ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return next(node for node in module.body if isinstance(node, kinds) and node.name == name)


def _methods(node: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Public ones, in the order of the source."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [f for f in ast.iter_child_nodes(node) if isinstance(f, kinds) and not f.name.startswith("_")]


def _is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "property" for d in function.decorator_list)


def _doc(node: ast.AST) -> str:
    text = ast.get_docstring(node)  # type: ignore[arg-type]
    assert text, f"{ast.dump(node)[:80]} has no docstring"
    return text


def _function(function: ast.AST, heading: str, prefix: str) -> str:
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    signature, text = _signature(function), _paragraphs(_doc(function))
    return f"{heading} `{prefix}{function.name}`\n\n```text\n{signature}\n```\n\n{text}\n"


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    arguments = ast.unparse(function.args).removeprefix("self, ").removeprefix("self")
    arguments = (
        arguments.replace("Unpack[ChatOptions]", "Unpack[Options]")
        .replace("**options: Unpack[Options]", "**options")
        .replace("'", '"')
        .replace("=", " = ")
    )
    start = ("async " if isinstance(function, ast.AsyncFunctionDef) else "") + function.name
    returns = ast.unparse(function.returns).strip("'") if function.returns else "None"
    line = f"{start}({arguments}) -> {returns}"
    if len(line) <= WIDTH:
        return line
    broken = ",\n".join(textwrap.indent(part, "    ") for part in _split(arguments))
    return f"{start}(\n{broken},\n) -> {returns}"


def _split(arguments: str) -> Iterator[str]:
    """At commas outside brackets."""
    depth, start = 0, 0
    for i, character in enumerate(arguments):
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            yield arguments[start:i].strip()
            start = i + 1
    yield arguments[start:].strip()


def _paragraphs(doc: str) -> str:
    """Lines that begin with an argument's name become a list."""
    blocks = []
    for block in doc.split("\n\n"):
        lines = block.splitlines()
        if all(line.startswith(" ") or ": " in line for line in lines) and ": " in lines[0].split(" ", 1)[0] + " ":
            lines = [f"- `{line.split(': ', 1)[0]}`: {line.split(': ', 1)[1]}" for line in lines]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _properties(functions: list[ast.FunctionDef | ast.AsyncFunctionDef]) -> str:
    rows = [
        f"| `{f.name}` | `{_cell(ast.unparse(f.returns))}` | {_cell(_doc(f))} |"
        for f in functions
        if _is_property(f) and f.returns
    ]
    return "\n".join(["| Property | Type | What it is |", "|---|---|---|", *rows, ""])


def _fields(module: str, name: str) -> str:
    rows = [
        f"| `{field}` | `{_cell(kind)}` | {_cell(note)} |" for field, kind, _, note in _annotated(module, name)
    ]  # fmt: skip
    return "\n".join(
        [
            f"### {name}\n",
            _doc(_named(_module(module), name)),
            "",
            "| Field | Type | What it is |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _options() -> str:
    sampling = {field: (default, note) for field, _, default, note in _annotated("sampling", "Sampling")}
    request = {field: default for field, _, default, _ in _annotated("generation", "Request")}
    rows = []
    for field, kind, _, note in _annotated("options", "Options"):
        default, explained = sampling.get(field, (request.get(field, ""), note))
        default = {"field(default_factory=dict, hash=False)": "none", "()": "none"}.get(default, f"`{default}`")
        values = str(RANGES[field]) if field in RANGES else f"`{kind}`"
        rows.append(f"| `{field}` | {default.replace(chr(39), chr(34))} | {_cell(values)} | {_cell(explained)} |")
    return "\n".join(["| Option | Default | Values | What it does |", "|---|---|---|---|", *rows, ""])


def _annotated(module: str, name: str) -> Iterator[tuple[str, str, str, str]]:
    """(name, type, default, the comment behind it) of a class's fields."""
    lines = (RUNTIME / f"{module}.py").read_text(encoding="utf-8").splitlines()
    for node in ast.iter_child_nodes(_named(_module(module), name)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            _, _, note = lines[(node.end_lineno or 0) - 1].partition("  # ")
            default = ast.unparse(node.value) if node.value else ""
            yield node.target.id, ast.unparse(node.annotation).strip("'").replace("'", '"'), default, note


def _errors() -> str:
    classes = [node for node in _module("errors").body if isinstance(node, ast.ClassDef)]
    rows = [f"| `{node.name}` | `{ast.unparse(node.bases[0])}` | {_cell(_doc(node))} |" for node in classes]
    return "\n".join(["| Error | Is also a | What was wrong |", "|---|---|---|", *rows, ""])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
