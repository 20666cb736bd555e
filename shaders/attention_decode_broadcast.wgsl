// Attention of a few rows over the cache, on adapters with small subgroups and where a register is far nearer than memory
// (CPUs): a subgroup makes up to four heads that share keys and values, for SPLIT positions, with maxima and sums of their own
// (Dao 2023, flash-decoding); attention_combine.wgsl joins the parts.
//
//   q         f32 pairs [rows, n_heads, head_dim / 2]
//   kv        the layer's cache, pairs [page, K or V, n_kv_heads, PAGE, head_dim / 2]
//   rows      (slot, position, done, output row)
//   pages     page table, [slots, max_pages]
//   parts     f32 pairs [rows, n_heads, max_splits, head_dim / 2 + 1]: sum of p * v, then (maximum, sum of p)
//
// Split boundaries are multiples of SPLIT positions, whatever the length. Needs the feature subgroups with subgroups of
// exactly SUBGROUP.

// include: <kv>
// include: attention_four.wgsl

const SPLIT: u32 = 64u;  // parameter: positions a workgroup, whole pages

struct Heads {
    n_heads: u32,
    n_kv_heads: u32,
    max_pages: u32,
    page_table: u32,
    max_splits: u32,
    window: u32,  // positions that a row sees
    scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> kv: array<KvPair>;
@group(0) @binding(2) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read_write> parts: array<vec2<f32>>;
@group(0) @binding(5) var<uniform> heads: Heads;

// The part of one of the four: its sums at the lane's pairs, and by lane 0 its maximum and total.
fn write_part(m: u32, head: u32, split: u32, lane: u32, which: u32, sum: vec4<f32>) {
    let part = ((m * heads.n_heads + head) * heads.max_splits + split) * (HALF + 1u);
    for (var s = 0u; s < PAIRS; s++) {
        let i = lane + s * SUBGROUP;
        if (i < HALF) {
            parts[part + i] = vec2<f32>(sum_x[s][which], sum_y[s][which]);
        }
    }
    if (lane == 0u) {
        parts[part + HALF] = vec2<f32>(maximum[which], sum[which]);
    }
}

@compute @workgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let sharing = heads.n_heads / heads.n_kv_heads;  // heads that share keys and values
    let tiles = (sharing + 3u) / 4u;
    let kv_head = workgroup.x / tiles;
    let four = vec4<u32>(workgroup.x % tiles * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let head = kv_head * sharing + min(four, vec4<u32>(sharing - 1u));
    let split = workgroup.y;
    let m = workgroup.z;
    let row = rows[m];
    let after = row.y + 1u;
    let first = max(split * SPLIT, after - min(after, heads.window));
    let end = min((split + 1u) * SPLIT, after);
    if (first < end) {
        take_queries((m * heads.n_heads + head) * HALF, heads.scale, lane);
        let table = heads.page_table + row.x * heads.max_pages;
        for (var position = first / PAGE * PAGE; position < end; position += PAGE) {
            let page = 2u * pages[table + position / PAGE];
            let k = (page * heads.n_kv_heads + kv_head) * PAGE * HALF;
            let v = k + heads.n_kv_heads * PAGE * HALF;
            attend_page(k, v, position, vec4<u32>(first), vec4<u32>(end), lane);
        }
        let sum = subgroupAdd(total);
        write_part(m, head.x, split, lane, 0u, sum);
        if (four.y < sharing) {
            write_part(m, head.y, split, lane, 1u, sum);
        }
        if (four.z < sharing) {
            write_part(m, head.z, split, lane, 2u, sum);
        }
        if (four.w < sharing) {
            write_part(m, head.w, split, lane, 3u, sum);
        }
    }
}
