// What the IQ2 types have in common: value = scale * magnitude, with a sign of its own; the magnitudes are 8, 25 and 43.

// include: quant/codebook.wgsl

// Eight values by the index of their entry; the lowest bit of `signs` is the first one's.
fn eight_values(index: u32, signs: u32, scale: f32) -> array<vec4<f32>, 2> {
    let bytes = codebook_pair(index);
    return array<vec4<f32>, 2>(
        with_signs(scale * four_magnitudes(bytes.x), signs), with_signs(scale * four_magnitudes(bytes.y), signs >> 4u));
}
