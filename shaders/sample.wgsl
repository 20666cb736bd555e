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
// that counts from zero; and it unrolls loops of a few rounds, which doubles what it takes to compile so many atomic
// operations. `rolled` keeps it from both.

// include: sequence.wgsl
// include: exponential.wgsl
// include: fixed_point.wgsl
// include: random.wgsl
// include: sampling/order.wgsl
// include: sampling/cuts.wgsl
// include: sampling/best.wgsl
// include: sampling/head.wgsl
// include: sampling/amounts.wgsl
// include: sampling/blocks.wgsl
// include: sampling/gather.wgsl
// include: sampling/digits.wgsl
// include: sampling/survey.wgsl
// include: sampling/search.wgsl

const WORKGROUP: u32 = 256u;    // parameter: lanes
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

// A loop's bound n that no compiler knows: the length of a buffer is never less.
fn rolled(n: u32) -> u32 {
    return min(n, arrayLength(&survey));
}

// The best draw of a lane's tokens.
fn draw(kept: Kept, s: Sequence, position: u32, lane: u32) -> Best {
    let threshold = kept.maximum - s.min_p_margin;
    var best = Best(-3.4e38, ALL, 0.0);
    for (var i = lane; i < kept.size; i += WORKGROUP) {
        let token = token_at(kept, i);
        if (is_candidate(kept, 0u, token)) {
            let logit = logit_of(kept, token);
            if (logit >= threshold && keeps(kept.cut, key_of(logit), token)) {
                let drawn = Best(logit / s.temperature + gumbel(hash(s.seed, position, token)), token, 0.0);
                best = joined(best, drawn);
            }
        }
    }
    return best;
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
    let what = survey_for(s, vocab.size, vocab.blocks);
    var best = head;
    if (what == DRAW) {
        best = surveyed_draw(output, lane);
    } else if (s.temperature > 0.0) {
        best = draw(kept_tokens(s, what == NOTHING, output, head.score, lane), s, row.y + 1u, lane);
    }
    best.sum = part_of_row_sum(output, head.score, lane);
    best = best_of_lanes(best, lane);
    if (lane == 0u) {
        finish(output, row.w, min(best.token, vocab.size - 1u), head.score, best.sum);
    }
}
