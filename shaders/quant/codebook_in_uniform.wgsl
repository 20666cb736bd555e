// The codebook in a uniform: lavapipe gathers from there in half the time that it takes from a storage buffer. On a GPU lanes
// that ask for different words of a uniform may have to wait for each other.

struct Codebook {
    words: array<vec4<u32>, 256>,
}

@group(0) @binding(15) var<uniform> codebook: Codebook;

fn codebook_word(index: u32) -> u32 {
    return codebook.words[index >> 2u][index & 3u];
}
