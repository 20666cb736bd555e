// Attention of a few rows over the cache, on adapters with small subgroups and where a register is far nearer than memory
// (CPUs): a subgroup makes QUERIES heads that share keys and values, for SPLIT positions, with maxima and sums of their
// own (Dao 2023, flash-decoding); attention_combine.wgsl joins the parts.
//
//   q         f32 fours [rows, n_heads, head_dim / 4]
//   kv        the layer's cache, eights [page, K or V, n_kv_heads, PAGE, head_dim / 8]
//   rows      (slot, position, done, output row)
//   pages     page table, [slots, max_pages]
//   parts     f32 pairs [rows, n_heads, max_splits, head_dim / 2 + 1]: sum of p * v, then (maximum, sum of p)
//   y         f32 pairs [rows, stride], head after head: of rows whose keys are one part, which needs no joining
//
// Split boundaries are multiples of SPLIT positions, whatever the length. Needs the feature subgroups with subgroups of
// exactly SUBGROUP.

// include: <kv>
// include: <queries>
// include: attention_pages.wgsl

const SPLIT: u32 = 64u;  // parameter: positions a workgroup, whole pages

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

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> kv: array<KvEight>;
@group(0) @binding(2) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read_write> parts: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec2<f32>>;
@group(0) @binding(6) var<uniform> heads: Heads;

var<private> alone: bool;  // whether the row's keys are one part

// Sums of a head to its part, which starts at this pair; or averages to y.
fn write_pair(pair: u32, s: u32, i: u32, query: u32) {
    let x = number_of(sums[8u * s + 2u * i], query);
    let sum = vec2<f32>(x, number_of(sums[8u * s + 2u * i + 1u], query));
    if (alone) {
        y[pair + i] = sum / number_of(total, query);
    } else {
        parts[pair + i] = sum;
    }
}

fn write_share(pair: u32, s: u32, query: u32, lane: u32) {
    let eight = lane + s * SUBGROUP;
    if (eight < EIGHTS) {
        write_pair(pair + 4u * eight, s, 0u, query);
        write_pair(pair + 4u * eight, s, 1u, query);
        write_pair(pair + 4u * eight, s, 2u, query);
        write_pair(pair + 4u * eight, s, 3u, query);
    }
}

// What was made of a head; the maximum and the total of a part by lane 0.
fn write_head(pair: u32, query: u32, lane: u32) {
    write_share(pair, 0u, query, lane);
    if (SHARES > 1u) {
        write_share(pair, 1u % SHARES, query, lane);
    }
    if (SHARES > 2u) {
        write_share(pair, 2u % SHARES, query, lane);
    }
    if (SHARES > 3u) {
        write_share(pair, 3u % SHARES, query, lane);
    }
    if (lane == 0u && !alone) {
        parts[pair + HALF] = vec2<f32>(number_of(maximum, query), number_of(total, query));
    }
}

@compute @workgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let sharing = heads.n_heads / heads.n_kv_heads;  // heads that share keys and values
    let tiles = (sharing + QUERIES - 1u) / QUERIES;
    let kv_head = workgroup.x / tiles;
    let query = workgroup.x % tiles * QUERIES;  // the first of this tile's among those that share
    let head = kv_head * sharing + query;
    let split = workgroup.y;
    let m = workgroup.z;
    let row = rows[m];
    let after = row.y + 1u;
    let seen_from = after - min(after, heads.window);
    let first = max(split * SPLIT, seen_from);
    let end = min((split + 1u) * SPLIT, after);
    if (first < end) {
        take_queries((m * heads.n_heads + head) * 2u * EIGHTS, 2u * EIGHTS, sharing - query - 1u, heads.scale, lane);
        let table = heads.page_table + row.x * heads.max_pages;
        for (var position = first / BLOCK * BLOCK; position < end; position += BLOCK) {
            let page = 2u * pages[table + position / PAGE];
            let k = ((page * heads.n_kv_heads + kv_head) * PAGE + position % PAGE) * EIGHTS;
            let v = k + heads.n_kv_heads * PAGE * EIGHTS;
            attend_block(k, v, position, Positions(first), Positions(end), vec2<u32>(first, end), lane);
        }
        total = subgroupAdd(total);
        alone = seen_from / SPLIT == row.y / SPLIT;
        let size = select(heads.max_splits * (HALF + 1u), HALF, alone);  // pairs from head to head
        let part = (m * heads.n_heads + head) * size + split * (HALF + 1u);
        let pair = select(part, m * heads.stride + head * HALF, alone);
        write_head(pair, 0u, lane);
        if (QUERIES > 1u && query + 1u < sharing) {
            write_head(pair + size, 1u % QUERIES, lane);
        }
        if (QUERIES > 2u && query + 2u < sharing) {
            write_head(pair + 2u * size, 2u % QUERIES, lane);
        }
        if (QUERIES > 3u && query + 3u < sharing) {
            write_head(pair + 3u * size, 3u % QUERIES, lane);
        }
    }
}
