"""Reasoning apart from the answer: however it is cut into tokens, wherever it begins, and where it never ends."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shaderlm
from scripted_model import END, GO, TEMPLATE, scripted_model
from shaderlm.reasoning import MARKS, Marks, ReasoningSplit, is_opened, marks_of
from shaderlm.tokenizer_json import TokenType

THINK = MARKS[0]
MESSAGES = [{"role": "user", "content": "Hello"}]
SPLIT = [
    "<th",
    "ink>",
    "\n",
    "I mu",
    "se </ b",
    "ut.",
    "\n\n</",
    "thi",
    "nk>",
    "\n\n",
    "Hel",
    "lo <think> ",
    "y</th",
    "ink>ou!",
]
WHOLE = ["<think>", "\nI muse </ b", "ut.\n", "</think>", "\n\nHel", "lo <thi", "nk> y</th", "ink>ou!"]
REASONING, ANSWER = "I muse </ but.", "Hello <think> y</think>ou!"
NAMED = TEMPLATE + "{# </think> #}"  # a template that knows the marks


def split(marks: Marks, pieces: Sequence[str], *, opened: bool = False) -> tuple[str, str]:
    """All that is shown of reasoning and answer."""
    parts = ReasoningSplit(marks, opened=opened)
    shown = [parts.push(piece) for piece in pieces]
    return "".join(reasoning for reasoning, _ in shown), "".join(text for _, text in shown) + parts.flush()


def expected(marks: Marks, text: str, *, opened: bool = False) -> tuple[str, str]:
    """The whole text at once."""
    if not opened:
        if not text.lstrip().startswith(marks.begin):
            return "", text
        text = text.lstrip().removeprefix(marks.begin)
    reasoning, end, answer = text.partition(marks.end)
    if not end:  # what may have been the beginning of its end is not shown
        lengths = range(min(len(marks.end), len(text)), 0, -1)
        cut = next((n for n in lengths if marks.end.startswith(text[-n:])), 0)
        reasoning = text[: len(text) - cut]
    return reasoning.strip(), answer.lstrip()


# The split itself


SHORT = Marks("<a>", "</a>")
PIECES = st.lists(st.sampled_from(["<a>", "</a>", "<", "a", ">", "/", " ", "\n", "b", "<a", "</a", "a>"]), max_size=9)


@given(PIECES, st.booleans())
def test_the_parts_do_not_depend_on_how_the_text_is_cut(pieces: list[str], opened: bool) -> None:
    whole = expected(SHORT, "".join(pieces), opened=opened)
    assert split(SHORT, pieces, opened=opened) == whole
    assert split(SHORT, list("".join(pieces)), opened=opened) == whole


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("B\nHm.\nE\n\nYes.", "Hm.", "Yes."),
        (" \nB Hm. E Yes. ", "Hm.", "Yes. "),
        ("BHm.EYes. E B", "Hm.", "Yes. E B"),
        ("BEYes.", "", "Yes."),
        ("B\n\nE", "", ""),
        ("BHm.", "Hm.", ""),
        ("Yes. BHm.E", "", "Yes. BHm.E"),
        (" Yes.", "", " Yes."),
        ("", "", ""),
    ],
)
def test_reasoning_stands_before_the_answer(marks: Marks, text: str, reasoning: str, answer: str) -> None:
    text, answer = (t.replace("B", marks.begin).replace("E", marks.end) for t in (text, answer))
    assert split(marks, list(text)) == (reasoning, answer)


def test_the_prompt_may_have_opened_it() -> None:
    assert split(THINK, ["Hm.", "</think>", "Yes."], opened=True) == ("Hm.", "Yes.")
    assert split(THINK, ["<think>Hm."], opened=True) == ("<think>Hm.", "")
    assert is_opened("...<|assistant|><think>\n", THINK)
    assert is_opened("...<think>", THINK)
    assert not is_opened("...<think>\n\n</think>\n\n", THINK)
    assert not is_opened("What does <think> mean?<|assistant|>", THINK)


def test_marks_come_from_the_template_or_the_vocabulary() -> None:
    def nothing(mark: str) -> bool:
        return False

    assert marks_of("{{ content.split('</think>')[-1] }}", nothing) == THINK
    assert marks_of("[THINK]", nothing) == Marks("[THINK]", "[/THINK]")
    assert marks_of("", lambda mark: mark in ("<seed:think>", "</seed:think>")) == MARKS[2]
    assert marks_of("", lambda mark: mark == "<think>") is None, "a beginning without an end"
    assert marks_of("", nothing) is None


# Models


@pytest.fixture(
    scope="module", params=["several tokens", "user-defined tokens", "special tokens", "opened by the prompt"]
)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Models that reason, each with the marks of another kind."""
    path = tmp_path_factory.mktemp("reasoning") / "model.gguf"
    if request.param == "several tokens":
        scripted_model(path, SPLIT, template=NAMED)
    elif request.param == "opened by the prompt":
        scripted_model(path, SPLIT[3:], template=TEMPLATE + "{{ '<think>\\n' }}", after="\n")
    else:
        kind = TokenType.CONTROL if request.param == "special tokens" else TokenType.USER_DEFINED
        scripted_model(path, WHOLE, marks={"<think>": kind, "</think>": kind})
    with shaderlm.load(path, context=128) as loaded:
        yield loaded


def test_a_chat_returns_the_reasoning_apart(model: shaderlm.Model) -> None:
    completion = model.chat(MESSAGES, temperature=0)
    assert (completion.reasoning, completion.text) == (REASONING, ANSWER)
    assert completion.finish_reason == "stop"


def test_chunks_add_up_and_never_show_a_part_of_a_mark(model: shaderlm.Model) -> None:
    chunks = list(model.stream_chat(MESSAGES, temperature=0, logprobs=0))
    completion = chunks[-1].completion
    assert completion is not None
    assert "".join(chunk.reasoning for chunk in chunks) == completion.reasoning == REASONING
    assert "".join(chunk.text for chunk in chunks) == completion.text == ANSWER
    assert sum((chunk.tokens for chunk in chunks), ()) == completion.tokens
    shown = ""
    for chunk in chunks:
        assert not (chunk.reasoning and shown), "reasoning behind the answer"
        shown += chunk.text
    for i in range(len(chunks)):
        so_far = "".join(chunk.reasoning for chunk in chunks[:i])
        assert REASONING.startswith(so_far)
        assert not any(
            so_far.endswith(THINK.end[:n]) and not REASONING[: len(so_far) + 1].endswith(" ") for n in range(3, 8)
        )


def test_an_answer_that_ends_within_the_reasoning_has_no_text(model: shaderlm.Model) -> None:
    whole = len(model.chat(MESSAGES, temperature=0).tokens)
    for n in range(1, whole):
        completion = model.chat(MESSAGES, temperature=0, max_tokens=n)
        assert completion.finish_reason == "length"
        assert REASONING.startswith(completion.reasoning)
        assert ANSWER.startswith(completion.text) or "<think>".startswith(completion.text)
        assert not completion.reasoning.endswith(("</", "</thi", "</think>"))
        assert completion.reasoning == REASONING or completion.text in ("", "<th")


def test_a_stop_string_ends_the_answer_and_not_the_reasoning(model: shaderlm.Model) -> None:
    completion = model.chat(MESSAGES, temperature=0, stop=["muse", "but", "\n\n"])
    assert (completion.reasoning, completion.text) == (REASONING, ANSWER)
    completion = model.chat(MESSAGES, temperature=0, stop="lo")
    assert (completion.reasoning, completion.text, completion.finish_reason) == (REASONING, "Hel", "stop")


def test_without_a_chat_all_text_is_one(tmp_path: Path) -> None:
    path = scripted_model(tmp_path / "model.gguf", SPLIT, template=NAMED)
    with shaderlm.load(path, context=128) as model:
        completion = model.complete(GO, temperature=0)
    assert (completion.reasoning, completion.text) == ("", "".join(SPLIT))


def test_marks_that_neither_template_nor_vocabulary_know_are_text(tmp_path: Path) -> None:
    path = scripted_model(tmp_path / "model.gguf", SPLIT)
    with shaderlm.load(path, context=128) as model:
        completion = model.chat(MESSAGES, temperature=0)
    assert (completion.reasoning, completion.text) == ("", "".join(SPLIT))


def test_a_special_mark_that_does_not_count_is_not_shown(tmp_path: Path) -> None:
    """[/THINK] before any reasoning, and [THINK] behind the answer's beginning."""
    marks = dict.fromkeys(("[THINK]", "[/THINK]"), TokenType.CONTROL)
    path = scripted_model(tmp_path / "model.gguf", ["[/THINK]", "Yes", "[THINK]", ", no."], marks=marks)
    with shaderlm.load(path, context=128) as model:
        completion = model.chat(MESSAGES, temperature=0)
    assert (completion.reasoning, completion.text) == ("", "Yes, no.")


def test_a_full_context_keeps_what_was_reasoned(tmp_path: Path) -> None:
    path = scripted_model(tmp_path / "model.gguf", SPLIT, template=NAMED)
    with shaderlm.load(path, context=20) as model:
        with pytest.raises(shaderlm.errors.ContextFull) as caught:
            model.chat(MESSAGES, temperature=0)
    assert isinstance(caught.value.partial, shaderlm.Completion)
    assert caught.value.partial.reasoning
    assert REASONING.startswith(caught.value.partial.reasoning)


# Ends of turns


@pytest.mark.parametrize("n", [1, 2, 3])
def test_each_of_several_end_tokens_ends_an_answer(tmp_path: Path, n: int) -> None:
    """Those that the metadata name: of text, of turn, of message."""
    ends = ["<|text|>", "<|turn|>", "<|message|>"]
    ends = [*ends[n:], *ends[:n]]
    with shaderlm.load(scripted_model(tmp_path / "model.gguf", ["Yes", "."], ends=ends), context=64) as model:
        completion = model.chat(MESSAGES, temperature=0)
    assert (completion.text, completion.finish_reason) == ("Yes.", "stop")


@pytest.mark.parametrize("mark", ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", END])
def test_a_known_mark_ends_an_answer_that_the_file_does_not_name(tmp_path: Path, mark: str) -> None:
    marks = {mark: TokenType.CONTROL}
    path = scripted_model(tmp_path / "model.gguf", ["Yes", ".", mark, "No"], marks=marks, ends=["<|text|>"])
    with shaderlm.load(path, context=64) as model:
        assert model.tokenizer.eos_ids == (0, 2)
        completion = model.chat(MESSAGES, temperature=0)
    assert (completion.text, completion.finish_reason) == ("Yes.", "stop")
