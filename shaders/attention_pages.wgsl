// Up to four queries over the pages of one head's keys and values, with an online softmax (Milakov and Gimelshein
// 2018). A subgroup does it: for scores each lane has keys of its own, for sums some of the head's values, and what the
// others need is broadcast from registers. Where every load is a gather of all lanes, on CPUs, a lane loads eight values.
//
//   q     f32 fours [rows, n_heads, head_dim / 4]
//   kv    the layer's cache, eights [page, K or V, n_kv_heads, PAGE, head_dim / 8]
//
// Numbers holds one number of each query (queries/). Keys are made in blocks that begin at multiples of BLOCK
// positions, so that a query's numbers do not depend on those beside it. HEAD_DIM is a multiple of 8, and at most
// 32 * SUBGROUP. Needs the feature subgroups with subgroups of exactly SUBGROUP.
//
// A block is written out without loops: naga counts the rounds of each, and the counter of a loop inside another does
// not fold away where the loop is unrolled.

const PAGE: u32 = 32u;      // parameter
const HEAD_DIM: u32 = 64u;  // parameter
const SUBGROUP: u32 = 8u;   // parameter: lanes of a subgroup, 4 or 8
const HALF: u32 = HEAD_DIM / 2u;
const EIGHTS: u32 = HEAD_DIM / 8u;                        // of a head's values
const SHARES: u32 = (EIGHTS + SUBGROUP - 1u) / SUBGROUP;  // eights that a lane keeps, at most 4
const KEYS: u32 = 4u / (1u + SHARES / 3u);                // that a lane scores at a time; two of large heads
const BLOCK: u32 = KEYS * SUBGROUP;
const LOWEST: f32 = -3.0e38;

var<private> q_own: array<Numbers, 8 * SHARES>;  // the lane's values, scaled
var<private> sums: array<Numbers, 8 * SHARES>;   // of p * v, at the lane's values
var<private> scores: array<Numbers, 4>;          // of the lane's keys
var<private> maximum: Numbers = Numbers(LOWEST);
var<private> total: Numbers;  // of the lane's p

// Four values of the queries, from this four of q on, to q_own[to] and following.
fn take_four(start: u32, stride: u32, last: u32, factor: f32, to: u32) {
    var its: array<vec4<f32>, QUERIES>;
    for (var n = 0u; n < QUERIES; n++) {
        its[n] = q[start + min(n, last) * stride] * factor;
    }
    q_own[to] = across(its, 0u);
    q_own[to + 1u] = across(its, 1u);
    q_own[to + 2u] = across(its, 2u);
    q_own[to + 3u] = across(its, 3u);
}

fn take_share(start: u32, stride: u32, last: u32, scale: f32, lane: u32, s: u32) {
    let eight = lane + s * SUBGROUP;
    let factor = select(0.0, scale, eight < EIGHTS);
    let own = start + 2u * min(eight, EIGHTS - 1u);
    take_four(own, stride, last, factor, 8u * s);
    take_four(own + 1u, stride, last, factor, 8u * s + 4u);
}

// The lane's share of the queries. The first starts at this four of q, the others each `stride` further, up to query
// `last`: those behind are computed as that one, for nobody.
fn take_queries(start: u32, stride: u32, last: u32, scale: f32, lane: u32) {
    take_share(start, stride, last, scale, lane, 0u);
    if (SHARES > 1u) {
        take_share(start, stride, last, scale, lane, 1u % SHARES);
    }
    if (SHARES > 2u) {
        take_share(start, stride, last, scale, lane, 2u % SHARES);
    }
    if (SHARES > 3u) {
        take_share(start, stride, last, scale, lane, 3u % SHARES);
    }
}

fn with_products(score: Numbers, key: mat2x4<f32>, x: array<Numbers, 8>) -> Numbers {
    var sum = fma(x[0], Numbers(key[0].x), score);
    sum = fma(x[1], Numbers(key[0].y), sum);
    sum = fma(x[2], Numbers(key[0].z), sum);
    sum = fma(x[3], Numbers(key[0].w), sum);
    sum = fma(x[4], Numbers(key[1].x), sum);
    sum = fma(x[5], Numbers(key[1].y), sum);
    sum = fma(x[6], Numbers(key[1].z), sum);
    return fma(x[7], Numbers(key[1].w), sum);
}

// Adds eight values of the queries, those at eight i, times the lane's keys to their scores.
fn add_eight(k: u32, i: u32, x: array<Numbers, 8>) {
    let at = k + min(i, EIGHTS - 1u);
    scores[0] = with_products(scores[0], kv_unpack_eight(kv[at]), x);
    scores[1] = with_products(scores[1], kv_unpack_eight(kv[at + SUBGROUP * EIGHTS]), x);
    if (KEYS == 4u) {
        scores[2] = with_products(scores[2], kv_unpack_eight(kv[at + 2u * SUBGROUP * EIGHTS]), x);
        scores[3] = with_products(scores[3], kv_unpack_eight(kv[at + 3u * SUBGROUP * EIGHTS]), x);
    }
}

// The same for share s of all lanes.
fn add_share(k: u32, s: u32) {
    let i = s * SUBGROUP;
    let a = q_own[8u * s];
    let b = q_own[8u * s + 1u];
    let c = q_own[8u * s + 2u];
    let d = q_own[8u * s + 3u];
    let e = q_own[8u * s + 4u];
    let f = q_own[8u * s + 5u];
    let g = q_own[8u * s + 6u];
    let h = q_own[8u * s + 7u];
    add_eight(k, i, array<Numbers, 8>(
        subgroupBroadcast(a, 0u), subgroupBroadcast(b, 0u), subgroupBroadcast(c, 0u), subgroupBroadcast(d, 0u),
        subgroupBroadcast(e, 0u), subgroupBroadcast(f, 0u), subgroupBroadcast(g, 0u), subgroupBroadcast(h, 0u)));
    add_eight(k, i + 1u, array<Numbers, 8>(
        subgroupBroadcast(a, 1u), subgroupBroadcast(b, 1u), subgroupBroadcast(c, 1u), subgroupBroadcast(d, 1u),
        subgroupBroadcast(e, 1u), subgroupBroadcast(f, 1u), subgroupBroadcast(g, 1u), subgroupBroadcast(h, 1u)));
    add_eight(k, i + 2u, array<Numbers, 8>(
        subgroupBroadcast(a, 2u), subgroupBroadcast(b, 2u), subgroupBroadcast(c, 2u), subgroupBroadcast(d, 2u),
        subgroupBroadcast(e, 2u), subgroupBroadcast(f, 2u), subgroupBroadcast(g, 2u), subgroupBroadcast(h, 2u)));
    add_eight(k, i + 3u, array<Numbers, 8>(
        subgroupBroadcast(a, 3u), subgroupBroadcast(b, 3u), subgroupBroadcast(c, 3u), subgroupBroadcast(d, 3u),
        subgroupBroadcast(e, 3u), subgroupBroadcast(f, 3u), subgroupBroadcast(g, 3u), subgroupBroadcast(h, 3u)));
    if (SUBGROUP == 8u) {
        add_eight(k, i + 4u, array<Numbers, 8>(
            subgroupBroadcast(a, 4u % SUBGROUP), subgroupBroadcast(b, 4u % SUBGROUP),
            subgroupBroadcast(c, 4u % SUBGROUP), subgroupBroadcast(d, 4u % SUBGROUP),
            subgroupBroadcast(e, 4u % SUBGROUP), subgroupBroadcast(f, 4u % SUBGROUP),
            subgroupBroadcast(g, 4u % SUBGROUP), subgroupBroadcast(h, 4u % SUBGROUP)));
        add_eight(k, i + 5u, array<Numbers, 8>(
            subgroupBroadcast(a, 5u % SUBGROUP), subgroupBroadcast(b, 5u % SUBGROUP),
            subgroupBroadcast(c, 5u % SUBGROUP), subgroupBroadcast(d, 5u % SUBGROUP),
            subgroupBroadcast(e, 5u % SUBGROUP), subgroupBroadcast(f, 5u % SUBGROUP),
            subgroupBroadcast(g, 5u % SUBGROUP), subgroupBroadcast(h, 5u % SUBGROUP)));
        add_eight(k, i + 6u, array<Numbers, 8>(
            subgroupBroadcast(a, 6u % SUBGROUP), subgroupBroadcast(b, 6u % SUBGROUP),
            subgroupBroadcast(c, 6u % SUBGROUP), subgroupBroadcast(d, 6u % SUBGROUP),
            subgroupBroadcast(e, 6u % SUBGROUP), subgroupBroadcast(f, 6u % SUBGROUP),
            subgroupBroadcast(g, 6u % SUBGROUP), subgroupBroadcast(h, 6u % SUBGROUP)));
        add_eight(k, i + 7u, array<Numbers, 8>(
            subgroupBroadcast(a, 7u % SUBGROUP), subgroupBroadcast(b, 7u % SUBGROUP),
            subgroupBroadcast(c, 7u % SUBGROUP), subgroupBroadcast(d, 7u % SUBGROUP),
            subgroupBroadcast(e, 7u % SUBGROUP), subgroupBroadcast(f, 7u % SUBGROUP),
            subgroupBroadcast(g, 7u % SUBGROUP), subgroupBroadcast(h, 7u % SUBGROUP)));
    }
}

// Adds p times the lane's values at eight v to share s.
fn add_value_share(v: u32, s: u32, p: Numbers) {
    let value = kv_unpack_eight(kv[v + s * SUBGROUP]);
    sums[8u * s] = fma(p, Numbers(value[0].x), sums[8u * s]);
    sums[8u * s + 1u] = fma(p, Numbers(value[0].y), sums[8u * s + 1u]);
    sums[8u * s + 2u] = fma(p, Numbers(value[0].z), sums[8u * s + 2u]);
    sums[8u * s + 3u] = fma(p, Numbers(value[0].w), sums[8u * s + 3u]);
    sums[8u * s + 4u] = fma(p, Numbers(value[1].x), sums[8u * s + 4u]);
    sums[8u * s + 5u] = fma(p, Numbers(value[1].y), sums[8u * s + 5u]);
    sums[8u * s + 6u] = fma(p, Numbers(value[1].z), sums[8u * s + 6u]);
    sums[8u * s + 7u] = fma(p, Numbers(value[1].w), sums[8u * s + 7u]);
}

// Values from EIGHTS on are whatever lies behind: nobody writes their sums out.
fn add_value(v: u32, p: Numbers) {
    add_value_share(v, 0u, p);
    if (SHARES > 1u) {
        add_value_share(v, 1u % SHARES, p);
    }
    if (SHARES > 2u) {
        add_value_share(v, 2u % SHARES, p);
    }
    if (SHARES > 3u) {
        add_value_share(v, 3u % SHARES, p);
    }
}

// Adds the values of keys n * SUBGROUP and following of a block. Instead of those that nobody sees, which may be no
// numbers, one that somebody sees is added zero times.
fn add_values(v: u32, n: u32, seen: vec2<u32>) {
    let p = select(Numbers(0.0), exp(scores[n] - maximum), scores[n] > Numbers(LOWEST));
    total += p;
    let key = n * SUBGROUP;
    add_value(v + EIGHTS * clamp(key, seen.x, seen.y), subgroupBroadcast(p, 0u));
    add_value(v + EIGHTS * clamp(key + 1u, seen.x, seen.y), subgroupBroadcast(p, 1u));
    add_value(v + EIGHTS * clamp(key + 2u, seen.x, seen.y), subgroupBroadcast(p, 2u));
    add_value(v + EIGHTS * clamp(key + 3u, seen.x, seen.y), subgroupBroadcast(p, 3u));
    if (SUBGROUP == 8u) {
        add_value(v + EIGHTS * clamp(key + 4u, seen.x, seen.y), subgroupBroadcast(p, 4u % SUBGROUP));
        add_value(v + EIGHTS * clamp(key + 5u, seen.x, seen.y), subgroupBroadcast(p, 5u % SUBGROUP));
        add_value(v + EIGHTS * clamp(key + 6u, seen.x, seen.y), subgroupBroadcast(p, 6u % SUBGROUP));
        add_value(v + EIGHTS * clamp(key + 7u, seen.x, seen.y), subgroupBroadcast(p, 7u % SUBGROUP));
    }
}

fn shrink_share(s: u32, factor: Numbers) {
    sums[8u * s] *= factor;
    sums[8u * s + 1u] *= factor;
    sums[8u * s + 2u] *= factor;
    sums[8u * s + 3u] *= factor;
    sums[8u * s + 4u] *= factor;
    sums[8u * s + 5u] *= factor;
    sums[8u * s + 6u] *= factor;
    sums[8u * s + 7u] *= factor;
}

fn if_seen(score: Numbers, key: u32, first: Positions, end: Positions) -> Numbers {
    return select(Numbers(LOWEST), score, (Positions(key) >= first) & (Positions(key) < end));
}

// A block whose keys start at eight k and whose values at eight v. It begins at `position`; each query sees
// [first, end), and somebody [seen.x, seen.y), of which some lie in the block.
fn attend_block(k: u32, v: u32, position: u32, first: Positions, end: Positions, seen: vec2<u32>, lane: u32) {
    scores = array<Numbers, 4>();
    let own = k + lane * EIGHTS;
    add_share(own, 0u);
    if (SHARES > 1u) {
        add_share(own, 1u % SHARES);
    }
    if (SHARES > 2u) {
        add_share(own, 2u % SHARES);
    }
    if (SHARES > 3u) {
        add_share(own, 3u % SHARES);
    }

    let key = position + lane;
    scores[0] = if_seen(scores[0], key, first, end);
    scores[1] = if_seen(scores[1], key + SUBGROUP, first, end);
    var highest = max(maximum, max(scores[0], scores[1]));
    if (KEYS == 4u) {
        scores[2] = if_seen(scores[2], key + 2u * SUBGROUP, first, end);
        scores[3] = if_seen(scores[3], key + 3u * SUBGROUP, first, end);
        highest = max(highest, max(scores[2], scores[3]));
    }
    highest = subgroupMax(highest);
    let shrink = exp(max(maximum - highest, Numbers(-80.0)));
    maximum = highest;
    total *= shrink;
    shrink_share(0u, shrink);
    if (SHARES > 1u) {
        shrink_share(1u % SHARES, shrink);
    }
    if (SHARES > 2u) {
        shrink_share(2u % SHARES, shrink);
    }
    if (SHARES > 3u) {
        shrink_share(3u % SHARES, shrink);
    }

    let some = vec2<u32>(max(seen.x, position), min(seen.y, position + BLOCK) - 1u) - position;
    add_values(v + lane, 0u, some);
    add_values(v + lane, 1u, some);
    if (KEYS == 4u) {
        add_values(v + lane, 2u, some);
        add_values(v + lane, 3u, some);
    }
}
