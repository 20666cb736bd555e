// What IQ1_S and IQ1_M have in common: value = scale * (code - 1 + delta), code 0, 1 or 2, delta 1/8 or -1/8 for eight
// values.

// include: quant/codebook.wgsl

// Eight values by the low byte of an index and a nibble: its high 3 bits, and 1 for a negative delta.
fn eight_values(low: u32, nibble: u32, scale: f32) -> array<vec4<f32>, 2> {
    let eight = codes((low & 255u) | ((nibble & 7u) << 8u));
    let factor = vec4<f32>(scale);
    let offset = vec4<f32>(scale * select(-0.875, -1.125, (nibble & 8u) == 8u));
    return array<vec4<f32>, 2>(
        fma(factor, codes_of_2_bits(eight), offset), fma(factor, codes_of_2_bits(eight >> 8u), offset));
}
