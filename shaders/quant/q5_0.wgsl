// Q5_0: value = d * (q - 16). Planes: scales, 1 f16 d a block of 32; high bits, a word whose bit i is bit 4 of value i;
// quants, 16 bytes: byte i holds the other bits of value i in its low nibble and those of value i + 16 in its high one.

// include: quant/halves.wgsl
// include: quant/spread.wgsl
// include: quant/affine.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let d = vec2<f32>(half(planes.x, group));
    let high = word(planes.y, group);
    let q = W[planes.z + group];
    let nibble = vec4<u32>(0x0f0f0f0fu);
    let a = (q & nibble) | (spread_low(high) << vec4<u32>(4u));
    let b = ((q >> vec4<u32>(4u)) & nibble) | (spread_high(high) << vec4<u32>(4u));
    return Packed(a, b, d, -16.0 * d);
}
