// Attention of the many rows of a prefill, on adapters with small subgroups and where a register is far nearer than memory
// (CPUs): a subgroup makes one head of four rows.
//
//   q       f32 fours [rows, n_heads, head_dim / 4]
//   kv      the layer's cache, eights [page, K or V, n_kv_heads, PAGE, head_dim / 8]
//   rows    (slot, position, done, output row)
//   pages   page table, [slots, max_pages]
//   y       f32 pairs [rows, stride], head after head
//
// Rows of a tile are of one slot. Needs the feature subgroups with subgroups of exactly SUBGROUP; rows in whole tiles of 4.

// include: <kv>
// include: queries/four.wgsl
// include: attention_pages.wgsl

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

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> kv: array<KvEight>;
@group(0) @binding(2) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec2<f32>>;
@group(0) @binding(5) var<uniform> heads: Heads;

fn write_pair(pair: u32, s: u32, i: u32, factor: vec4<f32>) {
    let first = sums[8u * s + 2u * i] * factor;
    let second = sums[8u * s + 2u * i + 1u] * factor;
    y[pair + i] = vec2<f32>(first.x, second.x);
    y[pair + i + heads.stride] = vec2<f32>(first.y, second.y);
    y[pair + i + 2u * heads.stride] = vec2<f32>(first.z, second.z);
    y[pair + i + 3u * heads.stride] = vec2<f32>(first.w, second.w);
}

// The averages of the four rows, at the lane's values of share s.
fn write_share(first_pair: u32, s: u32, factor: vec4<f32>, lane: u32) {
    let eight = lane + s * SUBGROUP;
    if (eight < EIGHTS) {
        let pair = first_pair + 4u * eight;
        write_pair(pair, s, 0u, factor);
        write_pair(pair, s, 1u, factor);
        write_pair(pair, s, 2u, factor);
        write_pair(pair, s, 3u, factor);
    }
}

@compute @workgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let head = heads.first_head + workgroup.x;
    let kv_head = head / (heads.n_heads / heads.n_kv_heads);
    let m = 4u * workgroup.y;
    let row = array<vec4<u32>, 4>(rows[m], rows[m + 1u], rows[m + 2u], rows[m + 3u]);
    // Rows that are done see nothing, so that the others do not look for them where the cache may be empty.
    let done = vec4<bool>(row[0].z != 0u, row[1].z != 0u, row[2].z != 0u, row[3].z != 0u);
    let after = vec4<u32>(row[0].y, row[1].y, row[2].y, row[3].y) + 1u;
    let end = select(after, vec4<u32>(0u), done);
    let first = select(after - min(after, vec4<u32>(heads.window)), vec4<u32>(0xffffffffu), done);
    let begin = min(min(first.x, first.y), min(first.z, first.w));
    let stop = max(max(end.x, end.y), max(end.z, end.w));

    let stride = heads.n_heads * 2u * EIGHTS;
    take_queries(m * stride + head * 2u * EIGHTS, stride, QUERIES - 1u, heads.scale, lane);
    let table = heads.page_table + row[0].x * heads.max_pages;
    for (var position = begin / BLOCK * BLOCK; position < stop; position += BLOCK) {
        let page = 2u * pages[table + position / PAGE];
        let k = ((page * heads.n_kv_heads + kv_head) * PAGE + position % PAGE) * EIGHTS;
        let v = k + heads.n_kv_heads * PAGE * EIGHTS;
        attend_block(k, v, position, first, end, vec2<u32>(begin, stop), lane);
    }

    let sum = subgroupAdd(total);
    let factor = select(vec4<f32>(0.0), 1.0 / sum, sum > vec4<f32>(0.0));
    let first_pair = m * heads.stride + head * HALF;
    write_share(first_pair, 0u, factor, lane);
    if (SHARES > 1u) {
        write_share(first_pair, 1u % SHARES, factor, lane);
    }
    if (SHARES > 2u) {
        write_share(first_pair, 2u % SHARES, factor, lane);
    }
    if (SHARES > 3u) {
        write_share(first_pair, 3u % SHARES, factor, lane);
    }
}
