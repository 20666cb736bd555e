// IQ3_XXS: value = d * (s + 1/2) / 2 * magnitude, signed, by 4 values an entry of the codebook; the magnitudes of codes
// 0 to 7 are 4, 12, 20, ... 52, and 62. A block is 256 values. Planes: scales, 1 f16 d; indices, 64 bytes, one for 4
// values each; signs and scales, 8 words for 32 values each: 4 x 7 bits of signs, 4 bits s.

// include: quant/halves.wgsl
// include: quant/codebook.wgsl

fn four_values(index: u32, signs: u32, scale: f32) -> vec4<f32> {
    let codes = codes_of_4_bits(entry(index & 255u));
    let magnitudes = 4.0 + 8.0 * codes + select(vec4<f32>(0.0), vec4<f32>(2.0), codes == vec4<f32>(7.0));
    return scale * with_signs(magnitudes, signs);
}

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let pair = W[planes.y + (group >> 1u)];
    let q = select(pair.xy, pair.zw, (group & 1u) == 1u);
    let s = W[planes.z + (group >> 2u)][group & 3u];
    let scale = half(planes.x, group >> 3u) * (0.25 + 0.5 * f32(s >> 28u));
    let a = even_signs(s & 127u);
    let b = even_signs((s >> 7u) & 127u);
    let c = even_signs((s >> 14u) & 127u);
    let d = even_signs((s >> 21u) & 127u);
    return array<vec4<f32>, 8>(
        four_values(q.x, a, scale), four_values(q.x >> 8u, a >> 4u, scale),
        four_values(q.x >> 16u, b, scale), four_values(q.x >> 24u, b >> 4u, scale),
        four_values(q.y, c, scale), four_values(q.y >> 8u, c >> 4u, scale),
        four_values(q.y >> 16u, d, scale), four_values(q.y >> 24u, d >> 4u, scale));
}
