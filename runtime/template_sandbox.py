"""Jinja as chat templates expect it, for templates out of files that nobody vouches for.

Jinja's sandbox keeps a template from Python's internals. What is added here keeps it from running or growing without
end: every rendering has a `Budget`, which the rewritten template, its operators, filters and calls all ask.

Only `chat.py` imports this, and only when a template is there, because it imports jinja2.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace
from markupsafe import Markup

from .template_budget import ELEMENT, SIZE_LIMIT, BudgetExceeded, budget, new_budget
from .template_filters import FILTERS, TESTS, comparing
from .template_operators import bounded_format, bounded_method, hashed, operate, text
from .template_rewrite import BUDGETED, rewritten

TOKEN_LIMIT = 20_000  # words and signs of a source: the longest in use have some three thousand
RANGE_LIMIT = 100_000
STEPS_OF_A_CALL = 100


class Refusal(TemplateError):
    """A template calls `raise_exception`."""


class SandboxedTemplates(ImmutableSandboxedEnvironment):
    """Compiles templates that spend the budget of the rendering under way."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", GenerationTag],
            finalize=written,
            optimized=False,  # nothing is computed before a budget watches
        )
        self.filters = {**FILTERS, **BUDGETED}
        self.tests = dict(TESTS)
        self.globals = dict(GLOBALS)

    def compile_template(self, source: str) -> Template:
        """Raises jinja2.TemplateSyntaxError, and RecursionError for one that is nested too deep."""
        for count, (line, _, _) in enumerate(self.lex(source)):
            if count > TOKEN_LIMIT:
                raise TemplateSyntaxError(f"it has more than {TOKEN_LIMIT:,} words and signs", line)
        tree = rewritten(self.parse(source))
        tree.set_environment(self)
        code = self.compile(tree)
        return Template.from_code(self, code, self.globals)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`. Methods of a text that is marked as safe are those of any text."""
        return super().getattr(text(obj) if isinstance(obj, Markup) else obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`."""
        return super().getitem(text(obj) if isinstance(obj, Markup) else obj, hashed(argument))

    def call(__self, __context: Context, __function: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Every call in a template comes through here; the names leave all others to its keyword arguments."""
        spent = budget()
        spent.step(STEPS_OF_A_CALL)
        spent.spend(ELEMENT * (len(args) + len(kwargs)))
        function = _callable(__function)
        with spent.call():
            result = super().call(__context, function, *args, **kwargs)
        return spent.made(result)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Every arithmetical operator comes through here."""
        return operate(operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """The method `format` of a text, held to the budget; None for anything else."""
        if not isinstance(value, BuiltinMethodType) or not isinstance(value.__self__, str):
            return None
        if value.__name__ not in ("format", "format_map"):
            return None
        return bounded_format(self, value.__self__, by_mapping=value.__name__ == "format_map")


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

    def __repr__(self) -> str:
        return "<namespace>"  # not what it holds, which may be itself


def output(template: Template, variables: Mapping[str, Any], *, part: int = 1) -> str:
    """What `template` writes within a budget, or an n-th part of one.

    Raises BudgetExceeded, Refusal, and whatever its expressions raise.
    """
    with new_budget(part):
        pieces, size = [], 0
        for piece in template.generate(variables):
            pieces.append(piece)
            size += len(piece)
            if size > SIZE_LIMIT:
                raise BudgetExceeded(f"it writes more than {SIZE_LIMIT:,} characters")
        return "".join(pieces)


@pass_context  # or jinja2 would call it while it compiles
def written(context: Context, value: Any) -> str:
    """Any value on its way into the output."""
    return budget().made(text(value))


def bounded_range(*bounds: int) -> range:
    """`range`, up to RANGE_LIMIT long."""
    numbers = range(*bounds)
    if len(numbers) > RANGE_LIMIT:
        raise BudgetExceeded(f"it asks for a range of {len(numbers):,} numbers; at most {RANGE_LIMIT:,} may be")
    return numbers


def raise_exception(message: Any = "") -> None:
    """How a template refuses its messages."""
    raise Refusal(text(message))


def strftime_now(format: str) -> str:
    """The local time, for templates that tell the model the date."""
    budget().width(len(format))
    return datetime.now().strftime(format)


GLOBALS: Mapping[str, Any] = {
    "cycler": Cycler,
    "dict": lambda *pairs, **entries: dict(*pairs, **entries),
    "joiner": Joiner,
    "namespace": TemplateNamespace,
    "raise_exception": raise_exception,
    "range": bounded_range,
    "strftime_now": strftime_now,
}


def _callable(function: Any) -> Any:
    """What is called for `function`. Raises SecurityError unless it is one of ours, a macro, or a known method."""
    if isinstance(function, (Macro, LoopContext, BlockReference, Joiner, Undefined)):
        return function
    if any(function is known for known in GLOBALS.values()) or hasattr(function, "is_bounded"):
        return function
    if isinstance(function, MethodType) and isinstance(function.__self__, (LoopContext, Cycler)):
        return comparing(function) if function.__name__ == "changed" else function
    method = bounded_method(function.__self__, function.__name__) if isinstance(function, BuiltinMethodType) else None
    if method is None:
        raise SecurityError(f"{getattr(function, '__name__', function)!s:.60} is nothing that a template may call")
    return method


def _refuse_underscore(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace has no underscored names ({name!r:.40})")
