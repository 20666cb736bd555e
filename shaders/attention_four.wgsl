// Four queries over the pages of one head's keys and values, with an online softmax (Milakov and Gimelshein 2018). A
// subgroup does it: for scores each lane has keys of its own, for sums pairs of the head's values, and what the others need is
// broadcast from registers. On CPUs, where every load is a gather of all lanes, a sixth of them is left.
//
//   q     f32 pairs [rows, n_heads, head_dim / 2]
//   kv    the layer's cache, pairs [page, K or V, n_kv_heads, PAGE, head_dim / 2]
//
// A vec4 holds one number of each of the four queries. Pages begin at multiples of PAGE positions, so that a query's numbers
// do not depend on those beside it. Needs the feature subgroups with subgroups of exactly SUBGROUP.

const PAGE: u32 = 32u;      // parameter
const HEAD_DIM: u32 = 64u;  // parameter
const SUBGROUP: u32 = 8u;   // parameter: lanes of a subgroup, 4 or 8
const HALF: u32 = HEAD_DIM / 2u;
const PAIRS: u32 = (HALF + SUBGROUP - 1u) / SUBGROUP;  // of the head's values, that a lane keeps
const KEYS: u32 = PAGE / SUBGROUP;                     // of a page, that a lane scores
const LOWEST: f32 = -3.0e38;

var<private> q_x: array<vec4<f32>, PAIRS>;  // first values of the lane's pairs, then second ones; scaled
var<private> q_y: array<vec4<f32>, PAIRS>;
var<private> sum_x: array<vec4<f32>, PAIRS>;  // of p * v
var<private> sum_y: array<vec4<f32>, PAIRS>;
var<private> scores: array<vec4<f32>, KEYS>;  // of the lane's keys
var<private> maximum: vec4<f32> = vec4<f32>(LOWEST);
var<private> total: vec4<f32>;  // of the lane's p

// The lane's share of the queries that start at these pairs of q.
fn take_queries(starts: vec4<u32>, scale: f32, lane: u32) {
    for (var s = 0u; s < PAIRS; s++) {
        let i = lane + s * SUBGROUP;
        let own = min(i, HALF - 1u);
        let factor = select(0.0, scale, i < HALF);
        let a = q[starts.x + own] * factor;
        let b = q[starts.y + own] * factor;
        let c = q[starts.z + own] * factor;
        let d = q[starts.w + own] * factor;
        q_x[s] = vec4<f32>(a.x, b.x, c.x, d.x);
        q_y[s] = vec4<f32>(a.y, b.y, c.y, d.y);
    }
}

// Adds pair i of the queries, times the lane's keys, to their scores.
fn add_scores(k: u32, i: u32, x: vec4<f32>, y: vec4<f32>) {
    for (var n = 0u; n < KEYS; n++) {
        let pair = kv_unpack(kv[k + n * SUBGROUP * HALF + min(i, HALF - 1u)]);
        scores[n] = fma(y, vec4<f32>(pair.y), fma(x, vec4<f32>(pair.x), scores[n]));
    }
}

// Adds p times the lane's pairs of a value, the first of which is pair v; nothing where no query sees it: it may be no
// number. Pairs from HALF on are whatever lies behind: nobody writes their sums out.
fn add_value(v: u32, key: u32, seen: vec2<u32>, p: vec4<f32>) {
    let is_seen = key >= seen.x && key < seen.y;
    for (var s = 0u; s < PAIRS; s++) {
        let pair = select(vec2<f32>(0.0), kv_unpack(kv[v + s * SUBGROUP]), is_seen);
        sum_x[s] = fma(p, vec4<f32>(pair.x), sum_x[s]);
        sum_y[s] = fma(p, vec4<f32>(pair.y), sum_y[s]);
    }
}

// A page whose keys start at pair k and whose values at pair v. It begins at `position`; each query sees [first, end).
fn attend_page(k: u32, v: u32, position: u32, first: vec4<u32>, end: vec4<u32>, lane: u32) {
    for (var n = 0u; n < KEYS; n++) {
        scores[n] = vec4<f32>(0.0);
    }
    let own = k + lane * HALF;
    for (var s = 0u; s < PAIRS; s++) {
        let i = s * SUBGROUP;
        let x = q_x[s];
        let y = q_y[s];
        add_scores(own, i, subgroupBroadcast(x, 0u), subgroupBroadcast(y, 0u));
        add_scores(own, i + 1u, subgroupBroadcast(x, 1u), subgroupBroadcast(y, 1u));
        add_scores(own, i + 2u, subgroupBroadcast(x, 2u), subgroupBroadcast(y, 2u));
        add_scores(own, i + 3u, subgroupBroadcast(x, 3u), subgroupBroadcast(y, 3u));
        if (SUBGROUP == 8u) {
            add_scores(own, i + 4u, subgroupBroadcast(x, 4u % SUBGROUP), subgroupBroadcast(y, 4u % SUBGROUP));
            add_scores(own, i + 5u, subgroupBroadcast(x, 5u % SUBGROUP), subgroupBroadcast(y, 5u % SUBGROUP));
            add_scores(own, i + 6u, subgroupBroadcast(x, 6u % SUBGROUP), subgroupBroadcast(y, 6u % SUBGROUP));
            add_scores(own, i + 7u, subgroupBroadcast(x, 7u % SUBGROUP), subgroupBroadcast(y, 7u % SUBGROUP));
        }
    }

    var highest = maximum;
    for (var n = 0u; n < KEYS; n++) {
        let key = vec4<u32>(position + n * SUBGROUP + lane);
        scores[n] = select(vec4<f32>(LOWEST), scores[n], (key >= first) & (key < end));
        highest = max(highest, scores[n]);
    }
    highest = subgroupMax(highest);
    let shrink = exp(max(maximum - highest, vec4<f32>(-80.0)));
    maximum = highest;
    total *= shrink;
    for (var s = 0u; s < PAIRS; s++) {
        sum_x[s] *= shrink;
        sum_y[s] *= shrink;
    }

    let seen = vec2<u32>(min(min(first.x, first.y), min(first.z, first.w)), max(max(end.x, end.y), max(end.z, end.w)));
    for (var n = 0u; n < KEYS; n++) {
        let p = select(vec4<f32>(0.0), exp(scores[n] - highest), scores[n] > vec4<f32>(LOWEST));
        total += p;
        let key = position + n * SUBGROUP;
        let at = v + n * SUBGROUP * HALF + lane;
        add_value(at, key, seen, subgroupBroadcast(p, 0u));
        add_value(at + HALF, key + 1u, seen, subgroupBroadcast(p, 1u));
        add_value(at + 2u * HALF, key + 2u, seen, subgroupBroadcast(p, 2u));
        add_value(at + 3u * HALF, key + 3u, seen, subgroupBroadcast(p, 3u));
        if (SUBGROUP == 8u) {
            add_value(at + 4u * HALF, key + 4u, seen, subgroupBroadcast(p, 4u % SUBGROUP));
            add_value(at + 5u * HALF, key + 5u, seen, subgroupBroadcast(p, 5u % SUBGROUP));
            add_value(at + 6u * HALF, key + 6u, seen, subgroupBroadcast(p, 6u % SUBGROUP));
            add_value(at + 7u * HALF, key + 7u, seen, subgroupBroadcast(p, 7u % SUBGROUP));
        }
    }
}
