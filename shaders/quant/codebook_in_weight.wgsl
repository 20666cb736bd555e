// The codebook that lies at the start of W.

fn codebook_word(index: u32) -> u32 {
    return W[index >> 2u][index & 3u];
}

fn codebook_pair(index: u32) -> vec2<u32> {
    let two = W[index >> 1u];
    return select(two.xy, two.zw, (index & 1u) == 1u);
}
