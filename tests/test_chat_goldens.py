"""Chat templates in the manner of well-known models: the prompts are those that `transformers` makes of them."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from shaderlm import template_sandbox
from shaderlm.chat import ChatTemplate
from shaderlm.errors import TemplateError

DATA = Path(__file__).parent / "data"
FILE: dict[str, Any] = json.loads((DATA / "chat_goldens.json").read_text(encoding="utf-8"))
TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((DATA / "templates").glob("*.jinja"))}


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class StandingClock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "StandingClock":
            return cls(*FILE["now"])

    monkeypatch.setattr(template_sandbox, "datetime", StandingClock)


def ours(template: ChatTemplate, chat: dict[str, Any], opened: bool) -> str:
    return template.render(
        chat["messages"], tools=chat.get("tools"), arguments=chat.get("arguments"), add_generation_prompt=opened
    )


def test_there_are_goldens_of_every_template() -> None:
    assert sorted(FILE["goldens"]) == sorted(TEMPLATES)


# What a template cannot read as it is given, and how it is given instead: transformers would fail, or print Python.
JOINED = {"in parts": ("brackets", "headers", "line", "marks", "modes", "reasoner", "schema")}
AS_MAPPING = {"call as JSON": ("brackets", "headers", "schema")}
AS_JSON = {"two calls": ("reasoner",)}


def is_changed(manner: str, name: str) -> bool:
    return any(manner in changed.get(name, ()) for changed in (JOINED, AS_MAPPING, AS_JSON))


@pytest.mark.parametrize("name", FILE["chats"])
@pytest.mark.parametrize("manner", TEMPLATES)
def test_a_prompt_is_that_of_transformers(manner: str, name: str) -> None:
    template = ChatTemplate(TEMPLATES[manner], **FILE["tokens"])
    for opened, golden in zip((True, False), FILE["goldens"][manner][name], strict=True):
        if is_changed(manner, name):
            assert ours(template, FILE["chats"][name], opened)
        elif "prompt" in golden:
            assert ours(template, FILE["chats"][name], opened) == golden["prompt"]
        else:
            with pytest.raises(TemplateError) as caught:
                ours(template, FILE["chats"][name], opened)
            refusal = f"refuses these messages: {golden.get('refusal')}"
            assert (refusal if "refusal" in golden else golden["failure"]) in str(caught.value)


@pytest.mark.parametrize("manner", JOINED["in parts"])
def test_parts_are_lines_where_a_template_reads_texts_alone(manner: str) -> None:
    chat = FILE["chats"]["in parts"]
    *before, message = chat["messages"]
    joined = {"messages": [*before, {**message, "content": "\n".join(part["text"] for part in message["content"])}]}
    template = ChatTemplate(TEMPLATES[manner], **FILE["tokens"])
    assert ours(template, chat, True) == ours(template, joined, True)


@pytest.mark.parametrize("manner", AS_MAPPING["call as JSON"])
def test_arguments_in_json_become_a_mapping_where_a_template_reads_mappings_alone(manner: str) -> None:
    prompt = ours(ChatTemplate(TEMPLATES[manner], **FILE["tokens"]), FILE["chats"]["call as JSON"], True)
    assert ('place="Köln"' if manner == "schema" else '{"place": "Köln"}') in prompt


def test_arguments_become_json_where_a_template_reads_json_alone() -> None:
    prompt = ours(ChatTemplate(TEMPLATES["reasoner"], **FILE["tokens"]), FILE["chats"]["two calls"], True)
    assert '{"place": "Köln", "days": [1, 2], "box": {"y": -1.5, "x": null}, "exact": true}' in prompt
