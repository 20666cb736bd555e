// Moves one plane of a chunk of a weight from the file's blocks to where it lies on the GPU; changes no bit.
//
//   blocks   bytes of whole blocks as the file has them, as words
//   plane    the weight's buffer, as words
//
// Everything is counted in units of 1, 2 or 4 bytes, the largest that the type's planes are made of. A thread makes one
// word of the plane; where a plane's range starts or ends inside a word, the rest of the word is kept. Rows of one-value
// blocks are padded with zeros. Needs no feature.

const UNIT_BITS: u32 = 16u;    // parameter: 8, 16 or 32
const PLANE_UNITS: u32 = 1u;   // parameter: units a block has in this plane
const BLOCK_UNITS: u32 = 1u;   // parameter: units a block has in the file
const BLOCK_OFFSET: u32 = 0u;  // parameter: where the plane's units start in a block
const PADDED: bool = true;     // parameter: whether rows are longer in the plane than in the file
const UNITS: u32 = 32u / UNIT_BITS;  // units of a word

struct Chunk {
    first_unit: u32,      // first unit of the plane that this chunk makes
    n_units: u32,
    plane: u32,           // where the plane starts in the buffer, in words
    row_blocks: u32,      // blocks a row has in the file
    padded_blocks: u32,   // and in the plane
    first_block: u32,     // the chunk's first block, counted in the tensor
    first_row: u32,       // the tensor's first row in the weight
}

@group(0) @binding(0) var<storage, read> blocks: array<u32>;
@group(0) @binding(1) var<storage, read_write> plane: array<u32>;
@group(0) @binding(2) var<uniform> chunk: Chunk;

fn unit_of(index: u32) -> u32 {
    var block = index / PLANE_UNITS;
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
    let source = (block - chunk.first_block) * BLOCK_UNITS + BLOCK_OFFSET + index % PLANE_UNITS;
    return extractBits(blocks[source / UNITS], source % UNITS * UNIT_BITS, UNIT_BITS);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let word = chunk.first_unit / UNITS + id.x + id.y * workgroups.x * 64u;
    let end = chunk.first_unit + chunk.n_units;
    if (word * UNITS < end) {
        var value = plane[chunk.plane + word];
        for (var i = 0u; i < UNITS; i++) {
            let unit = word * UNITS + i;
            if (unit >= chunk.first_unit && unit < end) {
                value = insertBits(value, unit_of(unit), i * UNIT_BITS, UNIT_BITS);
            }
        }
        plane[chunk.plane + word] = value;
    }
}
