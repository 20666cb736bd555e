// The likeliest tokens of each output with their log probabilities, the likeliest first; of equals the lower id.
//
//   logits   f32 [outputs, vocab]
//   stats    per head workgroup (maximum, sum of exp(logit - maximum), token of the maximum) [outputs, blocks]
//   results  (token, log probability as bits, position, done) per output; behind them, per output, n_top pairs of
//            (token, log probability as bits)
//
// One pass over the logits per token: this runs only where it was asked for. One workgroup an output. Needs no feature.
// The length of a buffer bounds the loops that count from zero as well, for the reason that sample.wgsl gives.

// include: exponential.wgsl

const WORKGROUP: u32 = 256u;
const NONE: u32 = 0xffffffffu;

struct Vocabulary {
    size: u32,
    blocks: u32,
    outputs: u32,
    n_top: u32,
}

struct Best { value: f32, token: u32 }

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> results: array<u32>;
@group(0) @binding(3) var<uniform> vocab: Vocabulary;

var<workgroup> lanes: array<Best, WORKGROUP>;
var<workgroup> shared_best: Best;

fn better(a: Best, b: Best) -> bool {
    return a.value > b.value || (a.value == b.value && a.token < b.token);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let output = workgroup.x;
    var last = Best(3.4e38, 0u);
    var maximum = 0.0;
    var log_sum = 0.0;
    let n_top = min(vocab.n_top, arrayLength(&results));
    for (var i = 0u; i < n_top; i++) {
        var best = Best(-3.4e38, NONE);
        for (var token = lane; token < vocab.size; token += WORKGROUP) {
            let candidate = Best(logits[output * vocab.size + token], token);
            let behind = i == 0u || better(last, candidate);
            if (behind && better(candidate, best)) { best = candidate; }
        }
        lanes[lane] = best;
        workgroupBarrier();
        if (lane == 0u) {
            for (var j = 1u; j < WORKGROUP; j++) {
                if (better(lanes[j], best)) { best = lanes[j]; }
            }
            if (i == 0u) {
                maximum = best.value;
                let end = min(vocab.blocks, arrayLength(&stats));
                for (var j = 0u; j < end; j++) {
                    let s = stats[output * vocab.blocks + j];
                    log_sum += s.y * exponential(s.x - maximum);
                }
                log_sum = log(log_sum);
            }
            let place = 4u * vocab.outputs + 2u * (output * vocab.n_top + i);
            results[place] = best.token;
            results[place + 1u] = bitcast<u32>(best.value - maximum - log_sum);
            shared_best = best;
        }
        last = workgroupUniformLoad(&shared_best);
    }
}
