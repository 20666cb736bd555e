// IQ1_M: value = d * (2 s + 1) * (code - 1 + delta), by 8 values an entry of the codebook. A block is 256 values.
// Planes: indices, 32 bytes, the low 8 bits of an index for 8 values each; high bits, 32 nibbles for 8 values each: 3
// high bits of the index, 1 for a negative delta; scales, 4 x 16 bits: 4 x 3 bits s for 16 values each, and 4 bits of
// the f16 d.

// include: quant/iq1.wgsl
// include: quant/span.wgsl

const SPAN: u32 = 4u;

struct Span {
    low: vec4<u32>,
    high: vec2<u32>,
    s: vec2<u32>,
    d: f32,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let high = W[planes.y + (group >> 3u)];
    let block = W[planes.z + (group >> 4u)];
    let scales = select(block.xy, block.zw, (group & 8u) == 8u);
    let bits = ((scales.x >> 12u) & 15u) | ((scales.x >> 24u) & 0xf0u)
        | ((scales.y >> 4u) & 0xf00u) | ((scales.y >> 16u) & 0xf000u);
    let later = (group & 4u) == 4u;
    let own = select(scales.x, scales.y, later);
    return Span(
        W[planes.x + (group >> 2u)], select(high.xy, high.zw, later), vec2<u32>(own, own >> 16u), unpack2x16float(bits).x);
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    let later = i >= 2u;
    let low = one_of(span.low, i);
    let high = select(span.high.x, span.high.y, later) >> (16u * (i & 1u));
    let own = select(span.s.x, span.s.y, later) >> (6u * (i & 1u));
    let first = span.d * f32(((own << 1u) & 14u) + 1u);
    let second = span.d * f32(((own >> 2u) & 14u) + 1u);
    let a = eight_values(low, high, first);
    let b = eight_values(low >> 8u, high >> 4u, first);
    let c = eight_values(low >> 16u, high >> 8u, second);
    let d = eight_values(low >> 24u, high >> 12u, second);
    return array<vec4<f32>, 8>(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}
