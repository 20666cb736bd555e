"""Chat templates: prompts as the models' makers meant them, and templates that mean harm."""

import datetime
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


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", "<s>Hello!</s>"),
        ("  {% if true %}\n  a\n  {% endif %}\nb", "  a\nb"),  # blocks leave no white space of their own
        ("{{ messages | tojson }}", '[{"role": "user", "content": "Hello!"}]'),
        ("{{ {'b': '<é&>', 'a': 1} | tojson(indent=1, sort_keys=true) }}", '{\n "a": 1,\n "b": "<é&>"\n}'),
        ("{% for m in messages * 2 %}{{ loop.index }}/{{ loop.length }}{{ '.' if loop.last }}{% endfor %}", "1/22/2."),
        ("{% for i in range(9) %}{{ i }}{% if i == 1 %}{% break %}{% endif %}{% continue %}x{% endfor %}", "01"),
        ("{% for x in [[1, [2]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "12"),
        ("{% for m in messages if m.role == 'tool' %}x{% else %}none{% endfor %}", "none"),
        ("{% set ns = namespace(n=1) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "2"),
        ("{% macro say(x) %}[{{ x }}]{% endmacro %}{{ say(messages[0].role) ~ 1 ~ none }}", "[user]1None"),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}", "Hello!"),
        ("{{ tools is none }} {{ tools is defined }} {{ nothing }}|{{ nothing is defined }}", "True True |False"),
        ("{{ dict(a=1).a + 2 ** 3 * 'ab'.count('a') }} {{ '%s' % 'x' }} {{ 1.5 * 2 }} {{ 2 * 'ab' }}", "9 x 3.0 abab"),
        ("{{ 'a\nb' | indent(2) }}{{ 'x' | center(3) }}", "a\n  b x "),
        ("{{ strftime_now('%Y') }}", str(datetime.datetime.now().year)),
    ],
)  # fmt: skip
def test_templates_find_what_transformers_gives_them(source: str, prompt: str) -> None:
    assert rendered(source) == prompt


def test_what_else_a_message_holds_reaches_the_template() -> None:
    assert rendered("{{ messages[0].name }}", [{**HELLO[0], "name": "Ann"}]) == "Ann"


def test_a_template_can_be_used_again() -> None:
    template = ChatTemplate("{% for i in range(100000) %}{% endfor %}{{ messages | length }}")
    assert [template.render(HELLO * n) for n in (1, 2, 3)] == ["1", "2", "3"]


# Messages


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages: the list is empty"),
        ("Hello!", r"messages: must be a list .* not str"),
        (HELLO[0], "messages: must be a list .* not dict"),
        (None, "messages: must be a list .* not NoneType"),
        ([*HELLO, "Hi"], r"messages\[1\]: must be a mapping .* not str"),
        ([{"role": "user"}], r'messages\[0\]: has no "content"'),
        ([*HELLO, {"content": "x"}], r'messages\[1\]: has no "role"'),
        ([{"role": "user", "content": None}], r'messages\[0\]\["content"\]: must be a str, not NoneType'),
        ([{"role": 1, "content": ""}], r'messages\[0\]\["role"\]: must be a str, not int'),
        ([{"role": "", "content": ""}], r'messages\[0\]\["role"\]: is empty'),
    ],
)
def test_messages_of_another_form_are_refused(messages: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{message}"):
        rendered(CHATML, messages)


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
        ("{{" + "(" * 10_000 + "1" + ")" * 10_000 + "}}", "nested too deep"),
        ("{% if 1 %}" * 200 + "{% endif %}" * 200, "nested too deep"),
        ("x" * (LENGTH_LIMIT + 1), "has 1,000,001 characters"),
    ],
)
def test_a_template_that_does_not_compile_is_refused_at_once(source: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        ChatTemplate(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('Roles must alternate') }}", "template refuses these messages: Roles must alternate$"),
        ("\n\n{{ 1 / 0 }}", "fails at line 3 on these messages: ZeroDivisionError"),
        ("{{ messages[0].tool.name }}", "fails at line 1 on these messages: UndefinedError"),
        ("{% for x in none %}{% endfor %}", "TypeError: 'NoneType' object is not iterable"),
        ("{% include 'other' %}", "no loader"),
    ],
)
def test_a_template_that_fails_says_where_and_why(source: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        rendered(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{{ raise_exception.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ namespace(__class__=1) }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ lipsum() }}",
        "{{ self.__init__ }}",
    ],
)
def test_the_sandbox_holds(source: str) -> None:
    messages = [dict(HELLO[0])]
    try:
        shown = rendered(source, messages)
    except TemplateError:
        shown = ""
    assert shown == ""
    assert messages == HELLO


DOUBLE = "{% set ns = namespace(x=START) %}{% for i in range(64) %}{% set ns.x = ns.x OPERATOR ns.x %}{% endfor %}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "more than 200,000 steps"),
        ("{% for i in range(10 ** 6) %}{% endfor %}", "OverflowError: Range too big"),
        ("{% for x in [1] recursive %}{{ loop(range(100000)) }}{% endfor %}", "steps|RecursionError"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{% macro m(n) %}{% if n %}{{ m(n - 1) ~ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}", "steps|seconds"),
        ("{% for i in range(100000) %}{% set x = range(100000) | list %}{% endfor %}", "longer than 1.5 seconds"),
        ("{{ 'a' * 10 ** 9 }}", "makes a value of 1,000,000,000 characters"),
        ("{{ [0] * 10 ** 9 }}", "makes a value of 1,000,000,000 characters"),
        ("{{ 10 ** 9 * 'a' }}", "makes a value of 1,000,000,000 characters"),
        ("{{ 9 ** (9 ** 9) }}", "makes a number of"),
        (DOUBLE.replace("START", "'ab'").replace("OPERATOR", "~"), "makes a value of"),
        (DOUBLE.replace("START", "'ab'").replace("OPERATOR", "+"), "makes a value of"),
        (DOUBLE.replace("START", "[0]").replace("OPERATOR", "+"), "makes a value of"),
        (DOUBLE.replace("START", "99").replace("OPERATOR", "*"), "makes a number of"),
        ("{{ 'x' | center(10 ** 9) }}", "asks for 1,000,000,000 characters"),
        ("{{ 'x'.center(10 ** 9) }}", "asks for 1,000,000,000 characters"),
        ("{% for i in range(100000) %}" + "x" * 10_000 + "{% endfor %}", "writes more than 16,777,216 characters"),
        (
            "{% macro m() %}{% for i in range(100000) %}" + "x" * 100_000 + "{% endfor %}{% endmacro %}{{ m() }}",
            "makes values of more than 1,073,741,824",
        ),
        (
            "{% set x = 'x' * 10000000 %}{% for i in range(1000) %}{% set y = x ~ i %}{% endfor %}",
            "makes values of more than 1,073,741,824|seconds",
        ),
    ],
)  # fmt: skip
def test_a_template_that_would_not_end_or_fit_is_stopped(source: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        rendered(source)
