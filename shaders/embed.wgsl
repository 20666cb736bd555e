// The residual stream of a step: rows of the embedding table, picked by token; and what the first norm needs of them.
//
//   W         the table or a part of its rows, weight planes of one type [vocab, width]
//   rows      (slot, position, done, output row)
//   tokens    token ids, [slots, context]
//   residual  f32 [rows, width]
//   normed    f32 [rows, stride], residual * gain
//   sums      f32 [rows, 1], sum of squares of the residual
//   gain      f32 [width]
//
// A workgroup makes one row. Needs no feature.

// include: <quant>

const WORKGROUP: u32 = 32u;  // parameter

struct Table {
    planes: vec4<u32>,
    groups: u32,  // width / 32, rounded up
    width: u32,
    stride: u32,
    context: u32,
    vocab: u32,
    first_token: u32,  // W has the rows of the tokens from here on,
    end_token: u32,    // up to here
}

@group(0) @binding(0) var<storage, read> W: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read_write> residual: array<f32>;
@group(0) @binding(4) var<storage, read_write> normed: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;
@group(0) @binding(6) var<storage, read> gain: array<f32>;
@group(0) @binding(7) var<uniform> table: Table;

var<workgroup> shared_sums: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let m = workgroup.x;
    let token = min(tokens[rows[m].x * table.context + rows[m].y], table.vocab - 1u);
    if (token < table.first_token || token >= table.end_token) {
        return;  // another dispatch has its row
    }
    var sum = 0.0;
    for (var g = lane; g < table.groups; g += WORKGROUP) {
        var values = weights32((token - table.first_token) * table.groups + g, table.planes);
        for (var i = 0u; i < 32u; i++) {
            let column = g * 32u + i;
            if (column < table.width) {
                let value = values[i / 4u][i % 4u];
                residual[m * table.width + column] = value;
                normed[m * table.stride + column] = value * gain[column];
                sum += value * value;
            }
        }
    }
    shared_sums[lane] = sum;
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < WORKGROUP; i++) {
            sum += shared_sums[i];
        }
        sums[m] = sum;
    }
}
