// Q4_K: value = d * s * q - dmin * t. Planes: scales, 16 bytes a block of 256 (k_scales.wgsl); quants, 128 bytes: byte
// i of the first 32 holds value i in its low nibble and value i + 32 in its high one, and so on for each 64 values.

// include: quant/affine.wgsl
// include: quant/k_scales.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let scales = k_scales(W[planes.x + group / 8u], group % 8u);
    let first = planes.y + group / 2u * 2u;
    let shift = vec4<u32>(4u * (group & 1u));
    let nibble = vec4<u32>(0x0f0f0f0fu);
    return Packed((W[first] >> shift) & nibble, (W[first + 1u] >> shift) & nibble, scales.xx, -scales.yy);
}
