// IQ2_XXS: value = d * (s + 1/2) / 4 * magnitude, signed, by 8 values an entry of the codebook. A block is 256 values.
// Planes: scales, 1 f16 d; indices and signs, 8 x 8 bytes for 32 values each: 4 indices of 8 bits, 4 x 7 bits of signs,
// 4 bits s.

// include: quant/halves.wgsl
// include: quant/iq2.wgsl
// include: quant/span.wgsl

const SPAN: u32 = 4u;

struct Span {
    a: vec4<u32>,
    b: vec4<u32>,
    d: f32,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let first = planes.y + (group >> 1u);
    return Span(W[first], W[first + 1u], half(planes.x, group >> 3u));
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    let pair = select(span.a, span.b, i >= 2u);
    let q = select(pair.xy, pair.zw, (i & 1u) == 1u);
    let scale = span.d * (0.125 + 0.25 * f32(q.y >> 28u));
    let signs = even_signs(sevens_in_bytes(q.y));
    let a = eight_values(q.x & 255u, signs, scale);
    let b = eight_values((q.x >> 8u) & 255u, signs >> 8u, scale);
    let c = eight_values((q.x >> 16u) & 255u, signs >> 16u, scale);
    let d = eight_values(q.x >> 24u, signs >> 24u, scale);
    return array<vec4<f32>, 8>(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}
