// IQ1_S: value = d * (2 s + 1) * (code - 1 + delta), by 8 values an entry of the codebook. A block is 256 values.
// Planes: scales, 1 f16 d; indices, 32 bytes, the low 8 bits of an index for 8 values each; high bits, 8 x 16 bits for
// 32 values each: 4 x 3 high bits of indices, 3 bits s, 1 for a negative delta.

// include: quant/halves.wgsl
// include: quant/iq1.wgsl
// include: quant/span.wgsl

const SPAN: u32 = 4u;

struct Span {
    low: vec4<u32>,
    high: vec2<u32>,
    d: f32,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let block = group >> 3u;
    let high = W[planes.z + block];
    return Span(W[planes.y + (group >> 2u)], select(high.xy, high.zw, (group & 4u) == 4u), half(planes.x, block));
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    let low = one_of(span.low, i);
    let high = select(span.high.x, span.high.y, i >= 2u) >> (16u * (i & 1u));
    let scale = span.d * f32(((high >> 11u) & 14u) + 1u);
    let delta = (high >> 12u) & 8u;
    let a = eight_values(low, (high & 7u) | delta, scale);
    let b = eight_values(low >> 8u, ((high >> 3u) & 7u) | delta, scale);
    let c = eight_values(low >> 16u, ((high >> 6u) & 7u) | delta, scale);
    let d = eight_values(low >> 24u, ((high >> 9u) & 7u) | delta, scale);
    return array<vec4<f32>, 8>(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}
