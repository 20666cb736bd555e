// What the IQ2 types have in common: value = scale * magnitude, with a sign of its own; the magnitudes of codes 0, 1, 2
// are 8, 25, 43.

// include: quant/codebook.wgsl

fn magnitudes(codes: u32) -> vec4<f32> {
    let c = codes_of_2_bits(codes);
    return 8.0 + c * (16.5 + 0.5 * c);
}

// Eight values by the index of their entry; the lowest bit of `signs` is the first one's.
fn eight_values(index: u32, signs: u32, scale: f32) -> array<vec4<f32>, 2> {
    let codes = entry(index);
    return array<vec4<f32>, 2>(
        scale * with_signs(magnitudes(codes), signs), scale * with_signs(magnitudes(codes >> 8u), signs >> 4u));
}
