// Q6_K: value = d * s * (q - 32). Planes: quants, 128 bytes a block of 256: byte i of the first 64 holds the low bits
// of value i in its low nibble and those of value i + 64 in its high one, and the other 64 hold the other half of the
// block; high bits, 64 bytes: byte i of the first 32 holds bits 4 and 5 of values i, i + 32, i + 64 and i + 96, from
// its low bits up, and the other 32 those of the other half; group scales, 16 signed bytes s, one for each 16 values;
// scales, f16 d.

// include: quant/halves.wgsl
// include: quant/affine.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let block = group / 8u;
    let g = group % 8u;
    let parts = vec2<u32>(word(planes.z, group / 2u) >> (16u * (g & 1u))) << vec2<u32>(24u, 16u);
    let d = half(planes.w, block) * vec2<f32>(bitcast<vec2<i32>>(parts) >> vec2<u32>(24u));

    let first = planes.x + block * 8u + g / 4u * 4u + (g & 1u) * 2u;
    let shift = vec4<u32>(4u * ((g >> 1u) & 1u));
    let nibble = vec4<u32>(0x0f0f0f0fu);
    let first_high = planes.y + block * 4u + g / 4u * 2u;
    let shift_high = vec4<u32>(2u * (g & 3u));
    let two_bits = vec4<u32>(0x03030303u);
    let high_a = (W[first_high] >> shift_high) & two_bits;
    let high_b = (W[first_high + 1u] >> shift_high) & two_bits;
    let a = ((W[first] >> shift) & nibble) | (high_a << vec4<u32>(4u));
    let b = ((W[first + 1u] >> shift) & nibble) | (high_b << vec4<u32>(4u));
    return Packed(a, b, d, -32.0 * d);
}
