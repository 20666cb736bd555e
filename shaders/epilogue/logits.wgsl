// Logits, with penalties, bias and mask applied (in that order, as llama.cpp does), and per workgroup their maximum, its
// token and the sum of exp(logit - maximum).
//
//   logits      f32 [outputs, vocab]
//   stats       (maximum, sum, token as bits, 0) [outputs, workgroups]
//   vocabulary  per slot: a bit per token that may be drawn, then f32 bias, then how often the token stands among the
//               last ones
//   sequences   per slot the penalties
//   rows        (slot, position, done, output row), declared by input/selected.wgsl

// include: sequence.wgsl

const FORBIDDEN: f32 = -3.0e38;

struct Vocabulary {
    size: u32,
    mask_words: u32,
    slot_words: u32,  // mask_words + 2 * size, rounded up
}

@group(0) @binding(6) var<storage, read_write> logits: array<f32>;
@group(0) @binding(7) var<storage, read_write> stats: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read> vocabulary: array<u32>;
@group(0) @binding(9) var<storage, read> sequences: array<Sequence>;
@group(0) @binding(10) var<uniform> vocab: Vocabulary;

const HAS_TALLY: bool = true;
struct Tally { maximum: f32, sum: f32, token: u32 }

fn tally_none() -> Tally { return Tally(-3.4e38, 0.0, 0xffffffffu); }

fn tally_join(a: Tally, b: Tally) -> Tally {
    let b_first = b.maximum > a.maximum || (b.maximum == a.maximum && b.token < a.token);
    let maximum = max(a.maximum, b.maximum);
    let sum = a.sum * exp(max(a.maximum - maximum, -80.0)) + b.sum * exp(max(b.maximum - maximum, -80.0));
    return Tally(maximum, sum, select(a.token, b.token, b_first));
}

fn tally_write(m: u32, workgroup: u32, workgroups: u32, t: Tally) {
    stats[m * workgroups + workgroup] = vec4<f32>(t.maximum, t.sum, bitcast<f32>(t.token), 0.0);
}

fn pair_rows(pair: u32) -> vec2<u32> {
    return vec2<u32>(2u * pair, 2u * pair + 1u);
}

fn adjusted(slot: u32, token: u32, logit: f32) -> f32 {
    let words = slot * vocab.slot_words;
    var value = logit;
    let count = vocabulary[words + vocab.mask_words + vocab.size + token];
    if (count > 0u) {
        let penalty = sequences[slot].repeat_penalty;
        value = select(value * penalty, value / penalty, value > 0.0);
        value -= f32(count) * sequences[slot].frequency_penalty + sequences[slot].presence_penalty;
    }
    value += bitcast<f32>(vocabulary[words + vocab.mask_words + token]);
    let allowed = (vocabulary[words + token / 32u] >> (token % 32u)) & 1u;
    return select(FORBIDDEN, max(value, FORBIDDEN), allowed == 1u);
}

fn put(m: u32, slot: u32, token: u32, logit: f32) -> Tally {
    let value = adjusted(slot, token, logit);
    logits[m * vocab.size + token] = value;
    return Tally(value, 1.0, token);
}

fn store(m: u32, pair: u32, y: vec2<f32>) -> Tally {
    let slot = rows[input_row(m)].x;
    var tally = put(m, slot, 2u * pair, y.x);
    if (2u * pair + 1u < vocab.size) {
        tally = tally_join(tally, put(m, slot, 2u * pair + 1u, y.y));
    }
    return tally;
}
