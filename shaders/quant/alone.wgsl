// A type whose groups of 32 values share no words: a span is one group.

const SPAN: u32 = 1u;

struct Span {
    group: u32,
    planes: vec4<u32>,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    return Span(group, planes);
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    return weights32(span.group, span.planes);
}
