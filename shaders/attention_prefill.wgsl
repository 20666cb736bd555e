// Attention of the many rows of a prefill: a workgroup makes one head of one row, in steps of SPLIT keys with an online
// softmax (Milakov and Gimelshein 2018).
//
//   q       f32 pairs [rows, n_heads, head_dim / 2]
//   kv      the layer's cache, pairs [page, K or V, n_kv_heads, PAGE, head_dim / 2]
//   rows    (slot, position, done, output row)
//   pages   page table, [slots, max_pages]
//   y       f32 pairs [rows, stride], head after head
//
// A lane keeps PAIRS pairs of the head's values. Needs no feature.

// include: <kv>

const PAGE: u32 = 32u;       // parameter
const SPLIT: u32 = 64u;      // parameter: keys a step
const HEAD_DIM: u32 = 64u;   // parameter
const WORKGROUP: u32 = 32u;  // parameter
const PAIRS: u32 = (HEAD_DIM / 2u + WORKGROUP - 1u) / WORKGROUP;

// Inner loops of known length, which compilers unroll: lavapipe ends the loops of an invocation, without a word, after 65,535
// rounds together, and rounds that are unrolled do not count.
const AT_ONCE: u32 = 8u;  // keys
const ROUNDS: u32 = (HEAD_DIM / 2u + 15u) / 16u;
const STEP: u32 = (HEAD_DIM / 2u + ROUNDS - 1u) / ROUNDS;  // pairs of a head's values, at most 16

struct Heads {
    n_heads: u32,
    n_kv_heads: u32,
    max_pages: u32,
    page_table: u32,
    window: u32,
    stride: u32,  // pairs a row of y
    first_head: u32,  // that this dispatch makes
    scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> kv: array<KvPair>;
@group(0) @binding(2) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec2<f32>>;
@group(0) @binding(5) var<uniform> heads: Heads;

var<workgroup> scores: array<f32, SPLIT>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = heads.first_head + workgroup.x;
    let m = workgroup.y;
    let row = rows[m];
    let half = HEAD_DIM / 2u;
    let end = row.y + 1u;
    let first = select(0u, end - heads.window, end > heads.window);
    let kv_head = head / (heads.n_heads / heads.n_kv_heads);
    let table = heads.page_table + row.x * heads.max_pages;
    let q_first = (m * heads.n_heads + head) * half;

    var maximum = -3.0e38;
    var total = 0.0;
    var sums: array<vec2<f32>, PAIRS>;
    for (var s = 0u; s < PAIRS; s++) {
        sums[s] = vec2<f32>(0.0);
    }
    for (var begin = first; begin < end; begin += SPLIT) {
        let stop = min(begin + SPLIT, end);
        for (var j = begin + lane; j < stop; j += WORKGROUP) {
            let k = ((pages[table + j / PAGE] * 2u * heads.n_kv_heads + kv_head) * PAGE + j % PAGE) * half;
            var score = 0.0;
            for (var begin_of_step = 0u; begin_of_step < half; begin_of_step += STEP) {
                for (var s = 0u; s < STEP; s++) {
                    let i = min(begin_of_step + s, half - 1u);
                    let product = dot(q[q_first + i], kv_unpack(kv[k + i]));
                    score += select(0.0, product, begin_of_step + s < half);
                }
            }
            scores[j - begin] = score * heads.scale;
        }
        workgroupBarrier();
        var step_maximum = maximum;
        for (var some = begin; some < stop; some += AT_ONCE) {
            for (var s = 0u; s < AT_ONCE; s++) {
                step_maximum = max(step_maximum, scores[min(some + s, stop - 1u) - begin]);
            }
        }
        workgroupBarrier();
        for (var j = begin + lane; j < stop; j += WORKGROUP) {
            scores[j - begin] = exp(scores[j - begin] - step_maximum);
        }
        workgroupBarrier();
        let shrink = exp(max(maximum - step_maximum, -80.0));
        total *= shrink;
        for (var s = 0u; s < PAIRS; s++) {
            sums[s] *= shrink;
        }
        for (var some = begin; some < stop; some += AT_ONCE) {
            for (var a = 0u; a < AT_ONCE; a++) {
                let j = min(some + a, stop - 1u);
                let p = select(0.0, scores[j - begin], some + a < stop);
                let v = (((pages[table + j / PAGE] * 2u + 1u) * heads.n_kv_heads + kv_head) * PAGE + j % PAGE) * half;
                total += p;
                for (var s = 0u; s < PAIRS; s++) {
                    sums[s] += p * kv_unpack(kv[v + min(lane + s * WORKGROUP, half - 1u)]);
                }
            }
        }
        maximum = step_maximum;
        workgroupBarrier();
    }
    for (var s = 0u; s < PAIRS; s++) {
        let i = lane + s * WORKGROUP;
        if (i < half) {
            y[m * heads.stride + head * half + i] = sums[s] / total;
        }
    }
}
