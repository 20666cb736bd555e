// What the types that index a codebook have in common. An entry of IQ1 is 16 bits, 8 codes of 2 bits, the first one
// lowest; of IQ2 and IQ3 it is 8 or 4 magnitudes of a byte.

// include: <codebook>=quant/codebook_in_weight.wgsl

// The 8 codes of an entry.
fn codes(index: u32) -> u32 {
    return codebook_word(index >> 1u) >> (16u * (index & 1u));
}

// The four lowest.
fn codes_of_2_bits(codes: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(codes) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u));
}

fn four_magnitudes(bytes: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(bytes) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}

// Four times eight signs of which the file keeps seven, in bytes: the number of minuses of each is even.
fn even_signs(sevens: u32) -> u32 {
    let folded = sevens ^ (sevens >> 4u);
    let twice = folded ^ (folded >> 2u);
    return sevens | (((twice ^ (twice >> 1u)) & 0x01010101u) << 7u);
}

// Four times seven bits, one behind the other, in bytes.
fn sevens_in_bytes(bits: u32) -> u32 {
    return (bits & 0x7fu) | ((bits << 1u) & 0x7f00u) | ((bits << 2u) & 0x7f0000u) | ((bits << 3u) & 0x7f000000u);
}

// Values whose bit in `signs`, counted from the lowest, is 1 change their sign.
fn with_signs(values: vec4<f32>, signs: u32) -> vec4<f32> {
    let minus = (vec4<u32>(signs) << vec4<u32>(31u, 30u, 29u, 28u)) & vec4<u32>(0x80000000u);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(values) ^ minus);
}
