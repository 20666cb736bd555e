// Q3_K: value = d * (s - 32) * (q - 4), q of 3 bits. Planes: high bits, 32 bytes a block of 256: bit g of byte i is bit
// 2 of value i + 32 g; quants, 64 bytes: byte i of the first 32 holds the other bits of values i, i + 32, i + 64 and i
// + 96, from its low bits up, and the other 32 hold the other half of the block; group scales, 12 bytes: 16 s of 6
// bits, s[k] has its low four bits in byte k % 8, the low nibble for k < 8, and its high two in byte 8 + k % 4 from bit
// k / 4 * 2 on; scales, f16 d.

// include: quant/halves.wgsl
// include: quant/affine.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let block = group / 8u;
    let g = group % 8u;
    let at = 16u * (g & 1u);
    let low = word(planes.z, block * 3u + ((g >> 1u) & 1u)) >> (at + 4u * (g >> 2u));
    let top = word(planes.z, block * 3u + 2u) >> (at + 2u * (g >> 1u));
    let four_bits = (vec2<u32>(low) >> vec2<u32>(0u, 8u)) & vec2<u32>(15u);
    let s = four_bits | (((vec2<u32>(top) >> vec2<u32>(0u, 8u)) & vec2<u32>(3u)) << vec2<u32>(4u));
    let d = half(planes.w, block) * (vec2<f32>(s) - 32.0);

    let first = planes.y + block * 4u + g / 4u * 2u;
    let shift = vec4<u32>(2u * (g & 3u));
    let two_bits = vec4<u32>(0x03030303u);
    let third = vec4<u32>(0x01010101u);
    let high_a = (W[planes.x + block * 2u] >> vec4<u32>(g)) & third;
    let high_b = (W[planes.x + block * 2u + 1u] >> vec4<u32>(g)) & third;
    let a = ((W[first] >> shift) & two_bits) | (high_a << vec4<u32>(2u));
    let b = ((W[first + 1u] >> shift) & two_bits) | (high_b << vec4<u32>(2u));
    return Packed(a, b, d, -4.0 * d);
}
