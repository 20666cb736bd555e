// TQ2_0: value = d * (q - 1), q of 2 bits. Planes: quants, 64 bytes a block of 256: byte i of the first 32 holds values
// i, i + 32, i + 64 and i + 96, from its low bits up, and the other 32 hold the other half of the block; scales, f16 d.

// include: quant/halves.wgsl
// include: quant/affine_span.wgsl

const SPAN: u32 = 4u;

struct Span {
    a: vec4<u32>,
    b: vec4<u32>,
    d: vec2<f32>,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let first = planes.x + group / 2u;
    return Span(W[first], W[first + 1u], vec2<f32>(half(planes.y, group / 8u)));
}

fn packed32_of(span: Span, i: u32) -> Packed {
    let shift = vec4<u32>(2u * i);
    let two_bits = vec4<u32>(0x03030303u);
    return Packed((span.a >> shift) & two_bits, (span.b >> shift) & two_bits, span.d, -span.d);
}
