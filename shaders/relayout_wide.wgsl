// Moves one plane of a chunk of a weight as relayout.wgsl does, 16 bytes a thread: for what begins at whole vec4 of the
// plane, and only its whole vec4. On CPUs a third of the time, because there a store costs as much for four words as for
// one.
//
//   blocks   bytes of whole blocks as the file has them, as words
//   plane    the weight's buffer
//
// Units and parameters as in relayout.wgsl. Needs no feature.

const UNIT_BITS: u32 = 16u;    // parameter: 8, 16 or 32
const PLANE_UNITS: u32 = 1u;   // parameter: units a block has in this plane
const BLOCK_UNITS: u32 = 1u;   // parameter: units a block has in the file
const BLOCK_OFFSET: u32 = 0u;  // parameter: where the plane's units start in a block
const UNITS: u32 = 32u / UNIT_BITS;  // units of a word

struct Chunk {
    first: u32,  // first vec4 of the weight's buffer that this chunk makes, from the chunk's first block
    count: u32,
}

@group(0) @binding(0) var<storage, read> blocks: array<u32>;
@group(0) @binding(1) var<storage, read_write> plane: array<vec4<u32>>;
@group(0) @binding(2) var<uniform> chunk: Chunk;

// Where a unit of the plane lies in the chunk.
fn source_of(unit: u32) -> u32 {
    return unit / PLANE_UNITS * BLOCK_UNITS + BLOCK_OFFSET + unit % PLANE_UNITS;
}

// A word of the plane whose units are neighbours in the file, or any other.
fn word_of(word: u32) -> u32 {
    if (UNITS == 1u) {
        return blocks[source_of(word)];
    }
    if (PLANE_UNITS % UNITS == 0u) {
        let first = source_of(word * UNITS);
        let shift = first % UNITS * UNIT_BITS;
        return (blocks[first / UNITS] >> shift) | ((blocks[first / UNITS + 1u] << (31u - shift)) << 1u);
    }
    var value = 0u;
    for (var i = 0u; i < UNITS; i++) {
        let unit = source_of(word * UNITS + i);
        let bits = extractBits(blocks[unit / UNITS], unit % UNITS * UNIT_BITS, UNIT_BITS);
        value |= bits << (i * UNIT_BITS);
    }
    return value;
}

fn four_of(word: u32) -> vec4<u32> {
    if (PLANE_UNITS % (4u * UNITS) == 0u) {  // all neighbours in the file
        let first = source_of(word * UNITS);
        let start = first / UNITS;
        let low = vec4(blocks[start], blocks[start + 1u], blocks[start + 2u], blocks[start + 3u]);
        if (UNITS == 1u) {
            return low;
        }
        let shift = first % UNITS * UNIT_BITS;
        return (low >> vec4(shift)) | ((vec4(low.yzw, blocks[start + 4u]) << vec4(31u - shift)) << vec4(1u));
    }
    return vec4(word_of(word), word_of(word + 1u), word_of(word + 2u), word_of(word + 3u));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = id.x + id.y * workgroups.x * 64u;
    if (i < chunk.count) {
        plane[chunk.first + i] = four_of(4u * i);
    }
}
