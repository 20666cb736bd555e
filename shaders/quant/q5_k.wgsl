// Q5_K: value = d * s * q - dmin * t. Planes: scales, 16 bytes a block of 256 (k_scales.wgsl); high bits, 32 bytes: bit
// g of byte i is bit 4 of value i + 32 g; quants, 128 bytes: byte i of the first 32 holds the other bits of value i in
// its low nibble and those of value i + 32 in its high one, and so on for each 64 values.

// include: quant/k_scales.wgsl
// include: quant/affine_span.wgsl

const SPAN: u32 = 2u;

struct Span {
    a: vec4<u32>,
    b: vec4<u32>,
    high_a: vec4<u32>,
    high_b: vec4<u32>,
    scales: vec4<u32>,
    g: u32,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let first = planes.z + group;
    let high = planes.y + group / 8u * 2u;
    return Span(W[first], W[first + 1u], W[high], W[high + 1u], W[planes.x + group / 8u], group % 8u);
}

fn packed32_of(span: Span, i: u32) -> Packed {
    let g = span.g + i;
    let scales = k_scales(span.scales, g);
    let shift = vec4<u32>(4u * i);
    let nibble = vec4<u32>(0x0f0f0f0fu);
    let fifth = vec4<u32>(0x01010101u);
    let a = ((span.a >> shift) & nibble) | (((span.high_a >> vec4<u32>(g)) & fifth) << vec4<u32>(4u));
    let b = ((span.b >> shift) & nibble) | (((span.high_b >> vec4<u32>(g)) & fifth) << vec4<u32>(4u));
    return Packed(a, b, scales.xx, -scales.yy);
}
