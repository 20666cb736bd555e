// Draws each output's next token, puts it where the next step finds it, and says whether the answer ends.
//
//   logits      f32 [outputs, vocab], penalties, bias and mask applied
//   stats       per head workgroup (maximum, sum of exp(logit - maximum), token of the maximum) [outputs, blocks]
//   survey      what survey.wgsl found, where it looked
//   sequences   per slot the options of sampling
//   rows        (slot, position, done, output row); the position moves on, or done is set
//   tokens      token ids, [slots, context]; the drawn one is added
//   vocabulary  per slot mask, bias and counts; the counts follow the window
//   results     (token, log probability as bits, its position, done) per output
//
// Order as in llama.cpp: top-k, top-p, min-p, temperature. Each keeps the first few tokens in order, so that together they
// are one cut: found to a bin by the survey, or for a small top-k by the blocks' maxima, and within the bin exactly
// (sampling/search.wgsl). Probabilities are summed in 64-bit fixed point, so that no sum depends on the order of lanes.
// The draw is the Gumbel-max trick over a hash of (seed, position, token): argmax(logit / T + g) has the softmax's
// distribution. One workgroup an output. Needs no feature.
//
// Lavapipe (Mesa 22.3) compiles a kernel anew at every dispatch, and never frees it, where a uniform alone bounds a loop
// that counts from zero; the length of a buffer bounds those loops as well, so that it cannot.

// include: sequence.wgsl
// include: exponential.wgsl
// include: fixed_point.wgsl
// include: random.wgsl
// include: sampling/order.wgsl
// include: sampling/stage.wgsl
// include: sampling/best.wgsl
// include: sampling/head.wgsl
// include: sampling/amounts.wgsl
// include: sampling/blocks.wgsl
// include: sampling/gather.wgsl
// include: sampling/search.wgsl

const WORKGROUP: u32 = 256u;  // parameter: lanes
const BLOCK_TOKENS: u32 = 64u;  // parameter: logits that an entry of stats stands for

struct Vocabulary {
    size: u32,
    mask_words: u32,
    slot_words: u32,
    blocks: u32,     // entries of stats an output
    stretches: u32,  // of the survey, an output
    context: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> survey: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sequences: array<Sequence>;
@group(0) @binding(4) var<storage, read_write> rows: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(6) var<storage, read_write> vocabulary: array<u32>;
@group(0) @binding(7) var<storage, read_write> results: array<vec4<u32>>;
@group(0) @binding(8) var<uniform> vocab: Vocabulary;

var<workgroup> shared_row: vec4<u32>;

// A bin, and the amount of those above it.
struct Bin { index: u32, above: vec2<u32> }

// Amounts of four bins.
struct Four { low: vec4<u32>, high: vec4<u32> }

// What the survey found in bins 4 * four to 4 * four + 3 of a stretch: numbers of tokens, or probabilities. 0 from `end` on.
fn surveyed(stretch: u32, four: u32, end: u32, by_mass: bool) -> Four {
    let place = stretch * (3u * BINS / 4u) + four;
    let none = vec4<u32>(0u);
    let counts = vec4<u32>(4u * four) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end);
    if (by_mass) {
        return Four(select(none, survey[place + BINS / 4u], counts), select(none, survey[place + BINS / 2u], counts));
    }
    return Four(select(none, survey[place], counts), none);
}

// The amounts of the bins before `end`, by fours.
fn add_stretches(output: u32, end: u32, by_mass: bool, lane: u32) {
    clear_amounts(lane);
    let first = output * vocab.stretches;
    let stretches = min(vocab.stretches, arrayLength(&survey));
    for (var four = lane; four < BINS / 4u; four += WORKGROUP) {
        var sum = vec2<u32>(0u);
        for (var i = 0u; i < stretches; i++) {
            let amounts = surveyed(first + i, four, end, by_mass);
            for (var j = 0u; j < 4u; j++) { sum = add_fixed(sum, vec2<u32>(amounts.low[j], amounts.high[j])); }
        }
        set_mass(four, sum);
    }
}

// The bin before `end` that reaches `wanted`, or `end`. Its four are found by what add_stretches left.
fn bin_at(wanted: vec2<u32>, output: u32, end: u32, by_mass: bool, lane: u32) -> Bin {
    let four = place_of(wanted, true, lane);
    if (four.index == ALL) {
        return Bin(end, four.above);
    }
    clear_amounts(lane);
    for (var i = lane; i < vocab.stretches; i += WORKGROUP) {
        let amounts = surveyed(output * vocab.stretches + i, four.index, end, by_mass);
        for (var j = 0u; j < 4u; j++) { add_mass(j, vec2<u32>(amounts.low[j], amounts.high[j])); }
    }
    let bin = place_of(sub_fixed(wanted, four.above), true, lane);
    return Bin(4u * four.index + bin.index, add_fixed(four.above, bin.above));
}

// What top-p asks for of a sum of probabilities, never nothing: the likeliest token is always kept.
fn share(sum: vec2<u32>, top_p: f32) -> vec2<u32> {
    let wanted = to_fixed(top_p * to_float(sum));
    return select(wanted, vec2<u32>(1u, 0u), all(wanted == vec2<u32>(0u)));
}

// Top-k and top-p among the blocks that hold the k largest logits.
fn kept_by_blocks(s: Sequence, output: u32, maximum: f32, min_p_bin: u32, lane: u32) -> Kept {
    var last = bin_of_top_blocks(output, s.top_k, maximum, lane);
    if (!cuts_mass(s)) { last = min(last, min_p_bin); }
    var kept = tokens_down_to(last, output, maximum, lane);
    let c = gather(kept, 0u, lane);
    if (c.n > s.top_k) {
        kept.cut = search(kept, c, vec2<u32>(s.top_k, 0u), false, lane);
    }
    if (cuts_mass(s)) {
        kept.cut = search(kept, c, share(sum_of_candidates(kept, c, lane), s.top_p), true, lane);
    }
    return kept;
}

// Top-k and top-p by the survey: the bin in which each cuts, and within the bin exactly, where min-p does not cut before.
fn kept_by_survey(s: Sequence, output: u32, maximum: f32, min_p_bin: u32, lane: u32) -> Kept {
    var kept = Kept(output, maximum, BINS, 0u, 0u, NO_CUT);  // not known yet
    var end = BINS;  // the bin in which top-k cuts
    var sum = vec2<u32>(0u);  // of what it keeps there
    if (cuts_count(s, vocab.size)) {
        let wanted = vec2<u32>(s.top_k, 0u);
        add_stretches(output, BINS, false, lane);
        let bin = bin_at(wanted, output, BINS, false, lane);
        if (bin.index < BINS && (cuts_mass(s) || bin.index <= min_p_bin)) {
            end = bin.index;
            kept = tokens_down_to(end, output, maximum, lane);
            let c = gather(kept, end, lane);
            kept.cut = search(kept, c, sub_fixed(wanted, bin.above), false, lane);
            if (cuts_mass(s)) { sum = sum_of_candidates(kept, c, lane); }
        }
    }
    if (cuts_mass(s)) {
        add_stretches(output, end, true, lane);
        let wanted = share(add_fixed(sum, sum_of_masses(lane)), s.top_p);
        let bin = bin_at(wanted, output, end, true, lane);
        let cut = select(NO_CUT, kept.cut, bin.index == end);
        if (bin.index <= min_p_bin) {
            kept = tokens_down_to(bin.index, output, maximum, lane);
            kept.cut = cut;
            let c = gather(kept, bin.index, lane);
            kept.cut = search(kept, c, sub_fixed(wanted, bin.above), true, lane);
        }
    }
    if (kept.last > min_p_bin) {
        kept = tokens_down_to(min_p_bin, output, maximum, lane);
    }
    return kept;
}

fn draw(kept: Kept, s: Sequence, position: u32, lane: u32) -> u32 {
    let threshold = kept.maximum - s.min_p_margin;
    var best = Best(-3.4e38, ALL);
    for (var i = lane; i < kept.size; i += WORKGROUP) {
        let token = token_at(kept, i);
        if (is_candidate(kept, 0u, token)) {
            let logit = logit_of(kept, token);
            if (logit >= threshold && keeps(kept.cut, key_of(logit), token)) {
                let drawn = Best(logit / s.temperature + gumbel(hash(s.seed, position, token)), token);
                if (better(drawn, best)) { best = drawn; }
            }
        }
    }
    return best_of_lanes(best, lane).token;
}

fn drawn_by_survey(output: u32, lane: u32) -> u32 {
    var best = Best(-3.4e38, ALL);
    for (var i = lane; i < vocab.stretches; i += WORKGROUP) {
        let found = survey[(output * vocab.stretches + i) * (3u * BINS / 4u)];
        let drawn = Best(bitcast<f32>(found.x), found.y);
        if (better(drawn, best)) { best = drawn; }
    }
    return best_of_lanes(best, lane).token;
}

fn finish(output: u32, source: u32, token: u32, maximum: f32, sum: f32) {
    let row = rows[source];
    let s = sequences[row.x];
    let position = row.y + 1u;
    let text = row.x * vocab.context;
    var ends = u32(position >= s.last_position);
    for (var i = 0u; i < s.n_end_tokens; i++) {
        ends |= u32(s.end_tokens[i / 4u][i % 4u] == token);
    }
    if (position < vocab.context) {
        tokens[text + position] = token;
    }
    if (s.repeat_last_n > 0u) {
        let first = row.x * vocab.slot_words + vocab.mask_words + vocab.size;
        vocabulary[first + token] += 1u;
        if (position >= s.repeat_last_n) {
            vocabulary[first + tokens[text + position - s.repeat_last_n]] -= 1u;
        }
    }
    let log_probability = logits[output * vocab.size + token] - maximum - log(sum);
    results[output] = vec4<u32>(token, bitcast<u32>(log_probability), position, ends);
    if (ends == 1u) {
        rows[source].z = 1u;
    } else {
        rows[source].y = position;
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let output = workgroup.x;
    if (lane == 0u) {
        let source = rows[output].w;
        shared_row = vec4<u32>(rows[source].xyz, source);
    }
    let row = workgroupUniformLoad(&shared_row);
    if (row.z == 1u) {
        return;
    }
    let s = sequences[row.x];
    let head = row_maximum(output, lane);
    let sum = row_sum(output, head.score, lane);
    let what = survey_for(s, vocab.size, vocab.blocks);
    var token = head.token;
    if (what == DRAW) {
        token = drawn_by_survey(output, lane);
    } else if (s.temperature > 0.0) {
        let min_p_bin = bin_of(head.score - s.min_p_margin, head.score);
        var kept: Kept;
        if (what == HISTOGRAM) {
            kept = kept_by_survey(s, output, head.score, min_p_bin, lane);
        } else {
            kept = kept_by_blocks(s, output, head.score, min_p_bin, lane);
        }
        token = draw(kept, s, row.y + 1u, lane);
    }
    if (lane == 0u) {
        finish(output, row.w, min(token, vocab.size - 1u), head.score, sum);
    }
}
