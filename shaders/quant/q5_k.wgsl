// Q5_K: value = d * s * q - dmin * t. Planes: scales, 16 bytes a block of 256 (k_scales.wgsl); high bits, 32 bytes: bit
// g of byte i is bit 4 of value i + 32 g; quants, 128 bytes: byte i of the first 32 holds the other bits of value i in
// its low nibble and those of value i + 32 in its high one, and so on for each 64 values.

// include: quant/affine.wgsl
// include: quant/k_scales.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let g = group % 8u;
    let scales = k_scales(W[planes.x + group / 8u], g);
    let first = planes.z + group / 2u * 2u;
    let shift = vec4<u32>(4u * (g & 1u));
    let nibble = vec4<u32>(0x0f0f0f0fu);
    let fifth = vec4<u32>(0x01010101u);
    let high_a = (W[planes.y + group / 8u * 2u] >> vec4<u32>(g)) & fifth;
    let high_b = (W[planes.y + group / 8u * 2u + 1u] >> vec4<u32>(g)) & fifth;
    let a = ((W[first] >> shift) & nibble) | (high_a << vec4<u32>(4u));
    let b = ((W[first + 1u] >> shift) & nibble) | (high_b << vec4<u32>(4u));
    return Packed(a, b, scales.xx, -scales.yy);
}
