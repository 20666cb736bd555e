// Moves one plane of a chunk of a weight from the file's blocks to where it lies on the GPU; changes no bit.
//
//   blocks   bytes of whole blocks as the file has them, as words
//   plane    the weight's buffer, as words
//
// Everything is counted in 16-bit halves. A thread makes one word of the plane; where a plane's range starts or ends inside
// a word, the other half is kept. Rows of one-value blocks are padded with zeros. Needs no feature.

const PLANE_HALVES: u32 = 1u;  // parameter: halves a block has in this plane
const BLOCK_HALVES: u32 = 1u;  // parameter: halves a block has in the file
const BLOCK_OFFSET: u32 = 0u;  // parameter: where the plane's halves start in a block
const PADDED: bool = true;     // parameter: whether rows are longer in the plane than in the file

struct Chunk {
    first_half: u32,      // first half of the plane that this chunk makes
    n_halves: u32,
    plane: u32,           // where the plane starts in the buffer, in words
    row_blocks: u32,      // blocks a row has in the file
    padded_blocks: u32,   // and in the plane
    first_block: u32,     // the chunk's first block, counted in the tensor
    first_row: u32,       // the tensor's first row in the weight
}

@group(0) @binding(0) var<storage, read> blocks: array<u32>;
@group(0) @binding(1) var<storage, read_write> plane: array<u32>;
@group(0) @binding(2) var<uniform> chunk: Chunk;

fn half_of(index: u32) -> u32 {
    var block = index / PLANE_HALVES;
    if (PADDED) {
        let row = block / chunk.padded_blocks - chunk.first_row;
        let column = block % chunk.padded_blocks;
        if (column >= chunk.row_blocks) {
            return 0u;
        }
        block = row * chunk.row_blocks + column;
    } else {
        block -= chunk.first_row * chunk.row_blocks;
    }
    let source = (block - chunk.first_block) * BLOCK_HALVES + BLOCK_OFFSET + index % PLANE_HALVES;
    return (blocks[source / 2u] >> (16u * (source & 1u))) & 0xffffu;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let word = chunk.first_half / 2u + id.x + id.y * workgroups.x * 64u;
    let end = chunk.first_half + chunk.n_halves;
    if (word * 2u < end) {
        var value = plane[chunk.plane + word];
        if (word * 2u >= chunk.first_half) {
            value = (value & 0xffff0000u) | half_of(word * 2u);
        }
        if (word * 2u + 1u < end) {
            value = (value & 0xffffu) | (half_of(word * 2u + 1u) << 16u);
        }
        plane[chunk.plane + word] = value;
    }
}
