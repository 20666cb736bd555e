// Q1_0: value = d or -d. Planes: scales, 1 f16 d a block of 128; quants, 16 bytes: bit i % 8 of byte i / 8 says whether
// value i is d.

// include: quant/halves.wgsl
// include: quant/spread.wgsl
// include: quant/packed.wgsl
// include: quant/span.wgsl

const SPAN: u32 = 4u;

struct Span {
    bits: vec4<u32>,
    minus: u32,  // the bits of -d
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    return Span(W[planes.y + group / 4u], bitcast<u32>(-half(planes.x, group / 4u)));
}

// Four values by the lowest bits.
fn four_signs(bits: u32, minus: u32) -> vec4<f32> {
    let plus = (vec4<u32>(bits) << vec4<u32>(31u, 30u, 29u, 28u)) & vec4<u32>(0x80000000u);
    return bitcast<vec4<f32>>(vec4<u32>(minus) ^ plus);
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    let bits = one_of(span.bits, i);
    let d = span.minus;
    return array<vec4<f32>, 8>(
        four_signs(bits, d), four_signs(bits >> 4u, d), four_signs(bits >> 8u, d), four_signs(bits >> 12u, d),
        four_signs(bits >> 16u, d), four_signs(bits >> 20u, d), four_signs(bits >> 24u, d), four_signs(bits >> 28u, d));
}

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let d = vec2<f32>(half(planes.x, group / 4u));
    let bits = word(planes.y, group);
    return Packed(spread_low(bits), spread_high(bits), 2.0 * d, -d);
}
