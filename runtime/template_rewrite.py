"""Rewrites the syntax tree of a chat template, so that whatever takes time or memory in it asks the budget.

What a template does in a straight line is bounded by its own size, which is limited here. What it does again and again
is counted where it begins: by each turn of a loop and each call of a macro, for all that stands in its body. What may
take longer than a look-up (comparisons, slices, literals, text) goes through the filters that `BUDGETED` lists.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer

from .template_budget import BITS_LIMIT, budget
from .template_operators import contains, hashed, joined, text

NODE_LIMIT = 6_000  # of a syntax tree: the largest in use have some thousand
NESTING_LIMIT = 60  # of the tree: the deepest in use have some twenty levels
STEPS_OF_A_TURN = 10  # of a loop, beside those of its body
STEPS_OF_A_LOOKUP = 8  # and of what else takes longer than a constant or a name

LOOKUPS = (
    *(nodes.Getattr, nodes.Getitem, nodes.Call, nodes.Filter, nodes.Test, nodes.Compare),
    *(nodes.List, nodes.Tuple, nodes.Dict, nodes.Output, nodes.TemplateData),
)
SCOPES = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)  # their bodies are counted when they run
ABSENT = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport, nodes.ScopedEvalContextModifier)


def rewritten(tree: nodes.Template) -> nodes.Template:
    """The tree, changed in place. Raises TemplateSyntaxError, and RecursionError where it is nested too deep."""
    _check(tree)
    _Rewriting().visit(tree)
    return tree


class _Rewriting(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Each turn is counted, and each element that the loop's test looks at."""
        turn = _turn(STEPS_OF_A_TURN + _cost(node.body))
        look = None if node.test is None else _turn(STEPS_OF_A_TURN + _cost([node.test]))
        self.generic_visit(node)
        if node.test is not None and look is not None:
            node.test = nodes.And(look, node.test, lineno=node.lineno)
        node.body.insert(0, nodes.ExprStmt(turn, lineno=node.lineno))
        return node

    def visit_Macro(self, node: nodes.Macro | nodes.CallBlock | nodes.Block) -> nodes.Node:  # noqa: N802
        """Each call is counted."""
        turn = _turn(_cost(node.body))
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(turn, lineno=node.lineno))
        return node

    visit_CallBlock = visit_Block = visit_Macro  # noqa: N815

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802
        """The text between the tags is written out as expressions are, which the sandbox counts."""
        self.generic_visit(node)
        for i, part in enumerate(node.nodes):
            if isinstance(part, nodes.TemplateData):
                node.nodes[i] = nodes.Const(part.data, lineno=part.lineno)
        return node

    def visit_List(self, node: nodes.List | nodes.Tuple | nodes.Dict) -> nodes.Node:  # noqa: N802
        """`[a, b]` -> `[a, b] | made`."""
        self.generic_visit(node)
        stored = isinstance(node, nodes.Tuple) and node.ctx != "load"
        return node if stored or not node.items else _filtered(node, "budget made")

    visit_Tuple = visit_Dict = visit_List  # noqa: N815

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        """`{a: b}` -> `{a | hashed: b}`."""
        self.generic_visit(node)
        return nodes.Pair(_filtered(node.key, "budget hashed"), node.value, lineno=node.lineno)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """`a == b` -> `(a | read) == (b | read)`; `a in b` -> `b | contained(a)`."""
        self.generic_visit(node)
        if len(node.ops) == 1 and node.ops[0].op in ("in", "notin"):
            found = _filtered(node.ops[0].expr, "budget contained", node.expr)
            return found if node.ops[0].op == "in" else nodes.Not(found, lineno=node.lineno)
        for operand in node.ops:
            if operand.op in ("in", "notin"):
                raise TemplateSyntaxError("`in` stands in a chain of comparisons, which is not supported", node.lineno)
            operand.expr = _read(operand.expr)
        node.expr = _read(node.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """`a[b:c]` -> `a | sliced(b, c, none)`."""
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _filtered(node.node, "budget sliced", *(bound or _constant(None) for bound in bounds))

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """`a ~ b ~ c` -> `a | joined(b, c)`."""
        self.generic_visit(node)
        return _filtered(node.nodes[0], "budget joined", *node.nodes[1:])


def _turn(steps: int) -> nodes.Filter:
    """An expression that counts, and is true."""
    return _filtered(_constant(steps), "budget turn")


def _read(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _filtered(node, "budget read")


def _filtered(node: nodes.Expr, filter: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, filter, list(arguments), [], None, None, lineno=node.lineno)


def _constant(value: Any) -> nodes.Const:
    return nodes.Const(value, lineno=1)


def _cost(body: Sequence[nodes.Node]) -> int:
    """Steps of running a body once: its nodes, but for those that are counted when they run."""
    count, left = 0, list(body)
    while left:
        node = left.pop()
        count += STEPS_OF_A_LOOKUP if isinstance(node, LOOKUPS) else 1
        left += node.iter_child_nodes(exclude=("body",) if isinstance(node, SCOPES) else None)
    return count


def _check(tree: nodes.Template) -> None:
    """Refuse what has no place in a chat template, would take long to compile, or is nested too deep."""
    count = 0
    level: list[nodes.Node] = [tree]
    for _ in range(NESTING_LIMIT):
        count += len(level)
        if count > NODE_LIMIT:
            raise TemplateSyntaxError(f"it has more than {NODE_LIMIT:,} parts", level[0].lineno)
        for node in level:
            _check_node(node)
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise RecursionError


def _check_node(node: nodes.Node) -> None:
    if isinstance(node, ABSENT):
        raise TemplateSyntaxError("a chat template stands alone: it includes, extends and escapes nothing", node.lineno)
    if isinstance(node, nodes.Const) and isinstance(node.value, int) and node.value.bit_length() > BITS_LIMIT:
        raise TemplateSyntaxError(f"it has a number of more than {BITS_LIMIT:,} bits", node.lineno)
    if isinstance(node, nodes.If) and len(node.elif_) > NESTING_LIMIT:  # in the Python that comes of it they are nested
        raise RecursionError


# What the rewritten template calls


def _turned(steps: int) -> bool:
    budget().step(max(steps, 1))
    return True


def _have_read(value: Any) -> Any:
    budget().read(value)
    return value


def _sliced(value: Any, start: Any, stop: Any, step: Any) -> Any:
    if isinstance(value, str):
        budget().spend(len(value))
    return budget().made(value[start:stop:step])


def _joined(*parts: Any) -> str:
    return joined("", [text(part) for part in parts])


# The names hold a space, so that no template writes them; by `map("budget turn")` one can, and gains nothing.
BUDGETED: Mapping[str, Callable[..., Any]] = {
    "budget contained": contains,
    "budget hashed": hashed,
    "budget joined": _joined,
    "budget made": lambda value: budget().made(value),
    "budget read": _have_read,
    "budget sliced": _sliced,
    "budget turn": _turned,
}
