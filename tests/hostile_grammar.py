"""A grammar of templates that mean harm, for hypothesis: typed, so that what it makes runs far before it fails."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

BEGINNING = (
    "{% set ns = namespace(s='ab', l=[1, 'a'], n=3) %}{% set b = 'ab ' * 99999 %}{% set t = (1, (2, 'a')) %}"
    "{% set d = {'a': 1, 'b': [2]} %}{% macro m(x=1) %}{{ x }}{{ caller() if caller }}{% endmacro %}{% set i = 2 %}"
)
DEPTH = 4  # of rules in each other

# T: a text, L: a list or tuple, N: a number, M: a mapping, B: what is asked for its truth, V: any of them.
ATOMS: Mapping[str, list[str]] = {
    "T": [
        *("b", "ns.s", "messages[0].content", "''", "'a'", "'ab'", "' '", "'\\n'", "'{0}'", "'{0:99}'", "'{a}'"),
        *("'%s%s'", "'%s%9999d'", "'é'", "'🦊'", "'&<'", "'x.y'", "'role'", "'1e999'", "'7f'"),
    ],
    "L": ["ns.l", "t", "[]", "messages", "(range(99) | list)", "(range(100000) | list)"],
    "N": ["i", "ns.n", "-1", "0", "1", "2", "3", "-7", "99", "9999", "100000", "1000000000", "2.5"],
    "M": ["d", "messages[0]", "{}"],
    "B": ["true", "i is odd", "ns.n > 2"],
    "V": ["ns", "m", "nothing", "none", "loop", "ns.s.upper", "''.__class__", "range", "self", "cycler(1, 2)"],
}
RULES: Mapping[str, list[str]] = {
    "T": [
        *("(<T> + <T>)", "(<T> ~ <V>)", "(<V> ~ <T>)", "(<T> * <N>)", "<T>[<N>:<N>]", "<T>[::-1]", "<T>[<N>:]"),
        *("(<T> | upper)", "(<T> | title)", "(<T> | capitalize)", "(<T> | trim)", "(<T> | trim(<T>))", "(<T> | e)"),
        *("(<T> | safe)", "(<V> | safe)", "(<T> | reverse)", "(<T> | center(<N>))", "(<T> | indent(<N>, true))"),
        *("(<T> | indent(<T>))", "(<T> | replace(<T>, <T>))", "(<T> | replace('', <T>, <N>))", "(<T> | truncate(<N>))"),
        *(
            "(<T> | format(<V>, <V>))",
            "(<T> % (<V>, <V>))",
            "(<T> % <M>)",
            "<T>.format(<V>, a=<V>)",
            "<T>.format_map(<M>)",
        ),
        *("<T>.replace(<T>, <T>)", "<T>.strip(<T>)", "<T>.rstrip()", "<T>.upper()", "<T>.swapcase()", "<T>.casefold()"),
        *(
            "<T>.ljust(<N>)",
            "<T>.zfill(<N>)",
            "<T>.expandtabs(<N>)",
            "<T>.join(<L> | map('string'))",
            "(<L> | join(<T>))",
        ),
        *("(<V> | tojson)", "(<V> | tojson(indent=<N>))", "(<V> | string)", "m(<V>)", "(<T> | attr('upper'))()"),
        *("(<T> if <B> else <T>)", "strftime_now(<T>)", "<T>.removeprefix(<T>)", "<T>.encode()", "<T>.translate(<M>)"),
    ],
    "L": [
        *(
            "[<V>, <V>]",
            "(<V>, <V>)",
            "[ns.l, <V>]",
            "(<L> + <L>)",
            "(<L> * <N>)",
            "<L>[<N>:<N>]",
            "<L>[::2]",
            "<L>.copy()",
        ),
        *(
            "(<L> | map('string') | list)",
            "(<L> | map('upper') | list)",
            "(<L> | map('tojson') | list)",
            "(<T> | list)",
        ),
        *(
            "(<L> | map('replace', 'a', <T>) | list)",
            "(<L> | map(attribute='x.y') | list)",
            "(<L> | map('budget turn') | list)",
        ),
        *("(<L> | select('string') | list)", "(<L> | reject('odd') | list)", "(<L> | selectattr('role') | list)"),
        *(
            "(<L> | sort)",
            "(<L> | sort(attribute=<T>))",
            "(<L> | unique | list)",
            "(<L> | reverse | list)",
            "(<L> | groupby(0))",
        ),
        *("(<L> | batch(<N>, 0) | list)", "(<L> | slice(<N>) | list)", "(<L> | sum(start=<L>))", "<T>.split(<T>)"),
        *(
            "<T>.rsplit(<T>)",
            "<T>.partition(<T>)",
            "<T>.rpartition(<T>)",
            "<T>.split()",
            "<T>.splitlines()",
            "(<M> | dictsort)",
        ),
        *("(<M>.items() | list)", "(<M>.keys() | list)", "(<M> | items | list)", "(<M> | list)", "(range(<N>) | list)"),
    ],
    "N": [
        *(
            "(<N> + <N>)",
            "(<N> - <N>)",
            "(<N> * <N>)",
            "(<N> / <N>)",
            "(<N> // <N>)",
            "(<N> % <N>)",
            "(<N> ** <N>)",
            "(-<N>)",
        ),
        *(
            "(<N> | round(<N>))",
            "(<N> | round(<N>, 'ceil'))",
            "(<N> | abs)",
            "(<N> | int)",
            "(<T> | int(0, 16))",
            "(<T> | int)",
        ),
        *(
            "(<T> | float)",
            "(<T> | length)",
            "(<T> | wordcount)",
            "(<L> | length)",
            "(<L> | sum)",
            "(<L> | max)",
            "(<L> | min)",
        ),
        *(
            "(<L> | first)",
            "(<L> | last)",
            "<T>.count(<T>)",
            "<T>.find(<T>)",
            "<T>.rfind(<T>)",
            "<L>.count(<V>)",
            "loop.length",
        ),
    ],
    "M": ["{<T>: <V>, 'z': <V>}", "{(1, <T>): 1}", "dict(a=<V>, b=<V>)", "dict(<L> | batch(2))", "<M>.copy()"],
    "B": [
        *(
            "<T> == <T>",
            "<T> != <T>",
            "<T> < <T>",
            "<T> in <T>",
            "<T> not in <T>",
            "<L> == <L>",
            "<V> in <L>",
            "<V> in <M>",
        ),
        *(
            "<N> is odd",
            "<N> is divisibleby <N>",
            "<T> is odd",
            "<V> is eq(<V>)",
            "<V> is in(<L>)",
            "<T> is lower",
            "<N> < <N> < <N>",
        ),
        *("(<B>) and <B>", "not (<B>)", "<V> is defined", "loop.changed(<V>)"),
    ],
    "V": ["<T>", "<T>", "<L>", "<L>", "<N>", "<M>", "namespace(x=<V>)", "<L>[<N>]", "<M>[<T>]", "(<V> | default(<V>))"],
    "S": [  # a statement
        *(
            "{% set ns.s = <T> %}",
            "{% set ns.l = <L> %}",
            "{% set ns.n = <N> %}",
            "{% set b = <T> %}",
            "{{ <V> }}",
            "{{ <T> }}",
        ),
        *(
            "{% set ns.s = ns.s ~ <T> %}",
            "{% set ns.l = [ns.l, <V>] %}",
            "{% set ns.l = ns.l + <L> %}",
            "<S><S>",
            "<S><S>",
        ),
        *("{% for i in range(3000) %}<S>{% endfor %}", "{% for i in range(100000) %}<S>{% endfor %}"),
        *(
            "{% for i in range(100000) %}<S><S>{% endfor %}",
            "{% for i in range(40) %}<S>{% endfor %}",
            "{% if <B> %}<S>{% endif %}",
        ),
        *(
            "{% for x in <L> %}<S>{% endfor %}",
            "{% for c in <T> if <B> %}<S>{% else %}-{% endfor %}",
            "{% set b %}<S>{% endset %}",
        ),
        *("{% for x in <L> recursive %}<S>{{ loop(x) }}{% endfor %}", "{% filter upper %}<S>{% endfilter %}"),
        *("{% call m(<V>) %}<S>{% endcall %}", "{% macro m(x=1) %}<S>{{ m(x) }}{% endmacro %}{{ m(2) }}"),
        *(
            "{% with b = <T> %}<S>{% endwith %}",
            "{{ '" + "x" * 500 + "' }}",
            "x" * 500,
            "{% generation %}<S>{% endgeneration %}",
        ),
    ],
}


@st.composite
def templates(draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    """The text of a template."""

    def made(kind: str, depth: int) -> str:
        simple = (depth <= 0 and kind != "S") or (kind in ATOMS and draw(st.integers(0, 3)) == 0)
        rule = draw(st.sampled_from(ATOMS[kind] if simple else RULES[kind]))
        if kind == "S" and depth <= 0:
            rule = rule.replace("<S>", "x")
        return re.sub("<([A-Z])>", lambda hole: made(hole[1], depth - 1), rule)

    return BEGINNING + made("S", DEPTH)
