// Q2_K: value = d * s * q - dmin * t, q of 2 bits. Planes: group scales, 16 bytes a block of 256, one for each 16
// values: s in its low nibble, t in its high one; quants, 64 bytes: byte i of the first 32 holds values i, i + 32, i +
// 64 and i + 96, from its low bits up, and the other 32 hold the other half of the block; scales, f16 d and f16 dmin.

// include: quant/halves.wgsl
// include: quant/affine.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let block = group / 8u;
    let g = group % 8u;
    let parts = word(planes.x, group / 2u) >> (16u * (g & 1u));
    let first = planes.y + block * 4u + g / 4u * 2u;
    let shift = vec4<u32>(2u * (g & 3u));
    let two_bits = vec4<u32>(0x03030303u);
    let d = half_pair(planes.z, block);
    let s = vec2<f32>((vec2<u32>(parts) >> vec2<u32>(0u, 8u)) & vec2<u32>(15u));
    let t = vec2<f32>((vec2<u32>(parts) >> vec2<u32>(4u, 12u)) & vec2<u32>(15u));
    return Packed((W[first] >> shift) & two_bits, (W[first + 1u] >> shift) & two_bits, d.x * s, -d.y * t);
}
