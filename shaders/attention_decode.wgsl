// Attention of a few rows over the cache, split over the keys: each workgroup makes one head's part for SPLIT positions,
// with its own maximum and sum (Dao 2023, flash-decoding); attention_combine.wgsl joins the parts.
//
//   q         f32 pairs [rows, n_heads, head_dim / 2]
//   kv        the layer's cache, pairs [page, K or V, n_kv_heads, PAGE, head_dim / 2]
//   rows      (slot, position, done, output row)
//   pages     page table, [slots, max_pages]
//   parts     f32 pairs [rows, n_heads, max_splits, head_dim / 2 + 1]: sum of p * v, then (maximum, sum of p)
//   y         f32 pairs [rows, stride], head after head: of rows whose keys are one part, which needs no joining
//
// Split boundaries are multiples of SPLIT positions, whatever the length. Needs no feature.

// include: <kv>

const PAGE: u32 = 32u;       // parameter
const SPLIT: u32 = 64u;      // parameter: positions a workgroup
const HEAD_DIM: u32 = 64u;   // parameter
const WORKGROUP: u32 = 32u;  // parameter
const PAIRS: u32 = (HEAD_DIM / 2u + WORKGROUP - 1u) / WORKGROUP;  // of the head's values, that a lane keeps

struct Heads {
    n_heads: u32,
    n_kv_heads: u32,
    max_pages: u32,
    page_table: u32,
    max_splits: u32,
    window: u32,  // positions that a row sees
    stride: u32,  // pairs a row of y
    scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> kv: array<KvPair>;
@group(0) @binding(2) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read_write> parts: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec2<f32>>;
@group(0) @binding(6) var<uniform> heads: Heads;

var<workgroup> scores: array<f32, SPLIT>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = workgroup.x;
    let split = workgroup.y;
    let m = workgroup.z;
    let row = rows[m];
    let half = HEAD_DIM / 2u;
    let last = row.y;
    let first = select(0u, last + 1u - heads.window, last + 1u > heads.window);
    let begin = max(split * SPLIT, first);
    let end = min((split + 1u) * SPLIT, last + 1u);
    if (begin < end) {
        let kv_head = head / (heads.n_heads / heads.n_kv_heads);
        let table = heads.page_table + row.x * heads.max_pages;
        let q_first = (m * heads.n_heads + head) * half;

        for (var j = begin + lane; j < end; j += WORKGROUP) {
            let k = ((pages[table + j / PAGE] * 2u * heads.n_kv_heads + kv_head) * PAGE + j % PAGE) * half;
            var score = 0.0;
            for (var i = 0u; i < half; i++) {
                score += dot(q[q_first + i], kv_unpack(kv[k + i]));
            }
            scores[j - split * SPLIT] = score * heads.scale;
        }
        workgroupBarrier();

        var maximum = -3.0e38;
        for (var j = begin; j < end; j++) {
            maximum = max(maximum, scores[j - split * SPLIT]);
        }
        workgroupBarrier();
        for (var j = begin + lane; j < end; j += WORKGROUP) {
            scores[j - split * SPLIT] = exp(scores[j - split * SPLIT] - maximum);
        }
        workgroupBarrier();

        var total = 0.0;
        var sums: array<vec2<f32>, PAIRS>;
        for (var s = 0u; s < PAIRS; s++) {
            sums[s] = vec2<f32>(0.0);
        }
        for (var j = begin; j < end; j++) {
            let p = scores[j - split * SPLIT];
            let v = (((pages[table + j / PAGE] * 2u + 1u) * heads.n_kv_heads + kv_head) * PAGE + j % PAGE) * half;
            total += p;
            for (var s = 0u; s < PAIRS; s++) {
                sums[s] += p * kv_unpack(kv[v + min(lane + s * WORKGROUP, half - 1u)]);
            }
        }
        let alone = first / SPLIT == last / SPLIT;
        let out = ((m * heads.n_heads + head) * heads.max_splits + split) * (half + 1u);
        for (var s = 0u; s < PAIRS; s++) {
            let i = lane + s * WORKGROUP;
            if (i < half && alone) {
                y[m * heads.stride + head * half + i] = sums[s] / total;
            } else if (i < half) {
                parts[out + i] = sums[s];
            }
        }
        if (lane == 0u) {
            parts[out + half] = vec2<f32>(maximum, total);
        }
    }
}
