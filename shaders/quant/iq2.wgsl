// What the IQ2 types have in common: value = scale * magnitude, with a sign of its own; the magnitudes of codes 0, 1, 2
// are 8, 25, 43.

// include: quant/codebook.wgsl

// scale * (8 + 16.5 c + 0.5 c^2), which is exact: a scale has 16 bits at most.
fn magnitudes(codes: u32, scale: f32) -> vec4<f32> {
    let c = codes_of_2_bits(codes);
    return fma(c, fma(c, vec4<f32>(0.5 * scale), vec4<f32>(16.5 * scale)), vec4<f32>(8.0 * scale));
}

// Eight values by the index of their entry; the lowest bit of `signs` is the first one's.
fn eight_values(index: u32, signs: u32, scale: f32) -> array<vec4<f32>, 2> {
    let eight = codes(index);
    return array<vec4<f32>, 2>(
        with_signs(magnitudes(eight, scale), signs), with_signs(magnitudes(eight >> 8u, scale), signs >> 4u));
}
