// Draws each output's next token, puts it where the next step finds it, and says whether the answer ends.
//
//   logits      f32 [outputs, vocab], penalties, bias and mask applied
//   stats       per head workgroup (maximum, sum of exp(logit - maximum), token of the maximum) [outputs, blocks]
//   sequences   per slot the options of sampling
//   rows        (slot, position, done, output row); the position moves on, or done is set
//   tokens      token ids, [slots, context]; the drawn one is added
//   vocabulary  per slot mask, bias and counts; the counts follow the window
//   results     (token, log probability as bits, its position, done) per output
//
// Order as in llama.cpp: top-k, top-p, min-p, temperature. Each narrows the kept set to the logits above a threshold, and
// of those equal to it the first few tokens; thresholds are found by radix search, over all logits or, for a small top-k,
// over the few blocks whose maximum can reach it. Probabilities are summed in 64-bit fixed point, so that no sum depends
// on the order of lanes. The draw is the Gumbel-max trick over a hash of (seed, position, token): argmax(logit / T + g) has
// the softmax's distribution. One workgroup an output. Needs no feature.
//
// Lavapipe (Mesa 22.3) compiles a kernel anew at every dispatch, and never frees it, where a uniform alone bounds a loop
// that counts from zero; the length of a buffer bounds those loops as well, so that it cannot.

// include: sequence.wgsl
// include: exponential.wgsl
// include: fixed_point.wgsl
// include: random.wgsl

const WORKGROUP: u32 = 256u;
const MAX_LISTED: u32 = 1024u;
const ALL: u32 = 0xffffffffu;
const FORBIDDEN: f32 = -3.0e38;

struct Vocabulary {
    size: u32,
    mask_words: u32,
    slot_words: u32,
    blocks: u32,        // entries of stats an output
    block_tokens: u32,  // logits an entry stands for
    context: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> sequences: array<Sequence>;
@group(0) @binding(3) var<storage, read_write> rows: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(5) var<storage, read_write> vocabulary: array<u32>;
@group(0) @binding(6) var<storage, read_write> results: array<vec4<u32>>;
@group(0) @binding(7) var<uniform> vocab: Vocabulary;

var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> mass_low: array<atomic<u32>, 256>;
var<workgroup> mass_high: array<atomic<u32>, 256>;
var<workgroup> listed: array<u32, MAX_LISTED>;
var<workgroup> n_listed: atomic<u32>;
var<workgroup> best_score: array<f32, WORKGROUP>;
var<workgroup> best_token: array<u32, WORKGROUP>;
var<workgroup> shared_row: vec4<u32>;
var<workgroup> shared_u32: u32;
var<workgroup> shared_threshold: Threshold;
var<workgroup> shared_head: Head;

// Kept are the keys above `key`, and the first `ties` tokens whose key equals it.
struct Threshold { key: u32, ties: u32 }

struct Head { maximum: f32, token: u32, sum: f32 }

// Where a search looks.
struct Domain {
    kind: u32,  // 0: all logits; 1: logits of the listed blocks; 2: the blocks' maxima
    size: u32,
    output: u32,
}

// Order of floats as order of integers.
fn key_of(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn value_of(key: u32) -> f32 {
    return bitcast<f32>(select(key & 0x7fffffffu, ~key, key < 0x80000000u));
}

fn token_at(d: Domain, index: u32) -> u32 {
    if (d.kind == 1u) {
        return listed[index / vocab.block_tokens] * vocab.block_tokens + index % vocab.block_tokens;
    }
    return index;
}

fn key_at(d: Domain, index: u32) -> u32 {
    if (d.kind == 2u) {
        return key_of(stats[d.output * vocab.blocks + index].x);
    }
    let token = token_at(d, index);
    if (token >= vocab.size) {
        return 0u;
    }
    return key_of(logits[d.output * vocab.size + token]);
}

fn clear_bins(lane: u32) {
    atomicStore(&counts[lane], 0u);
    atomicStore(&mass_low[lane], 0u);
    atomicStore(&mass_high[lane], 0u);
}

fn matches(key: u32, prefix: u32, shift: u32) -> bool {
    return shift == 24u || (key >> (shift + 8u)) == (prefix >> (shift + 8u));
}

// The threshold that keeps exactly `k` of the domain.
fn top_k_threshold(d: Domain, k: u32, lane: u32) -> Threshold {
    var found = Threshold(0u, k);
    for (var pass_index = 0u; pass_index < 4u; pass_index++) {
        let shift = 24u - 8u * pass_index;
        clear_bins(lane);
        workgroupBarrier();
        for (var i = lane; i < d.size; i += WORKGROUP) {
            let key = key_at(d, i);
            if (matches(key, found.key, shift)) {
                atomicAdd(&counts[(key >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();
        if (lane == 0u) {
            var digit = 255u;
            var above = 0u;
            loop {
                let here = atomicLoad(&counts[digit]);
                if (above + here >= found.ties || digit == 0u) { break; }
                above += here;
                digit -= 1u;
            }
            let wanted = found.ties - above;
            let all_tied = shift == 0u && wanted == atomicLoad(&counts[digit]);
            shared_threshold = Threshold(found.key | (digit << shift), select(wanted, ALL, all_tied));
        }
        found = workgroupUniformLoad(&shared_threshold);
    }
    return found;
}

// The threshold that keeps the fewest logits whose probability within `kept` reaches `top_p`.
fn top_p_threshold(d: Domain, kept: Threshold, top_p: f32, maximum: f32, lane: u32) -> Threshold {
    let tie_weight = to_fixed(exponential(value_of(kept.key) - maximum));
    var found = Threshold(0u, 0u);
    var wanted = vec2<u32>(0u);  // read by lane 0 alone
    var above = vec2<u32>(0u);
    for (var pass_index = 0u; pass_index < 4u; pass_index++) {
        let shift = 24u - 8u * pass_index;
        clear_bins(lane);
        workgroupBarrier();
        for (var i = lane; i < d.size; i += WORKGROUP) {
            let key = key_at(d, i);
            if (key >= kept.key && matches(key, found.key, shift)) {
                let bin = (key >> shift) & 255u;
                let tied = key == kept.key && kept.ties != ALL;
                if (!tied) {
                    let weight = to_fixed(exponential(value_of(key) - maximum));
                    atomicAdd(&counts[bin], 1u);
                    let before = atomicAdd(&mass_low[bin], weight.x);
                    atomicAdd(&mass_high[bin], weight.y + u32(before + weight.x < before));
                }
            }
        }
        workgroupBarrier();
        if (lane == 0u) {
            if (kept.ties != ALL && matches(kept.key, found.key, shift)) {
                let bin = (kept.key >> shift) & 255u;
                var mass = vec2<u32>(atomicLoad(&mass_low[bin]), atomicLoad(&mass_high[bin]));
                for (var i = 0u; i < kept.ties; i++) {
                    mass = add_fixed(mass, tie_weight);
                }
                atomicStore(&mass_low[bin], mass.x);
                atomicStore(&mass_high[bin], mass.y);
                atomicAdd(&counts[bin], kept.ties);
            }
            if (pass_index == 0u) {
                var total = vec2<u32>(0u);
                for (var i = 0u; i < 256u; i++) {
                    total = add_fixed(total, vec2<u32>(atomicLoad(&mass_low[i]), atomicLoad(&mass_high[i])));
                }
                wanted = to_fixed(top_p * to_float(total));
            }
            var digit = 255u;
            var lowest = 255u;  // the lowest bin that holds anything, should rounding leave the sum short
            loop {
                if (atomicLoad(&counts[digit]) > 0u) { lowest = digit; }
                let next = add_fixed(above, vec2<u32>(atomicLoad(&mass_low[digit]), atomicLoad(&mass_high[digit])));
                if (atomicLoad(&counts[digit]) > 0u && !less_fixed(next, wanted)) { break; }
                if (digit == 0u) { digit = lowest; break; }
                above = next;
                digit -= 1u;
            }
            let key = found.key | (digit << shift);
            let here = atomicLoad(&counts[digit]);
            let weight = to_float(to_fixed(exponential(value_of(key) - maximum)));
            var ties = here;
            if (shift == 0u && weight > 0.0) {
                ties = clamp(u32(ceil((to_float(wanted) - to_float(above)) / weight)), 1u, here);
            }
            let cut_before = key == kept.key && kept.ties != ALL;
            if (shift == 0u && ties == here && !cut_before) { ties = ALL; }
            shared_threshold = Threshold(key, ties);
        }
        found = workgroupUniformLoad(&shared_threshold);
    }
    return found;
}

// The last token that is kept among those tied with the threshold.
fn last_tie(output: u32, threshold: Threshold, lane: u32) -> u32 {
    if (lane == 0u) {
        var left = threshold.ties;
        var token = 0u;
        let end = min(vocab.size, arrayLength(&logits));  // not by the uniform alone: see the head
        for (; token < end; token++) {
            if (key_of(logits[output * vocab.size + token]) == threshold.key) {
                left -= 1u;
                if (left == 0u) { break; }
            }
        }
        shared_u32 = token;
    }
    return workgroupUniformLoad(&shared_u32);
}

// Lists the blocks that can hold one of the `k` largest logits: those whose maximum is among the k largest maxima.
fn list_blocks(output: u32, k: u32, lane: u32) -> Domain {
    let everything = Domain(0u, vocab.size, output);
    if (k >= vocab.blocks || k > MAX_LISTED / 2u) {
        return everything;
    }
    let maxima = Domain(2u, vocab.blocks, output);
    let threshold = top_k_threshold(maxima, k, lane);
    if (lane == 0u) { atomicStore(&n_listed, 0u); }
    workgroupBarrier();
    for (var i = lane; i < vocab.blocks; i += WORKGROUP) {
        if (key_at(maxima, i) >= threshold.key) {
            let place = atomicAdd(&n_listed, 1u);
            if (place < MAX_LISTED) { listed[place] = i; }
        }
    }
    workgroupBarrier();
    if (lane == 0u) { shared_u32 = atomicLoad(&n_listed); }
    let n = workgroupUniformLoad(&shared_u32);
    if (n > MAX_LISTED) {
        return everything;
    }
    return Domain(1u, n * vocab.block_tokens, output);
}

fn summarize(output: u32, lane: u32) -> Head {
    var best = Head(-3.4e38, ALL, 0.0);
    for (var i = lane; i < vocab.blocks; i += WORKGROUP) {
        let s = stats[output * vocab.blocks + i];
        let token = bitcast<u32>(s.z);
        if (s.x > best.maximum || (s.x == best.maximum && token < best.token)) {
            best.maximum = s.x;
            best.token = token;
        }
    }
    best_score[lane] = best.maximum;
    best_token[lane] = best.token;
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < WORKGROUP; i++) {
            if (best_score[i] > best.maximum || (best_score[i] == best.maximum && best_token[i] < best.token)) {
                best.maximum = best_score[i];
                best.token = best_token[i];
            }
        }
        let end = min(vocab.blocks, arrayLength(&stats));
        for (var i = 0u; i < end; i++) {
            let s = stats[output * vocab.blocks + i];
            best.sum += s.y * exponential(s.x - best.maximum);
        }
        shared_head = best;
    }
    return workgroupUniformLoad(&shared_head);
}

fn draw(d: Domain, threshold: Threshold, last: u32, seed: u32, position: u32, temperature: f32, lane: u32) -> u32 {
    var score = -3.4e38;
    var chosen = ALL;
    for (var i = lane; i < d.size; i += WORKGROUP) {
        let token = token_at(d, i);
        let key = key_at(d, i);
        if (token < vocab.size && (key > threshold.key || (key == threshold.key && token <= last))) {
            let logit = value_of(key);
            if (logit > FORBIDDEN) {
                let s = logit / temperature + gumbel(hash(seed, position, token));
                if (s > score || (s == score && token < chosen)) {
                    score = s;
                    chosen = token;
                }
            }
        }
    }
    best_score[lane] = score;
    best_token[lane] = chosen;
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < WORKGROUP; i++) {
            if (best_score[i] > score || (best_score[i] == score && best_token[i] < chosen)) {
                score = best_score[i];
                chosen = best_token[i];
            }
        }
    }
    return chosen;  // lane 0's is the answer
}

fn finish(output: u32, source: u32, token: u32, head: Head) {
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
    let log_probability = logits[output * vocab.size + token] - head.maximum - log(head.sum);
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
    let head = summarize(output, lane);
    var token = head.token;
    if (s.temperature > 0.0) {
        var domain = Domain(0u, vocab.size, output);
        var threshold = Threshold(0u, ALL);
        if (s.top_k > 0u && s.top_k < vocab.size) {
            domain = list_blocks(output, s.top_k, lane);
            threshold = top_k_threshold(domain, s.top_k, lane);
        }
        if (s.top_p < 1.0) {
            threshold = top_p_threshold(domain, threshold, s.top_p, head.maximum, lane);
        }
        let min_p_key = key_of(head.maximum - s.min_p_margin);
        if (min_p_key > threshold.key) {
            threshold = Threshold(min_p_key, ALL);
        }
        var last = ALL;
        if (threshold.ties != ALL) {
            last = last_tie(output, threshold, lane);
        }
        token = draw(domain, threshold, last, s.seed, row.y + 1u, s.temperature, lane);
    }
    if (lane == 0u) {
        finish(output, row.w, min(token, vocab.size - 1u), head);
    }
}
