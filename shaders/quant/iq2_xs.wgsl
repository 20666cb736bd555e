// IQ2_XS: value = d * (s + 1/2) / 4 * magnitude, signed, by 8 values an entry of the codebook. A block is 256 values.
// Planes: scales, 1 f16 d; indices and signs, 32 x 16 bits for 8 values each: 9 bits of index, 7 bits of signs; group
// scales, 16 nibbles s for 16 values each.

// include: quant/halves.wgsl
// include: quant/iq2.wgsl

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let pair = W[planes.y + (group >> 1u)];
    let q = select(pair.xy, pair.zw, (group & 1u) == 1u);
    let s = W[planes.z + (group >> 4u)][(group >> 2u) & 3u] >> (8u * (group & 3u));
    let whole = half(planes.x, group >> 3u);
    let first = whole * (0.125 + 0.25 * f32(s & 15u));
    let second = whole * (0.125 + 0.25 * f32((s >> 4u) & 15u));
    let a = eight_values(q.x & 511u, even_signs((q.x >> 9u) & 127u), first);
    let b = eight_values((q.x >> 16u) & 511u, even_signs(q.x >> 25u), first);
    let c = eight_values(q.y & 511u, even_signs((q.y >> 9u) & 127u), second);
    let d = eight_values((q.y >> 16u) & 511u, even_signs(q.y >> 25u), second);
    return array<vec4<f32>, 8>(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}
