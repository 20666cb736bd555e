// IQ2_S: value = d * (s + 1/2) / 4 * magnitude, signed, by 8 values an entry of the codebook. A block is 256 values.
// Planes: scales, 1 f16 d; indices, 32 bytes, the low 8 bits of an index for 8 values each; signs, 1 bit a value; high
// bits and scales: 32 x 2 high bits of indices, then 16 nibbles s for 16 values each.

// include: quant/halves.wgsl
// include: quant/iq2.wgsl
// include: quant/span.wgsl

const SPAN: u32 = 4u;

struct Span {
    low: vec4<u32>,
    signs: vec4<u32>,
    high: u32,
    s: u32,
    d: f32,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let block = W[planes.w + (group >> 3u)];
    let own = select(block.xz, block.yw, (group & 4u) == 4u);
    let quarter = group >> 2u;
    return Span(W[planes.y + quarter], W[planes.z + quarter], own.x, own.y, half(planes.x, group >> 3u));
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    let low = one_of(span.low, i);
    let signs = one_of(span.signs, i);
    let high = span.high >> (8u * i);
    let s = span.s >> (8u * i);
    let first = span.d * (0.125 + 0.25 * f32(s & 15u));
    let second = span.d * (0.125 + 0.25 * f32((s >> 4u) & 15u));
    let a = eight_values((low & 255u) | ((high << 8u) & 0x300u), signs, first);
    let b = eight_values(((low >> 8u) & 255u) | ((high << 6u) & 0x300u), signs >> 8u, first);
    let c = eight_values(((low >> 16u) & 255u) | ((high << 4u) & 0x300u), signs >> 16u, second);
    let d = eight_values((low >> 24u) | ((high << 2u) & 0x300u), signs >> 24u, second);
    return array<vec4<f32>, 8>(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}
