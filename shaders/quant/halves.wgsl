// Reading words, bytes and f16 scales out of a plane of vec4<u32>; `index` counts them from the plane's start.

fn word(plane: u32, index: u32) -> u32 {
    return W[plane + (index >> 2u)][index & 3u];
}

fn byte(plane: u32, index: u32) -> u32 {
    return (word(plane, index >> 2u) >> (8u * (index & 3u))) & 255u;
}

fn half(plane: u32, index: u32) -> f32 {
    let pair = unpack2x16float(word(plane, index >> 1u));
    return select(pair.x, pair.y, (index & 1u) == 1u);
}

fn half_pair(plane: u32, index: u32) -> vec2<f32> {
    return unpack2x16float(word(plane, index));
}
