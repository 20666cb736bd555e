// Q6_K: value = d * s * (q - 32). Planes: quants, 128 bytes a block of 256: byte i of the first 64 holds the low bits
// of value i in its low nibble and those of value i + 64 in its high one, and the other 64 hold the other half of the
// block; high bits, 64 bytes: byte i of the first 32 holds bits 4 and 5 of values i, i + 32, i + 64 and i + 96, from
// its low bits up, and the other 32 those of the other half; group scales, 16 signed bytes s, one for each 16 values;
// scales, f16 d.

// include: quant/halves.wgsl
// include: quant/affine_span.wgsl

const SPAN: u32 = 4u;

struct Span {
    high_a: vec4<u32>,
    high_b: vec4<u32>,
    parts: vec2<u32>,
    d: f32,
    first: u32,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let high = planes.y + group / 2u;
    let parts = vec2<u32>(word(planes.z, group / 2u), word(planes.z, group / 2u + 1u));
    return Span(W[high], W[high + 1u], parts, half(planes.w, group / 8u), planes.x + group);
}

fn packed32_of(span: Span, i: u32) -> Packed {
    let own = select(span.parts.x, span.parts.y, i >= 2u) >> (16u * (i & 1u));
    let parts = vec2<u32>(own) << vec2<u32>(24u, 16u);
    let d = span.d * vec2<f32>(bitcast<vec2<i32>>(parts) >> vec2<u32>(24u));

    let first = span.first + (i & 1u) * 2u;
    let shift = vec4<u32>(4u * (i >> 1u));
    let nibble = vec4<u32>(0x0f0f0f0fu);
    let shift_high = vec4<u32>(2u * i);
    let two_bits = vec4<u32>(0x03030303u);
    let high_a = (span.high_a >> shift_high) & two_bits;
    let high_b = (span.high_b >> shift_high) & two_bits;
    let a = ((W[first] >> shift) & nibble) | (high_a << vec4<u32>(4u));
    let b = ((W[first + 1u] >> shift) & nibble) | (high_b << vec4<u32>(4u));
    return Packed(a, b, d, -32.0 * d);
}
