// Q4_1: value = d * q + m. Planes: scales, f16 d and f16 m a block of 32; quants, 16 bytes: byte i holds value i in its
// low nibble and value i + 16 in its high one.

// include: quant/halves.wgsl
// include: quant/affine.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let dm = half_pair(planes.x, group);
    let q = W[planes.y + group];
    let nibble = vec4<u32>(0x0f0f0f0fu);
    return Packed(q & nibble, (q >> vec4<u32>(4u)) & nibble, dm.xx, dm.yy);
}
