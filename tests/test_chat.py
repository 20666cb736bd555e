"""Chat templates: prompts as the models' makers meant them, and templates that mean harm."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from shaderlm.chat import LENGTH_LIMIT, ChatTemplate
from shaderlm.errors import InvalidOption, TemplateError
from tiny_model import TINY, goldens
from vocabularies import data_of

HELLO = [{"role": "user", "content": "Hello!"}]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Bye"},
]
CHATML = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""


def rendered(source: str, messages: Any = HELLO, **options: Any) -> str:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>").render(messages, **options)


def test_chatml() -> None:
    assert rendered(CHATML, TALK) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    )
    assert rendered(CHATML, add_generation_prompt=False) == "<|im_start|>user\nHello!<|im_end|>\n"


def test_smollm2_gets_its_own_system_message(smollm2: Path) -> None:
    template = ChatTemplate(data_of(smollm2).chat_template)
    assert template.render(HELLO) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_tiny_models_prompts_are_those_of_transformers() -> None:
    template = ChatTemplate(data_of(TINY).chat_template)
    chats = [golden for golden in goldens().values() if golden.messages]
    assert chats
    assert [template.render(golden.messages) for golden in chats] == [golden.prompt for golden in chats]


def test_what_else_a_message_holds_reaches_the_template() -> None:
    assert rendered("{{ messages[0].name }}", [{**HELLO[0], "name": "Ann"}]) == "Ann"


def test_tools_and_arguments_reach_the_template() -> None:
    source = "{{ tools[0].function.name }} {{ enable_thinking }} {{ documents[0].text }} {{ bos_token }}"
    template = ChatTemplate(source, bos_token="<s>")
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    arguments = {"enable_thinking": False, "documents": [{"text": "Once"}], "bos_token": "<b>"}
    assert template.render(HELLO, tools=tools, arguments=arguments) == "look False Once <b>"
    assert ChatTemplate("{{ tools is none }}").render(HELLO, tools=[]) == "True"
    with pytest.raises(InvalidOption, match=r"^tools\[0\]: must be a mapping"):
        template.render(HELLO, tools=["look"])  # type: ignore[list-item]
    with pytest.raises(InvalidOption, match=r"^chat_template_kwargs: messages is nothing"):
        template.render(HELLO, arguments={"messages": []})


EITHER = """\
{%- for m in messages %}
    {%- if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endif %}
{%- endfor %}"""
PARTS = [{"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "you!"}]}]


@pytest.mark.parametrize(
    ("source", "of_text", "of_parts"),
    [
        (CHATML, "<|im_start|>user\nHello!<|im_end|>\n", "<|im_start|>user\nHello\nyou!<|im_end|>\n"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "Hello!", "Hello\nyou!"),
        (
            "{% for m in messages %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endfor %}",
            "[Hello!]",
            "[Hello][you!]",
        ),
        (EITHER, "Hello!", "[Hello][you!]"),
        (
            "{{ messages | tojson }}",
            '[{"role": "user", "content": "Hello!"}]',
            '[{"role": "user", "content": "Hello\\nyou!"}]',
        ),
    ],
)
def test_contents_reach_a_template_in_the_form_that_it_reads(source: str, of_text: str, of_parts: str) -> None:
    assert rendered(source, HELLO, add_generation_prompt=False) == of_text
    assert rendered(source, PARTS, add_generation_prompt=False) == of_parts


@pytest.mark.parametrize(
    ("source", "of_json", "of_mapping", "of_no_json"),
    [
        ("{{ f.arguments | tojson }}", '{"at": "it"}', '{"at": "it"}', '"it"'),
        ("{{ f.arguments + '' }}", '{"at":  "it"}', '{"at": "it"}', "it"),
        ("{{ f.arguments if f.arguments is string else f.arguments | tojson }}", '{"at":  "it"}', '{"at": "it"}', "it"),
        ("{{ f.arguments }}", '{"at":  "it"}', "{'at': 'it'}", "it"),
        (
            "{% for k, v in f.arguments | items %}{{ k }}={{ v }}{% endfor %}",
            "at=it",
            "at=it",
            "Can only get item pairs",
        ),
        ("{{ f.name }}", "look", "look", "look"),
    ],
)
def test_arguments_of_calls_reach_a_template_in_the_form_that_it_reads(
    source: str, of_json: str, of_mapping: str, of_no_json: str
) -> None:
    source = (
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}{% set f = c.function %}"
        + source
        + "{% endfor %}{% endfor %}"
    )
    for arguments, prompt in (('{"at":  "it"}', of_json), ({"at": "it"}, of_mapping), ("it", of_no_json)):
        call = {"type": "function", "function": {"name": "look", "arguments": arguments}}
        try:
            found = rendered(source, [{"role": "assistant", "content": "", "tool_calls": [call]}])
        except TemplateError as error:
            found = prompt if prompt in str(error) else str(error)
        assert found == prompt


def test_a_call_without_arguments_stays_one() -> None:
    call = {"type": "function", "function": {"name": "look"}}
    messages = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    assert rendered("{{ messages[0].tool_calls | tojson }}", messages) == f"[{json.dumps(call)}]"


def test_what_a_template_reads_is_tried_in_bounded_time() -> None:
    """Six trials and the rendering itself, of a template that only ends where it is stopped."""
    source = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    start = time.thread_time()
    with pytest.raises(TemplateError, match="steps"):
        rendered(source, [{"role": "assistant", "content": "", "tool_calls": [{"name": "look", "arguments": "{}"}]}])
    assert time.thread_time() - start < 3


def test_a_template_can_be_used_again() -> None:
    template = ChatTemplate("{% for i in range(100000) %}{% endfor %}{{ messages | length }}")
    assert [template.render(HELLO * n) for n in (1, 2, 3)] == ["1", "2", "3"]


# Failures


@pytest.mark.parametrize("source", [None, ""])
def test_without_a_template_complete_is_named(source: str | None) -> None:
    with pytest.raises(TemplateError, match=r"no chat template\. Write the prompt yourself and use complete\(\)"):
        ChatTemplate(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\n{% if %}", "Line 2 of the chat template does not compile: Expected an expression"),
        ("{% nonsense %}", "Line 1 of the chat template does not compile"),
        ("{% if 1 %}" * 200 + "{% endif %}" * 200, "nested too deep"),
        ("x" * (LENGTH_LIMIT + 1), "has 262,145 characters; at most 262,144 are read"),
    ],
)
def test_a_template_that_does_not_compile_is_refused_at_once(source: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        ChatTemplate(source)
