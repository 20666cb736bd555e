// Looks over the whole vocabulary where one workgroup alone, sample.wgsl's, would be slow at it: one workgroup for each
// stretch of an output's logits.
//
//   logits      f32 [outputs, vocab], penalties, bias and mask applied
//   stats       per head workgroup (maximum, sum of exp(logit - maximum), token of the maximum) [outputs, blocks]
//   sequences   per slot the options of sampling
//   rows        (slot, position, done, output row)
//   survey      per output and stretch three planes of BINS words: of the tokens in each bin their number, and the sum of
//               their probabilities, in 64-bit fixed point, low words and high words; or in the first entry, where
//               nothing is to be searched, the stretch's best draw (score as bits, token)
//
// It does nothing for options that need no look at every token. Needs no feature. For `rolled` see sample.wgsl.

// include: sequence.wgsl
// include: exponential.wgsl
// include: fixed_point.wgsl
// include: random.wgsl
// include: sampling/order.wgsl
// include: sampling/cuts.wgsl
// include: sampling/best.wgsl
// include: sampling/head.wgsl

const WORKGROUP: u32 = 256u;  // parameter: lanes
const STRETCH: u32 = 8192u;   // parameter: logits a workgroup

struct Vocabulary {
    size: u32,
    blocks: u32,  // entries of stats an output
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> sequences: array<Sequence>;
@group(0) @binding(3) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> survey: array<vec4<u32>>;
@group(0) @binding(5) var<uniform> vocab: Vocabulary;

var<workgroup> bins: array<atomic<u32>, 3u * BINS>;  // planes as in survey

// The first bin whose tokens need not be told from deeper ones. Below it lies less than 1 - top_p of the probability, or
// what min-p cuts off anyhow; but top-p behind top-k wants the exact probability of all that top-k keeps.
fn first_deep_bin(s: Sequence, maximum: f32) -> u32 {
    var deep = BINS - 1u;
    if (!cuts_count(s, vocab.size)) {
        let depth = log(f32(vocab.size)) - log(1.0 - s.top_p) + 1.0;
        deep = min(deep, bin_at_depth(depth));
    }
    if (!cuts_count(s, vocab.size) || !cuts_mass(s)) {
        deep = min(deep, bin_of(maximum - s.min_p_margin, maximum) + 1u);
    }
    return deep;
}

// Two loops, because lavapipe (Mesa 22.3) runs through the atomic operations of a branch that it does not take.
fn count_tokens(output: u32, first: u32, end: u32, deep: u32, maximum: f32, lane: u32) {
    var count = 0u;  // of deep ones
    for (var token = first + lane; token < end; token += WORKGROUP) {
        let value = logits[output * vocab.size + token];
        if (value > FORBIDDEN) {
            let bin = bin_of(value, maximum);
            if (bin < deep) { atomicAdd(&bins[bin], 1u); }
            count += u32(bin >= deep);
        }
    }
    atomicAdd(&bins[BINS - 1u], count);
}

fn rolled(n: u32) -> u32 {
    return min(n, arrayLength(&survey));
}

fn add_mass(bin: u32, mass: vec2<u32>) {
    let before = atomicAdd(&bins[BINS + bin], mass.x);
    let high = mass.y + u32(before + mass.x < before);
    if (high != 0u) { atomicAdd(&bins[2u * BINS + bin], high); }
}

fn add_masses(output: u32, first: u32, end: u32, deep: u32, maximum: f32, lane: u32) {
    var mass = vec2<u32>(0u);  // of deep ones
    for (var token = first + lane; token < end; token += WORKGROUP) {
        let value = logits[output * vocab.size + token];
        if (value > FORBIDDEN) {
            let bin = bin_of(value, maximum);
            let own = to_fixed(exponential(value - maximum));
            if (bin < deep) { add_mass(bin, own); }
            mass = add_fixed(mass, select(own, vec2<u32>(0u), bin < deep));
        }
    }
    add_mass(BINS - 1u, mass);
}

fn is_filled(i: u32, deep: u32) -> bool {
    return i % BINS < deep || i % BINS == BINS - 1u;
}

fn best_draw(s: Sequence, output: u32, first: u32, end: u32, threshold: f32, position: u32, lane: u32) -> Best {
    var best = Best(-3.4e38, ALL, 0.0);
    for (var token = first + lane; token < end; token += WORKGROUP) {
        let logit = logits[output * vocab.size + token];
        if (logit >= threshold && logit > FORBIDDEN) {
            let drawn = Best(logit / s.temperature + gumbel(hash(s.seed, position, token)), token, 0.0);
            best = joined(best, drawn);
        }
    }
    return best_of_lanes(best, lane);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let output = workgroup.y;
    let row = rows[rows[output].w];
    let s = sequences[row.x];
    let what = survey_for(s, vocab.size, vocab.blocks);
    if (row.z == 1u || what == NOTHING) {
        return;
    }
    let stretches = (vocab.size + STRETCH - 1u) / STRETCH;
    let place = (output * stretches + workgroup.x) * (3u * BINS / 4u);
    let first = workgroup.x * STRETCH;
    let end = min(first + STRETCH, vocab.size);
    let maximum = row_maximum(output, lane).score;
    if (what == DRAW) {
        let best = best_draw(s, output, first, end, maximum - s.min_p_margin, row.y + 1u, lane);
        if (lane == 0u) {
            survey[place] = vec4<u32>(bitcast<u32>(best.score), best.token, 0u, 0u);
        }
        return;
    }
    let deep = first_deep_bin(s, maximum);
    let first_plane = select(BINS, 0u, cuts_count(s, vocab.size));
    let end_plane = select(BINS, 3u * BINS, cuts_mass(s));
    for (var i = first_plane + lane; i < end_plane; i += WORKGROUP) {
        if (is_filled(i, deep)) { atomicStore(&bins[i], 0u); }
    }
    workgroupBarrier();
    if (cuts_count(s, vocab.size)) { count_tokens(output, first, end, deep, maximum, lane); }
    if (cuts_mass(s)) { add_masses(output, first, end, deep, maximum, lane); }
    workgroupBarrier();
    for (var i = first_plane / 4u + lane; i < end_plane / 4u; i += WORKGROUP) {
        var four = vec4<u32>(0u);
        for (var j = 0u; j < rolled(4u); j++) {
            if (is_filled(4u * i + j, deep)) { four[j] = atomicLoad(&bins[4u * i + j]); }
        }
        survey[place + i] = four;
    }
}
