// IQ3_S: value = d * (2 s + 1) * magnitude, signed, by 4 values an entry of the codebook; the magnitude of a code is 2
// code + 1. A block is 256 values. Planes: scales, 1 f16 d; indices, 64 bytes, the low 8 bits of an index for 4 values
// each; high bits, 64 x 1 bit of indices; signs and scales: 1 bit a value, then 8 nibbles s for 32 values each.

// include: quant/halves.wgsl
// include: quant/codebook.wgsl
// include: quant/span.wgsl

const BLOCK_WORDS: u32 = 9u;  // of signs and scales
const SCALES: u32 = 8u;       // which of them are the scales

fn four_values(low: u32, high: u32, signs: u32, scale: f32) -> vec4<f32> {
    return with_signs(scale * four_magnitudes(codebook_word((low & 255u) | (high & 256u))), signs);
}

const SPAN: u32 = 4u;

struct Span {
    a: vec4<u32>,
    b: vec4<u32>,
    high: u32,
    s: u32,
    d: f32,
    signs: u32,  // where they are
    planes: vec4<u32>,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let block = group >> 3u;
    let first = planes.y + (group >> 1u);
    let own = block * BLOCK_WORDS;
    let s = word(planes.w, own + SCALES) >> (4u * (group & 4u));
    return Span(
        W[first], W[first + 1u], word(planes.z, group >> 2u), s, half(planes.x, block), own + (group & 4u), planes);
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    let pair = select(span.a, span.b, i >= 2u);
    let q = select(pair.xy, pair.zw, (i & 1u) == 1u);
    let high = span.high >> (8u * i);
    let signs = word(span.planes.w, span.signs + i);
    let scale = span.d * f32(2u * ((span.s >> (4u * i)) & 15u) + 1u);
    return array<vec4<f32>, 8>(
        four_values(q.x, high << 8u, signs, scale), four_values(q.x >> 8u, high << 7u, signs >> 4u, scale),
        four_values(q.x >> 16u, high << 6u, signs >> 8u, scale),
        four_values(q.x >> 24u, high << 5u, signs >> 12u, scale),
        four_values(q.y, high << 4u, signs >> 16u, scale), four_values(q.y >> 8u, high << 3u, signs >> 20u, scale),
        four_values(q.y >> 16u, high << 2u, signs >> 24u, scale),
        four_values(q.y >> 24u, high << 1u, signs >> 28u, scale));
}
