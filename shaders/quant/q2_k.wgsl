// Q2_K: value = d * s * q - dmin * t, q of 2 bits. Planes: group scales, 16 bytes a block of 256, one for each 16
// values: s in its low nibble, t in its high one; quants, 64 bytes: byte i of the first 32 holds values i, i + 32, i +
// 64 and i + 96, from its low bits up, and the other 32 hold the other half of the block; scales, f16 d and f16 dmin.

// include: quant/halves.wgsl
// include: quant/affine_span.wgsl

const SPAN: u32 = 4u;

struct Span {
    a: vec4<u32>,
    b: vec4<u32>,
    parts: vec2<u32>,
    d: vec2<f32>,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let first = planes.y + group / 2u;
    let parts = vec2<u32>(word(planes.x, group / 2u), word(planes.x, group / 2u + 1u));
    return Span(W[first], W[first + 1u], parts, half_pair(planes.z, group / 8u));
}

fn packed32_of(span: Span, i: u32) -> Packed {
    let parts = select(span.parts.x, span.parts.y, i >= 2u) >> (16u * (i & 1u));
    let shift = vec4<u32>(2u * i);
    let two_bits = vec4<u32>(0x03030303u);
    let s = vec2<f32>((vec2<u32>(parts) >> vec2<u32>(0u, 8u)) & vec2<u32>(15u));
    let t = vec2<f32>((vec2<u32>(parts) >> vec2<u32>(4u, 12u)) & vec2<u32>(15u));
    return Packed((span.a >> shift) & two_bits, (span.b >> shift) & two_bits, span.d.x * s, -span.d.y * t);
}
