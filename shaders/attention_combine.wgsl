// Joins the parts that attention_decode.wgsl made: softmax is exact however the keys were split. Rows whose keys are one
// part have their averages already.
//
//   parts   f32 pairs [rows, n_heads, max_splits, head_dim / 2 + 1]
//   rows    (slot, position, done, output row)
//   y       f32 pairs [rows, stride], head after head
//
// A workgroup makes one head of one row. Needs no feature.

const SPLIT: u32 = 64u;      // parameter: positions a part
const HEAD_DIM: u32 = 64u;   // parameter
const WORKGROUP: u32 = 32u;  // parameter

struct Heads {
    n_heads: u32,
    max_splits: u32,
    window: u32,
    stride: u32,  // pairs a row of y
}

@group(0) @binding(0) var<storage, read> parts: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2<f32>>;
@group(0) @binding(3) var<uniform> heads: Heads;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = workgroup.x;
    let m = workgroup.y;
    let half = HEAD_DIM / 2u;
    let last = rows[m].y;
    let first = select(0u, last + 1u - heads.window, last + 1u > heads.window);
    let begin = first / SPLIT;
    let end = last / SPLIT + 1u;
    if (end - begin == 1u) {
        return;
    }
    let base = (m * heads.n_heads + head) * heads.max_splits * (half + 1u);

    var maximum = -3.0e38;
    for (var s = begin; s < end; s++) {
        maximum = max(maximum, parts[base + s * (half + 1u) + half].x);
    }
    for (var i = lane; i < half; i += WORKGROUP) {
        var sum = vec2<f32>(0.0);
        var total = 0.0;
        for (var s = begin; s < end; s++) {
            let part = base + s * (half + 1u);
            let weight = exp(parts[part + half].x - maximum);
            sum += weight * parts[part + i];
            total += weight * parts[part + half].y;
        }
        y[m * heads.stride + head * half + i] = sum / total;
    }
}
