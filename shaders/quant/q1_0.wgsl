// Q1_0: value = d or -d. Planes: scales, 1 f16 d a block of 128; quants, 16 bytes: bit i % 8 of byte i / 8 says whether
// value i is d.

// include: quant/halves.wgsl
// include: quant/spread.wgsl
// include: quant/affine.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let d = vec2<f32>(half(planes.x, group / 4u));
    let bits = word(planes.y, group);
    return Packed(spread_low(bits), spread_high(bits), 2.0 * d, -d);
}
