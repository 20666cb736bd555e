// The codebook that lies at the start of W.

fn codebook_word(index: u32) -> u32 {
    return W[index >> 2u][index & 3u];
}
