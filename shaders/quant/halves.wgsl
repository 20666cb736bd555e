// Reading f16 scales out of a plane of vec4<u32>.

fn half(plane: u32, index: u32) -> f32 {
    let pair = unpack2x16float(W[plane + (index >> 3u)][(index >> 1u) & 3u]);
    return select(pair.x, pair.y, (index & 1u) == 1u);
}

fn half_pair(plane: u32, index: u32) -> vec2<f32> {
    return unpack2x16float(W[plane + (index >> 2u)][index & 3u]);
}

// The four low nibbles of a word's bytes, in order.
fn low_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u));
}
