// IQ4_XS: value = d * (s - 32) * table[q]. Planes: scales, 8 bytes a block of 256: f16 d, then for each group g of 32
// values bits 4 and 5 of s in bits 2 g and 2 g + 1 of two bytes, and its low bits in a nibble of four; quants, 16 bytes
// a group: byte i holds value i in its low nibble and value i + 16 in its high one.

// include: quant/halves.wgsl
// include: quant/iq4_table.wgsl
// include: quant/span.wgsl

const SPAN: u32 = 8u;

struct Span {
    scales: vec2<u32>,
    d: f32,
    first: u32,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let scales = vec2<u32>(word(planes.x, group / 4u), word(planes.x, group / 4u + 1u));
    return Span(scales, unpack2x16float(scales.x).x, planes.y + group);
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    let low = span.scales.y >> (4u * i);
    let high = span.scales.x >> (16u + 2u * i);
    return iq4(W[span.first + i], span.d * (f32((low & 15u) | ((high & 3u) << 4u)) - 32.0));
}
