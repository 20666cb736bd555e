"""Jinja as chat templates expect it, for templates out of files that nobody vouches for.

Jinja's sandbox keeps a template from Python's internals. What is added here keeps it from running or growing without
end: loops, calls, output and the operators by which values grow are counted against one budget per rendering.

Only `chat.py` imports this, and only when a template is there, because it imports jinja2.
"""

import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from datetime import datetime
from typing import Any

from jinja2 import Template, TemplateError, nodes, pass_context
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

STEP_LIMIT = 200_000  # turns of loops and calls; a long chat with many tools takes some thousands
SIZE_LIMIT = 1 << 24  # characters or elements of one value; a context of a million tokens is some four million
TOTAL_LIMIT = 1 << 30  # characters and elements of all values
BITS_LIMIT = 1 << 14  # of a whole number
SECONDS_LIMIT = 1.5  # for few steps that are each slow; what is counted ends sooner

BUDGET = "rendering budget"  # among a rendering's variables: no name that a template can write
COUNTED, JOINED = "counted steps", "joined within budget"  # filters, likewise
WIDENING = ("batch", "center", "indent", "slice")  # jinja2's filters that make as much as a number asks for


class Refusal(TemplateError):
    """A template calls `raise_exception`."""


class BudgetExceeded(TemplateError):
    """A template loops too long or makes too much."""


class Budget:
    """What one rendering has spent."""

    def __init__(self) -> None:
        self.steps = 0
        self.total = 0
        self.deadline = time.monotonic() + SECONDS_LIMIT

    def step(self) -> None:
        """Count one turn of a loop, or one call."""
        self.steps += 1
        if self.steps > STEP_LIMIT:
            raise BudgetExceeded(f"it takes more than {STEP_LIMIT:,} steps")
        if time.monotonic() > self.deadline:
            raise BudgetExceeded(f"it takes longer than {SECONDS_LIMIT} seconds")

    def make(self, size: int) -> None:
        """Count a value of `size` characters or elements, before it is made."""
        self.total += size
        if size > SIZE_LIMIT:
            raise BudgetExceeded(f"it makes a value of {size:,} characters or elements; at most {SIZE_LIMIT:,} may be")
        if self.total > TOTAL_LIMIT:
            raise BudgetExceeded(f"it makes values of more than {TOTAL_LIMIT:,} characters and elements in all")


class SandboxedTemplates(ImmutableSandboxedEnvironment):
    """Compiles templates that spend a `Budget`, given as the variable BUDGET to each rendering."""

    intercepted_binops = frozenset({"+", "*", "**"})  # the operators by which values grow

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", GenerationTag],
            finalize=counted_output,
            optimized=False,  # nothing is computed before a budget watches
        )
        self.filters |= {name: widening(self.filters[name]) for name in WIDENING}
        self.filters |= {"tojson": to_json, COUNTED: counted, JOINED: joined}
        self.globals = {
            "range": self.globals["range"],
            "dict": lambda **entries: entries,
            "namespace": TemplateNamespace,
            "raise_exception": raise_exception,
            "strftime_now": strftime_now,
        }

    def compile_template(self, source: str) -> Template:
        """Raises jinja2.TemplateSyntaxError, and RecursionError for one that is nested too deep."""
        tree = self.parse(source)
        CountSteps().visit(tree)
        tree.set_environment(self)
        code = self.compile(tree)
        return Template.from_code(self, code, self.globals)

    def call(__self, __context: Context, __function: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Every call in a template comes through here; the names leave all others to its keyword arguments."""
        __context[BUDGET].step()
        _refuse_width(*args, *kwargs.values())
        if isinstance(__function, LoopContext) and args:  # the inner loop of a recursive one
            args = (counted(__context, args[0], 0), *args[1:])
        return super().call(__context, __function, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Every intercepted operator comes through here."""
        budget = context[BUDGET]
        budget.step()
        if isinstance(left, int) and isinstance(right, int):
            _refuse_endless_number(operator, left, right)
        else:
            budget.make(_size_of_result(operator, left, right))
        return super().call_binop(context, operator, left, right)


class CountSteps(NodeTransformer):
    """Sends what loops run over, and what `~` joins, through filters that count."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """`for x in y` -> `for x in y | counted(size of the text that a turn writes)`."""
        self.generic_visit(node)
        written = nodes.Const(sum(len(text.data) for text in node.find_all(nodes.TemplateData)))
        node.iter = nodes.Filter(node.iter, COUNTED, [written], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """`a ~ b ~ c` -> `a | joined(b, c)`."""
        self.generic_visit(node)
        return nodes.Filter(node.nodes[0], JOINED, node.nodes[1:], [], None, None, lineno=node.lineno)


class GenerationTag(Extension):
    """`{% generation %}`, by which templates mark for training what the model said: here its body, unchanged."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The statements up to `{% endgeneration %}`."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class TemplateNamespace(Namespace):
    """Jinja's namespace without underscored names, by which a template could pose as Python's machinery."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # `self` may be one of the names
        self, *rest = args
        entries = dict(*rest, **kwargs)
        for name in entries:
            _refuse_underscore(name)
        Namespace.__init__(self, entries)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        Namespace.__setitem__(self, name, value)


@pass_context
def counted(context: Context, iterable: Iterable[Any], written: int) -> Iterator[Any]:
    """The elements of `iterable`, each of them a step in which `written` characters of the template are put out."""
    budget = context[BUDGET]
    for element in iterable:
        budget.step()
        budget.make(written)
        yield element


def output(template: Template, variables: Mapping[str, Any]) -> str:
    """What `template` writes. Raises BudgetExceeded, Refusal, and whatever its expressions raise."""
    budget = Budget()
    pieces, size = [], 0
    for piece in template.generate({**variables, BUDGET: budget}):
        pieces.append(piece)
        size += len(piece)
        if size > SIZE_LIMIT:
            raise BudgetExceeded(f"it writes more than {SIZE_LIMIT:,} characters")
    return "".join(pieces)


@pass_context
def joined(context: Context, *parts: Any) -> str:
    """What `~` makes of `parts`."""
    texts = [str(part) for part in parts]
    context[BUDGET].make(sum(len(text) for text in texts))
    return "".join(texts)


@pass_context
def counted_output(context: Context, value: Any) -> Any:
    """Any value on its way into the output."""
    if isinstance(value, str):
        context[BUDGET].make(len(value))
    return value


def widening(filter: Callable[..., Any]) -> Callable[..., Any]:
    """`filter`, which now refuses absurd numbers."""

    @functools.wraps(filter)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _refuse_width(*args, *kwargs.values())
        return filter(*args, **kwargs)

    return bounded


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as templates mean it: for a model, not for an HTML page, so nothing is escaped."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: str) -> None:
    """How a template refuses its messages."""
    raise Refusal(message)


def strftime_now(format: str) -> str:
    """The local time, for templates that tell the model the date."""
    return datetime.now().strftime(format)


def _size_of_result(operator: str, left: Any, right: Any) -> int:
    if operator == "*" and isinstance(right, int):
        return _size(left) * max(right, 0)
    if operator == "*" and isinstance(left, int):
        return _size(right) * max(left, 0)
    return _size(left) + _size(right) if operator == "+" else 0


def _size(value: Any) -> int:
    return len(value) if isinstance(value, Sized) else 0


def _refuse_endless_number(operator: str, left: int, right: int) -> None:
    bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
    if bits > BITS_LIMIT:
        raise BudgetExceeded(f"it makes a number of {bits:,} bits; at most {BITS_LIMIT:,} may be")


def _refuse_width(*arguments: Any) -> None:
    for argument in arguments:
        if isinstance(argument, int) and abs(argument) > SIZE_LIMIT:
            raise BudgetExceeded(f"it asks for {argument:,} characters or elements; at most {SIZE_LIMIT:,} may be")


def _refuse_underscore(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise TemplateError(f"a namespace has no underscored names ({name!r})")
