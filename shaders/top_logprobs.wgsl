// The likeliest tokens of each output with their log probabilities, the likeliest first; of equals the lower id.
//
//   logits   f32 [outputs, vocab]
//   stats    per head workgroup (maximum, sum of exp(logit - maximum), token of the maximum) [outputs, blocks]
//   results  (token, log probability as bits, position, done) per output; behind them, per output, n_top pairs of
//            (token, log probability as bits)
//
// They lie in the blocks with the largest maxima, and are taken from what is gathered there one after the other. This runs
// only where it was asked for. One workgroup an output. Needs no feature. For `rolled` see sample.wgsl.

// include: exponential.wgsl
// include: fixed_point.wgsl
// include: sampling/order.wgsl
// include: sampling/best.wgsl
// include: sampling/head.wgsl
// include: sampling/amounts.wgsl
// include: sampling/blocks.wgsl
// include: sampling/gather.wgsl

const WORKGROUP: u32 = 256u;    // parameter: lanes
const BLOCK_TOKENS: u32 = 64u;  // parameter: logits that an entry of stats stands for

struct Vocabulary {
    size: u32,
    blocks: u32,  // entries of stats an output
    outputs: u32,
    n_top: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> results: array<u32>;
@group(0) @binding(3) var<uniform> vocab: Vocabulary;

fn rolled(n: u32) -> u32 {
    return min(n, arrayLength(&results));
}

// What can be among the likeliest. Where the blocks do not tell, or too few tokens are allowed, all tokens.
fn likeliest(output: u32, maximum: f32, lane: u32) -> Kept {
    clear_amounts(lane);
    count_blocks(output, maximum, lane);
    let place = place_of(Wanted(vec2<u32>(vocab.n_top, 0u), vec2<u32>(0u), -1.0), false, lane).index;
    var kept = Kept(output, maximum, BINS - 1u, 0u, vocab.size, NO_CUT);
    if (place < PLACES - 1u) {
        kept = tokens_down_to(4u * place + 3u, output, maximum, lane);
    }
    return kept;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let output = workgroup.x;
    let maximum = row_maximum(output, lane).score;
    let part = part_of_row_sum(output, maximum, lane);
    let kept = likeliest(output, maximum, lane);
    let c = gather(kept, 0u, lane);
    let few = kept.is_listed == 1u && c.n <= MAX_GATHERED;
    let size = select(kept.size, c.n, few);
    var last = Best(3.4e38, 0u, 0.0);
    let n_top = rolled(vocab.n_top);
    for (var i = 0u; i < n_top; i++) {
        var best = Best(-3.4e38, ALL, 0.0);
        for (var j = lane; j < size; j += WORKGROUP) {
            var token = ALL;
            if (few) { token = gathered[j]; } else { token = token_at(kept, j); }
            if (token != ALL) {
                let own = Best(logit_of(kept, token), token, 0.0);
                if (i == 0u || better(last, own)) { best = joined(best, own); }
            }
        }
        best.sum = part;
        last = best_of_lanes(best, lane);
        if (lane == 0u) {
            let place = 4u * vocab.outputs + 2u * (output * vocab.n_top + i);
            results[place] = last.token;
            results[place + 1u] = bitcast<u32>(last.score - maximum - log(last.sum));
        }
    }
}
