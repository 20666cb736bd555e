"""The sandbox of chat templates: what is counted changes no result, and what is forbidden stays out of reach."""

import datetime
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shaderlm.chat import ChatTemplate
from shaderlm.errors import TemplateError

HELLO = [{"role": "user", "content": "Hello!"}]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  Hi,\tyou & <me>\n\nthere 🦊 "},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "ÄÖÜ straße ﬁn"},
]
VARIABLES: dict[str, Any] = {
    "nested": {"b": [1, 2, {"c": None}], "a": "x"},
    "names": ["b", "A", "c", "a", "B"],
    "numbers": [3, 1.5, 2, -7, 10],
    "rows": [{"k": "x", "v": {"w": 2}}, {"k": "y", "v": {"w": 1}}, {"k": "x", "v": {"w": 3}}],
    "words": "one two  three,four\nfive\r\nsix\x0bseven",
}


def rendered(source: str, messages: Any = HELLO, **arguments: Any) -> str:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>").render(messages, arguments=arguments)


def plain_jinja(source: str) -> str:
    """The oracle: jinja2 itself, set up as transformers does."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    given = {"messages": TALK, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "tools": None}
    return environment.from_string(source).render(**given, **VARIABLES)


DATA = Path(__file__).parent / "data"
EXPRESSIONS = (DATA / "template_expressions.txt").read_text(encoding="utf-8").splitlines()
STATEMENTS = (DATA / "template_statements.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n----\n")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_counted_changes_no_result(expression: str) -> None:
    source = "{{ [" + expression + "] }}"
    assert rendered(source, TALK, **VARIABLES) == plain_jinja(source)


@pytest.mark.parametrize("source", STATEMENTS)
def test_statements_do_what_jinja_does(source: str) -> None:
    assert rendered(source, TALK, **VARIABLES) == plain_jinja(source)


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", "<s>Hello!</s>"),
        ("{{ messages | tojson }}", '[{"role": "user", "content": "Hello!"}]'),
        ("{{ {'b': '<é&>', 'a': 1} | tojson(indent=1, sort_keys=true) }}", '{\n "a": 1,\n "b": "<é&>"\n}'),
        ("{{ [1, {'é': none}] | tojson(true, none, (',', ':')) }}", '[1,{"\\u00e9":null}]'),
        ("{{ 'é' | tojson }}{{ 1.5 | tojson }}{{ [] | tojson }}{{ {} | tojson(indent='--') }}", '"é"1.5[]{}'),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}", "Hello!"),
        ("{{ tools is none }} {{ tools is defined }} {{ documents is none }} {{ nothing }}|", "True True True |"),
        ("{{ strftime_now('%Y') }}", str(datetime.datetime.now().year)),
        ("{% set ns = namespace(a=1) %}{% set ns.b = ns %}{{ ns }}{{ [ns.b] }}", "<namespace>[<namespace>]"),
        ("{{ [1, 2] | map('string') | list | tojson }}", '["1", "2"]'),
    ],
)
def test_templates_find_what_transformers_gives_them(source: str, prompt: str) -> None:
    assert rendered(source) == prompt


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{{ messages[0].pop('role') }}",
        "{{ raise_exception.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{0.__class__}'.format_map([1]) }}",
        "{{ '{a.__class__}' | format(a=1) | attr('__class__') }}",
        "{{ ('' | attr('format'))('{0.__class__}', 1) }}",
        "{{ ['{0.__class__}'] | map('format', 1) | map(attribute='__class__') | list | first }}",
        "{{ messages | map(attribute='__class__') | first }}",
        "{{ namespace(__class__=1) }}",
        "{{ namespace({'__class__': 1}) }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ lipsum() }}",
        "{{ self.__init__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler.__init__ }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ (messages | map('upper')).gi_frame }}",
        "{{ loop.__init__ }}{% for x in [1] %}{{ loop._iterable }}{% endfor %}",
        "{% macro m() %}{% endmacro %}{{ m._func }}{{ m.__call__ }}",
        "{{ ''.join.__self__ }}",
        "{{ (1).real.__class__ }}",
        "{{ strftime_now.__code__ }}",
        "{{ messages.__getitem__(0) }}",
    ],
)
def test_the_sandbox_holds(source: str) -> None:
    messages = [dict(HELLO[0])]
    try:
        shown = rendered(source, messages)
    except TemplateError:
        shown = ""
    assert shown in ("", "{0.__class__}")
    assert messages == HELLO


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('Roles must alternate.') }}", r"template refuses these messages: Roles must alternate\.$"),
        ("{{ raise_exception(['a']) }}", r"template refuses these messages: \['a'\]$"),
        ("{{ raise_exception('x' * 9999) }}", r"template refuses these messages: x{300}\.\.\.$"),
        ("\n\n{{ 1 / 0 }}", "fails at line 3 on these messages: ZeroDivisionError"),
        ("{{ messages[0].tool.name }}", "fails at line 1 on these messages: UndefinedError"),
        ("{% for x in none %}{% endfor %}", "TypeError: 'NoneType' object is not iterable"),
        ("{{ messages() }}", "SecurityError: .* is nothing that a template may call"),
        ("{{ nothing() }}", "UndefinedError: 'nothing' is undefined"),
        ("{{ 'a' | format(1, a=2) }}", "TypeError: format takes values by their places or by their names"),
        ("{{ ' %(a' % {'a': 1} }}", "ValueError: incomplete format key"),
        ("{{ '%' % 1 }}", "ValueError: incomplete format"),
        ("{{ '{a}'.format_map() }}", "TypeError: format_map takes one mapping"),
    ],
)
def test_a_template_that_fails_says_where_and_why(source: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        rendered(source)
