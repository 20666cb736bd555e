// IQ2_XXS: value = d * (s + 1/2) / 4 * magnitude, signed, by 8 values an entry of the codebook. A block is 256 values.
// Planes: scales, 1 f16 d; indices and signs, 8 x 8 bytes for 32 values each: 4 indices of 8 bits, 4 x 7 bits of signs,
// 4 bits s.

// include: quant/halves.wgsl
// include: quant/iq2.wgsl

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let pair = W[planes.y + (group >> 1u)];
    let q = select(pair.xy, pair.zw, (group & 1u) == 1u);
    let scale = half(planes.x, group >> 3u) * (0.125 + 0.25 * f32(q.y >> 28u));
    let a = eight_values(q.x & 255u, even_signs(q.y & 127u), scale);
    let b = eight_values((q.x >> 8u) & 255u, even_signs((q.y >> 7u) & 127u), scale);
    let c = eight_values((q.x >> 16u) & 255u, even_signs((q.y >> 14u) & 127u), scale);
    let d = eight_values(q.x >> 24u, even_signs((q.y >> 21u) & 127u), scale);
    return array<vec4<f32>, 8>(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}
