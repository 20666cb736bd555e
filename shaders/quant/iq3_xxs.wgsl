// IQ3_XXS: value = d * (s + 1/2) / 2 * magnitude, signed, by 4 values an entry of the codebook; the magnitudes of codes
// 0 to 7 are 4, 12, 20, ... 52, and 62. A block is 256 values. Planes: scales, 1 f16 d; indices, 64 bytes, one for 4
// values each; signs and scales, 8 words for 32 values each: 4 x 7 bits of signs, 4 bits s.

// include: quant/halves.wgsl
// include: quant/codebook.wgsl
// include: quant/span.wgsl

fn four_values(index: u32, signs: u32, scale: f32) -> vec4<f32> {
    return with_signs(scale * four_magnitudes(codebook_word(index & 255u)), signs);
}

const SPAN: u32 = 4u;

struct Span {
    a: vec4<u32>,
    b: vec4<u32>,
    s: vec4<u32>,
    d: f32,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let first = planes.y + (group >> 1u);
    return Span(W[first], W[first + 1u], W[planes.z + (group >> 2u)], half(planes.x, group >> 3u));
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    let pair = select(span.a, span.b, i >= 2u);
    let q = select(pair.xy, pair.zw, (i & 1u) == 1u);
    let s = one_of(span.s, i);
    let scale = span.d * (0.25 + 0.5 * f32(s >> 28u));
    let signs = even_signs(sevens_in_bytes(s));
    return array<vec4<f32>, 8>(
        four_values(q.x, signs, scale), four_values(q.x >> 8u, signs >> 4u, scale),
        four_values(q.x >> 16u, signs >> 8u, scale), four_values(q.x >> 24u, signs >> 12u, scale),
        four_values(q.y, signs >> 16u, scale), four_values(q.y >> 8u, signs >> 20u, scale),
        four_values(q.y >> 16u, signs >> 24u, scale), four_values(q.y >> 24u, signs >> 28u, scale));
}
