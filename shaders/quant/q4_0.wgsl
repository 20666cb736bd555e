// Q4_0: value = d * (q - 8). Planes: scales, 1 f16 d a block of 32; quants, 16 bytes: byte i holds value i in its low
// nibble and value i + 16 in its high one.

// include: quant/halves.wgsl
// include: quant/affine.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let d = vec2<f32>(half(planes.x, group));
    let q = W[planes.y + group];
    let nibble = vec4<u32>(0x0f0f0f0fu);
    return Packed(q & nibble, (q >> vec4<u32>(4u)) & nibble, d, -8.0 * d);
}
