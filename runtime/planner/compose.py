"""Putting a kernel together from WGSL files, and reading off the text what must be bound to it.

`// include: rope.wgsl` takes in a file; `// include: <quant>` takes in the file that the planner chose for that place,
and `// include: <codebook>=FILE` takes in FILE where it chose none. `const NAME: u32 = 1u;  // parameter` may be given
another value. Bindings and the layout of uniforms are read from the WGSL, so that nothing about a kernel is written
down twice.
"""

import ast
import hashlib
import operator
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import cast

from ..errors import KernelError
from ..host import Access, KernelSource

Value = int | float | bool

_INCLUDE = re.compile(r"^// include: (?:<(\w+)>(?:=(\S+))?|(\S+))$", re.MULTILINE)
_PARAMETER = re.compile(r"^(const (\w+): (\w+) = )([^;]+)(;\s*// parameter.*)$", re.MULTILINE)
_CONST = re.compile(r"^const (\w+): u32 = ([^;]+);", re.MULTILINE)
_BINDING = re.compile(r"@binding\((\d+)\) var<(uniform|storage, read_write|storage, read)> (\w+): ([^;]+);")
_STRUCT = re.compile(r"^struct (\w+) \{([^}]*)\}", re.MULTILINE)
_FIELD = re.compile(r"(\w+): ((?:[^,<]|<(?:[^<>]|<[^<>]*>)*>)+)")
_WORKGROUP = re.compile(r"^var<workgroup> \w+: ([^;]+);", re.MULTILINE)
_COMMENT = re.compile(r"//[^\n]*")

# size and alignment in bytes, and the struct module's letter (WGSL specification, section 14.4.1)
_SCALARS = {"u32": (4, 4, "I"), "i32": (4, 4, "i"), "f32": (4, 4, "f")}
_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
}


@dataclass(frozen=True)
class Field:
    """A member of a uniform: `count` scalars of one kind from byte `offset` on."""

    offset: int
    count: int
    letter: str


@dataclass(frozen=True)
class UniformLayout:
    """How a uniform's members lie in memory."""

    size: int
    fields: Mapping[str, Field]

    def pack(self, values: Mapping[str, object]) -> bytes:
        """Bytes of a uniform; `values` must name exactly its members."""
        if values.keys() != self.fields.keys():
            raise KernelError(f"uniform wants {sorted(self.fields)}, got {sorted(values)}")
        data = bytearray(self.size)
        for name, field in self.fields.items():
            value = values[name]
            numbers = value if isinstance(value, (tuple, list)) else (value,)
            if len(numbers) != field.count:
                raise KernelError(f"uniform wants {field.count} numbers for {name}, got {len(numbers)}")
            struct.pack_into(f"<{len(numbers)}{field.letter}", data, field.offset, *numbers)
        return bytes(data)


@dataclass(frozen=True)
class Binding:
    """A place that a buffer is bound to."""

    number: int
    name: str
    access: Access


@dataclass(frozen=True)
class Kernel:
    """A composed kernel."""

    source: KernelSource
    bindings: tuple[Binding, ...]
    uniforms: Mapping[str, UniformLayout]
    workgroup_bytes: int


def compose(
    file: str,
    *,
    includes: Mapping[str, str] | None = None,
    parameters: Mapping[str, Value] | None = None,
    prologue: str = "",
) -> Kernel:
    """Compose `file`. Raises KernelError for a parameter or a place that the kernel does not have."""
    return composed(file, tuple((includes or {}).items()), tuple((parameters or {}).items()), prologue)


def composed(
    file: str, includes: tuple[tuple[str, str], ...], parameters: tuple[tuple[str, Value], ...], prologue: str
) -> Kernel:
    """As `compose`, with arguments that can be told apart by a cache."""
    code = _with_parameters(_expand(file, dict(includes), {file}), dict(parameters), file)
    label = "+".join([file.removesuffix(".wgsl"), *(_stem(path) for _, path in includes)])
    return parse(prologue + code, label)


def parse(code: str, label: str) -> Kernel:
    """A whole WGSL module as a kernel: its bindings and uniforms, and the workgroup memory that it takes."""
    bare = _COMMENT.sub("", code)
    structs = {name: _layout(body) for name, body in _STRUCT.findall(bare)}
    bindings, uniforms = [], {}
    for number, space, name, kind in sorted(_BINDING.findall(bare), key=lambda found: int(found[0])):
        access = "uniform" if space == "uniform" else "read_write" if "write" in space else "read"
        bindings.append(Binding(int(number), name, cast(Access, access)))
        if access == "uniform":
            uniforms[name] = structs[kind]
    source = KernelSource(label, code, tuple((b.number, b.access) for b in bindings))
    return Kernel(source, tuple(bindings), uniforms, _workgroup_bytes(bare, structs))


@cache
def read_shader(file: str) -> str:
    """The text of a file under `shaders/`."""
    return resources.files("shaderlm.shaders").joinpath(*file.split("/")).read_text(encoding="utf-8")


@cache
def provides(file: str, function: str) -> bool:
    """Whether a file under `shaders/`, or one that it includes, declares a function."""
    return f"fn {function}(" in _expand(file, {}, {file})


@cache
def shaders_digest() -> str:
    """SHA-256 over every WGSL file: what was found out about kernels holds for these."""
    digest = hashlib.sha256()
    folders = [resources.files("shaderlm.shaders")]
    while folders:
        for entry in sorted(folders.pop().iterdir(), key=lambda entry: entry.name):
            if entry.is_dir():
                folders.append(entry)
            elif entry.name.endswith(".wgsl"):
                digest.update(entry.name.encode() + entry.read_bytes())
    return digest.hexdigest()


def _stem(path: str) -> str:
    return path.removesuffix(".wgsl").split("/")[-1]


def _expand(file: str, places: Mapping[str, str], seen: set[str]) -> str:
    """The file with its includes, each taken in once."""

    def included(match: re.Match[str]) -> str:
        place, usual, named = match.groups()
        name = named or places.get(place) or usual
        if name is None:
            raise KernelError(f"{file} has a place <{place}> that nothing was chosen for")
        if name in seen:
            return ""
        seen.add(name)
        return _expand(name, places, seen)

    return _INCLUDE.sub(included, read_shader(file))


def _with_parameters(code: str, parameters: dict[str, Value], file: str) -> str:
    def given(match: re.Match[str]) -> str:
        head, name, kind, _, tail = match.groups()
        if name not in parameters:
            return match.group(0)
        return head + _literal(parameters.pop(name), kind) + tail

    code = _PARAMETER.sub(given, code)
    if parameters:
        raise KernelError(f"{file} has no parameter {', '.join(parameters)}")
    return code


def _literal(value: Value, kind: str) -> str:
    if kind == "bool":
        return "true" if value else "false"
    return f"{value}u" if kind == "u32" else repr(float(value))


def _layout(body: str) -> UniformLayout:
    offset, fields, alignment = 0, {}, 4
    for name, kind in _FIELD.findall(body):
        size, align, letter, count = _kind(kind.strip())
        offset = -(-offset // align) * align
        fields[name] = Field(offset, count, letter)
        offset += size
        alignment = max(alignment, align)
    return UniformLayout(-(-offset // alignment) * alignment, fields)


def _kind(kind: str) -> tuple[int, int, str, int]:
    """Size, alignment, scalar letter and number of scalars of a WGSL type."""
    if kind in _SCALARS:
        return (*_SCALARS[kind], 1)
    vector = re.fullmatch(r"vec([24])<(\w+)>", kind)
    if vector:
        lanes, (_, _, letter) = int(vector.group(1)), _SCALARS[vector.group(2)]
        return 4 * lanes, 4 * lanes, letter, lanes
    array = re.fullmatch(r"array<(vec4<\w+>), (\d+)>", kind)
    if array:
        size, align, letter, lanes = _kind(array.group(1))
        return size * int(array.group(2)), align, letter, lanes * int(array.group(2))
    raise KernelError(f"a uniform cannot hold {kind}")


def _workgroup_bytes(code: str, structs: Mapping[str, UniformLayout]) -> int:
    """Bytes of workgroup memory, which wgpu does not hold against the limit by itself."""
    consts = dict(_CONST.findall(code))
    return sum(_bytes_of(kind, consts, structs) for kind in _WORKGROUP.findall(code))


def _bytes_of(kind: str, consts: Mapping[str, str], structs: Mapping[str, UniformLayout]) -> int:
    kind = kind.strip()
    array = re.fullmatch(r"array<(.+), ([^,]+)>", kind)
    if array:
        return _bytes_of(array.group(1), consts, structs) * _number(array.group(2), consts)
    if kind in structs:
        return structs[kind].size
    return _kind(re.sub(r"^atomic<(\w+)>$", r"\1", kind))[0]


def _number(expression: str, consts: Mapping[str, str]) -> int:
    """An expression of u32 constants and literals, by WGSL's rules. Raises KernelError for what is none."""
    text = re.sub(r"\b(0x[0-9a-fA-F]+|[0-9]+)u\b", r"\1", expression.strip())
    try:
        return _evaluated(ast.parse(text, mode="eval").body, consts)
    except (SyntaxError, KeyError, ZeroDivisionError) as error:
        raise KernelError(f"{expression.strip()!r} is no number that the composer can tell") from error


def _evaluated(node: ast.expr, consts: Mapping[str, str]) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return _number(consts[name], consts)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_evaluated(left, consts), _evaluated(right, consts))
    raise KeyError(ast.dump(node))
