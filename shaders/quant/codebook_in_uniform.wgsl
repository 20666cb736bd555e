// The codebook in a uniform, an entry in each vec4, which saves arithmetic of addresses. lavapipe gathers from there in half the
// time that it takes from a storage buffer; on a GPU lanes that ask for different words may have to wait for each other.

struct Codebook {
    words: array<vec4<u32>, 1024>,
}

@group(0) @binding(15) var<uniform> codebook: Codebook;

fn codebook_word(index: u32) -> u32 {
    return codebook.words[index].x;
}

fn codebook_pair(index: u32) -> vec2<u32> {
    return codebook.words[index].xy;
}
