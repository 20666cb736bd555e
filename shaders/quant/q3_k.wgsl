// Q3_K: value = d * (s - 32) * (q - 4), q of 3 bits. Planes: high bits, 32 bytes a block of 256: bit g of byte i is bit
// 2 of value i + 32 g; quants, 64 bytes: byte i of the first 32 holds the other bits of values i, i + 32, i + 64 and i
// + 96, from its low bits up, and the other 32 hold the other half of the block; group scales, 12 bytes: 16 s of 6
// bits, s[k] has its low four bits in byte k % 8, the low nibble for k < 8, and its high two in byte 8 + k % 4 from bit
// k / 4 * 2 on; scales, f16 d.

// include: quant/halves.wgsl
// include: quant/affine_span.wgsl

const SPAN: u32 = 4u;

struct Span {
    a: vec4<u32>,
    b: vec4<u32>,
    high_a: vec4<u32>,
    high_b: vec4<u32>,
    low: vec2<u32>,  // bits of s
    top: u32,
    d: f32,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let block = group / 8u;
    let later = group & 4u;  // of the second half of a block
    let first = planes.y + group / 2u;
    let high = planes.x + block * 2u;
    let low = vec2<u32>(word(planes.z, block * 3u), word(planes.z, block * 3u + 1u)) >> vec2<u32>(later);
    let top = word(planes.z, block * 3u + 2u) >> later;
    let shift = vec4<u32>(later);
    return Span(W[first], W[first + 1u], W[high] >> shift, W[high + 1u] >> shift, low, top, half(planes.w, block));
}

fn packed32_of(span: Span, i: u32) -> Packed {
    let at = 16u * (i & 1u);
    let low = select(span.low.x, span.low.y, i >= 2u) >> at;
    let top = span.top >> (at + (i & 2u));
    let four_bits = (vec2<u32>(low) >> vec2<u32>(0u, 8u)) & vec2<u32>(15u);
    let s = four_bits | (((vec2<u32>(top) >> vec2<u32>(0u, 8u)) & vec2<u32>(3u)) << vec2<u32>(4u));
    let d = span.d * (vec2<f32>(s) - 32.0);

    let shift = vec4<u32>(2u * i);
    let two_bits = vec4<u32>(0x03030303u);
    let third = vec4<u32>(0x01010101u);
    let a = ((span.a >> shift) & two_bits) | (((span.high_a >> vec4<u32>(i)) & third) << vec4<u32>(2u));
    let b = ((span.b >> shift) & two_bits) | (((span.high_b >> vec4<u32>(i)) & third) << vec4<u32>(2u));
    return Packed(a, b, d, -4.0 * d);
}
