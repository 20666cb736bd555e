// IQ2_XS: value = d * (s + 1/2) / 4 * magnitude, signed, by 8 values an entry of the codebook. A block is 256 values.
// Planes: scales, 1 f16 d; indices and signs, 32 x 16 bits for 8 values each: 9 bits of index, 7 bits of signs; group
// scales, 16 nibbles s for 16 values each.

// include: quant/halves.wgsl
// include: quant/iq2.wgsl
// include: quant/span.wgsl

const SPAN: u32 = 4u;

struct Span {
    a: vec4<u32>,
    b: vec4<u32>,
    s: u32,
    d: f32,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let first = planes.y + (group >> 1u);
    return Span(W[first], W[first + 1u], word(planes.z, group >> 2u), half(planes.x, group >> 3u));
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    let pair = select(span.a, span.b, i >= 2u);
    let q = select(pair.xy, pair.zw, (i & 1u) == 1u);
    let s = span.s >> (8u * i);
    let first = span.d * (0.125 + 0.25 * f32(s & 15u));
    let second = span.d * (0.125 + 0.25 * f32((s >> 4u) & 15u));
    let sevens = (q >> vec2<u32>(9u)) & vec2<u32>(0x007f007fu);
    let signs = even_signs((sevens.x & 0x7fu) | (sevens.x >> 8u) | (((sevens.y & 0x7fu) | (sevens.y >> 8u)) << 16u));
    let a = eight_values(q.x & 511u, signs, first);
    let b = eight_values((q.x >> 16u) & 511u, signs >> 8u, first);
    let c = eight_values(q.y & 511u, signs >> 16u, second);
    let d = eight_values((q.y >> 16u) & 511u, signs >> 24u, second);
    return array<vec4<f32>, 8>(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}
