// Reading a codebook, which lies at the start of W: 16 bits an entry, of 8 codes of 2 bits or 4 codes of 4 bits, the
// first one lowest. W[index / 8] holds an entry. Beside it, what the types that use one have in common: packed signs.

fn entry(index: u32) -> u32 {
    return W[index >> 3u][(index >> 1u) & 3u] >> (16u * (index & 1u));
}

// The four lowest codes of an entry.
fn codes_of_2_bits(codes: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(codes) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u));
}

fn codes_of_4_bits(codes: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(codes) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u));
}

// Eight signs of which the file keeps seven: the number of minuses is even.
fn even_signs(seven: u32) -> u32 {
    return seven | ((countOneBits(seven) & 1u) << 7u);
}

// Values whose bit in `signs`, counted from the lowest, is 1 change their sign.
fn with_signs(values: vec4<f32>, signs: u32) -> vec4<f32> {
    let minus = (vec4<u32>(signs) << vec4<u32>(31u, 30u, 29u, 28u)) & vec4<u32>(0x80000000u);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(values) ^ minus);
}
