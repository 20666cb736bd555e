"""Kernels put together from WGSL files: what must be bound to them is read off their text, and read right."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import shaderlm.shaders
from gpu import Device
from shaderlm.errors import KernelError
from shaderlm.planner.compose import compose, parse, read_shader

SHADERS = Path(shaderlm.shaders.__path__[0])
ATTENTION = {"includes": {"kv": "kv/f16.wgsl"}}


def test_a_place_takes_in_the_file_that_was_chosen_for_it() -> None:
    for kv in ("f16", "f32"):
        code = compose("attention_decode.wgsl", includes={"kv": f"kv/{kv}.wgsl"}).source.code
        assert read_shader(f"kv/{kv}.wgsl").strip() in code
        assert "include:" not in code


def test_a_file_is_taken_in_once_however_often_it_is_included() -> None:
    code = compose(
        "matvec.wgsl",
        includes={"quant": "quant/q8_0.wgsl", "input": "input/selected.wgsl", "epilogue": "epilogue/logits.wgsl"},
    ).source.code
    structs = re.findall(r"^struct (\w+)", code, re.MULTILINE)
    assert len(structs) == len(set(structs))


def test_a_place_that_nothing_was_chosen_for_is_an_error() -> None:
    with pytest.raises(KernelError, match=r"attention_decode\.wgsl has a place <kv> that nothing was chosen for"):
        compose("attention_decode.wgsl")


def test_a_parameter_takes_the_value_given() -> None:
    code = compose("attention_decode.wgsl", **ATTENTION, parameters={"SPLIT": 128, "HEAD_DIM": 80}).source.code
    assert "const SPLIT: u32 = 128u;" in code
    assert "const HEAD_DIM: u32 = 80u;" in code
    assert "const WORKGROUP: u32 = 32u;" in code, "the others keep their own"


def test_a_parameter_that_the_kernel_does_not_have_is_an_error() -> None:
    with pytest.raises(KernelError, match=r"attention_decode\.wgsl has no parameter TEAM, M"):
        compose("attention_decode.wgsl", **ATTENTION, parameters={"SPLIT": 32, "TEAM": 4, "M": 1})


def test_a_constant_is_no_parameter() -> None:
    with pytest.raises(KernelError, match="no parameter ALL"):
        compose("sample.wgsl", parameters={"ALL": 1})


def test_the_prologue_comes_first() -> None:
    code = compose("sample.wgsl", prologue="enable subgroups;\n").source.code
    assert code.startswith("enable subgroups;\n//")


def test_bindings_are_read_off_the_text_in_order_of_their_numbers() -> None:
    kernel = parse(
        """
        @group(0) @binding(7) var<uniform> sizes: Sizes;
        // @group(0) @binding(3) var<storage, read> gone: array<u32>;
        @group(0) @binding(2) var<storage, read_write> y: array<f32>;
        @group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
struct Sizes { n: u32 }
        """,
        "example",
    )
    assert [(b.number, b.name, b.access) for b in kernel.bindings] == [
        (0, "x", "read"),
        (2, "y", "read_write"),
        (7, "sizes", "uniform"),
    ]
    assert kernel.source.bindings == ((0, "read"), (2, "read_write"), (7, "uniform"))


@pytest.mark.parametrize("file", sorted(path.relative_to(SHADERS).as_posix() for path in SHADERS.rglob("*.wgsl")))
def test_bindings_have_the_names_and_numbers_that_stand_in_the_file(file: str) -> None:
    """The composer's pattern overlooks none: every `@binding` is followed by what it can read."""
    code = re.sub(r"//[^\n]*", "", read_shader(file))
    found = re.findall(
        r"@group\(0\) @binding\(\d+\) var<(?:uniform|storage, read|storage, read_write)> \w+: [^;]+;", code
    )
    assert len(found) == code.count("@binding") == code.count("var<storage") + code.count("var<uniform")


# Workgroup memory


@pytest.mark.parametrize(
    ("declarations", "expected"),
    [
        ("var<workgroup> a: u32;", 4),
        ("var<workgroup> a: atomic<u32>;", 4),
        ("var<workgroup> a: vec4<f32>;", 16),
        ("var<workgroup> a: array<vec2<f32>, 12>;", 96),
        ("var<workgroup> a: array<array<f32, 4>, 3>;", 48),
        ("const N: u32 = 8u;\nvar<workgroup> a: array<f32, N>;\nvar<workgroup> b: array<atomic<u32>, N * 2u>;", 96),
        ("const N: u32 = 64u;\nconst T: u32 = 16u;\nconst P: u32 = N / T;\nvar<workgroup> a: array<f32, P * 3u>;", 48),
        (("const P: u32 = (N + T - 1u) / T;\nconst N: u32 = 33u;\nconst T: u32 = 0x10u;\n"
         "var<workgroup> a: array<f32, P>;"), 12),
        ("struct Pair {\n value: f32,\n token: u32 }\nvar<workgroup> a: array<Pair, 10>;", 80),
        ("struct Wide {\n value: f32,\n rest: vec4<f32> }\nvar<workgroup> a: array<Wide, 2>;", 64),
        ("var<workgroup> a: u32;  // var<workgroup> b: array<u32, 99>;", 4),
        ("var<private> a: array<u32, 99>;", 0),
    ],
)  # fmt: skip
def test_workgroup_memory_is_counted(declarations: str, expected: int) -> None:
    assert parse(declarations, "example").workgroup_bytes == expected


@pytest.mark.parametrize("size", ["MISSING", "4u << 1u", "f(4u)", "1u / 0u"])
def test_a_size_that_the_composer_cannot_tell_is_an_error(size: str) -> None:
    with pytest.raises(KernelError, match="is no number that the composer can tell"):
        parse(f"var<workgroup> a: array<f32, {size}>;", "example")


# Uniforms

STRUCT = re.compile(r"^struct (\w+) \{[^}]*\}", re.MULTILINE)
MIXED = """struct Mixed {
    a: f32,
    b: vec4<u32>,
    c: i32,
    d: vec2<f32>,
    e: u32,
    f: array<vec4<f32>, 3>,
    g: f32,
}"""


def uniform_structs() -> Iterator[tuple[str, str]]:
    """Name and text of every struct that a kernel binds as a uniform, and of one with everything in it."""
    for path in sorted(SHADERS.rglob("*.wgsl")):
        code = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
        structs = {match.group(1): match.group(0) for match in STRUCT.finditer(code)}
        for name in re.findall(r"var<uniform> \w+: (\w+);", code):
            yield f"{path.stem}.{name}", structs[name]
    yield "Mixed", MIXED


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in uniform_structs()])
def test_a_uniforms_members_lie_where_the_device_reads_them(gpu: Device, text: str) -> None:
    """Every member is given another number; a kernel copies all of them out."""
    match = STRUCT.match(text)
    assert match
    layout = parse(f"{text}\n@group(0) @binding(0) var<uniform> u: {match.group(1)};", "layout").uniforms["u"]
    values, expected, lines = {}, [], []
    for name, field in layout.fields.items():
        first = len(expected)
        numbers = list(range(100 + first, 100 + first + field.count))
        values[name] = numbers if field.count > 1 else numbers[0]
        expected += numbers
        member = f"u.{name}" + ("[i / 4u][i % 4u]" if field.count > 4 else "[i]" if field.count > 1 else "")
        lines.append(f"for (var i = 0u; i < {field.count}u; i++) {{ seen[{first}u + i] = u32({member}); }}")
    code = f"""{text}
@group(0) @binding(0) var<uniform> u: {match.group(1)};
@group(0) @binding(1) var<storage, read_write> seen: array<u32>;
@compute @workgroup_size(1) fn main() {{
    {" ".join(lines)}
}}
"""
    seen = gpu.run(parse(code, "layout"), {"seen": np.zeros(len(expected), np.uint32)}, {"u": values}, (1,))["seen"]
    np.testing.assert_array_equal(seen, expected)


def test_a_uniform_wants_exactly_its_members_and_their_numbers() -> None:
    layout = compose("top_logprobs.wgsl").uniforms["vocab"]
    good = dict.fromkeys(layout.fields, 1)
    layout.pack(good)
    with pytest.raises(KernelError, match=r"uniform wants \[.*\], got"):
        layout.pack({**good, "more": 1})
    with pytest.raises(KernelError, match=r"uniform wants \[.*\], got"):
        layout.pack({name: 1 for name in good if name != "n_top"})
    with pytest.raises(KernelError, match="uniform wants 1 numbers for size, got 2"):
        layout.pack({**good, "size": (1, 2)})


@pytest.mark.parametrize("kind", ["vec3<f32>", "mat4x4<f32>", "array<f32, 4>", "f16", "Other"])
def test_a_uniform_member_that_the_composer_does_not_know_is_an_error(kind: str) -> None:
    with pytest.raises(KernelError, match=f"a uniform cannot hold {re.escape(kind)}"):
        parse(f"struct Sizes {{\n a: {kind} }}", "example")
