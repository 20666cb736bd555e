// IQ2_S: value = d * (s + 1/2) / 4 * magnitude, signed, by 8 values an entry of the codebook. A block is 256 values.
// Planes: scales, 1 f16 d; indices, 32 bytes, the low 8 bits of an index for 8 values each; signs, 1 bit a value; high
// bits and scales: 32 x 2 high bits of indices, then 16 nibbles s for 16 values each.

// include: quant/halves.wgsl
// include: quant/iq2.wgsl

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let low = W[planes.y + (group >> 2u)][group & 3u];
    let signs = W[planes.z + (group >> 2u)][group & 3u];
    let block = W[planes.w + (group >> 3u)];
    let own = select(block.xz, block.yw, (group & 4u) == 4u) >> vec2<u32>(8u * (group & 3u));  // (high bits, scales)
    let whole = half(planes.x, group >> 3u);
    let first = whole * (0.125 + 0.25 * f32(own.y & 15u));
    let second = whole * (0.125 + 0.25 * f32((own.y >> 4u) & 15u));
    let a = eight_values((low & 255u) | ((own.x << 8u) & 0x300u), signs, first);
    let b = eight_values(((low >> 8u) & 255u) | ((own.x << 6u) & 0x300u), signs >> 8u, first);
    let c = eight_values(((low >> 16u) & 255u) | ((own.x << 4u) & 0x300u), signs >> 16u, second);
    let d = eight_values((low >> 24u) | ((own.x << 2u) & 0x300u), signs >> 24u, second);
    return array<vec4<f32>, 8>(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}
