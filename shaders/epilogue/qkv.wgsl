// What becomes of Q, K and V: bias is added, Q and K are turned by RoPE, Q is kept for the attention of this step, K and V
// go to the cache.
//
//   q       f32 pairs [rows, n_heads, head_dim / 2]
//   kv      the layer's cache, pairs [page, K or V, n_kv_heads, PAGE, head_dim / 2]
//   rows    (slot, position, done, output row)
//   pages   page table, [slots, max_pages]
//
// The weight's rows are those of Q, K and V, as far as this dispatch has them. Lane pairs are the pairs that RoPE turns;
// Q and K are stored in the order of the pairs, which leaves their dot products as they are.

// include: epilogue/no_tally.wgsl
// include: <kv>
// include: rope.wgsl

const PAGE: u32 = 32u;            // parameter
const INTERLEAVED: bool = false;  // parameter

struct Heads {
    q_pairs: u32,   // pairs of rows of this weight that are Q, then K; the rest is V
    k_pairs: u32,
    head_dim: u32,
    n_heads: u32,
    n_kv_heads: u32,
    max_pages: u32,
    page_table: u32,  // where this layer group's table starts
}

@group(0) @binding(6) var<storage, read_write> q: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> kv: array<KvPair>;
@group(0) @binding(8) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read> pages: array<u32>;
@group(0) @binding(10) var<uniform> heads: Heads;

fn pair_rows(pair: u32) -> vec2<u32> {
    let half = heads.head_dim / 2u;
    let i = pair % half;
    if (!INTERLEAVED && pair < heads.q_pairs + heads.k_pairs && i < rope.n_pairs) {
        let first = (pair / half) * heads.head_dim + i;
        return vec2<u32>(first, first + rope.n_pairs);
    }
    return vec2<u32>(2u * pair, 2u * pair + 1u);
}

fn cache_pair(row: vec4<u32>, is_v: u32, pair: u32) -> u32 {
    let half = heads.head_dim / 2u;
    let page = pages[heads.page_table + row.x * heads.max_pages + row.y / PAGE];
    let head = pair / half;
    return (((page * 2u + is_v) * heads.n_kv_heads + head) * PAGE + row.y % PAGE) * half + pair % half;
}

fn store(m: u32, pair: u32, y: vec2<f32>) -> Tally {
    let half = heads.head_dim / 2u;
    let row = rows[m];
    var v = y;
    if (pair < heads.q_pairs + heads.k_pairs && pair % half < rope.n_pairs) {
        let turn = rope_turn(pair % half, row.y);
        v = vec2<f32>(y.x * turn.x - y.y * turn.y, y.x * turn.y + y.y * turn.x);
    }
    if (pair < heads.q_pairs) {
        q[m * heads.n_heads * half + pair] = v;
    } else if (row.z == 0u) {
        let is_v = u32(pair >= heads.q_pairs + heads.k_pairs);
        let first = heads.q_pairs + is_v * heads.k_pairs;
        kv[cache_pair(row, is_v, pair - first)] = kv_pack(v);
    }
    return tally_none();
}
