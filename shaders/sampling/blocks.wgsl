// Which blocks of logits hold any that lie as high as asked: by their maxima, so that the others need not be looked at.
//
// Needs `logits`, `stats`, `vocab`, WORKGROUP and BLOCK_TOKENS.

const MAX_LISTED: u32 = 1024u;

var<workgroup> listed: array<u32, MAX_LISTED>;
var<workgroup> n_listed: atomic<u32>;
var<workgroup> shared_n: u32;

// What is kept of a row: the tokens in bins up to `last`, as far as `cut` keeps them. They are among `size` tokens, those of
// the listed blocks or all.
struct Kept { output: u32, maximum: f32, last: u32, is_listed: u32, size: u32, cut: vec2<u32> }

// One of the tokens to look among; ALL where a block reaches past the vocabulary.
fn token_at(kept: Kept, index: u32) -> u32 {
    var token = index;
    if (kept.is_listed == 1u) {
        token = listed[index / BLOCK_TOKENS] * BLOCK_TOKENS + index % BLOCK_TOKENS;
    }
    return select(ALL, token, token < vocab.size);
}

fn logit_of(kept: Kept, token: u32) -> f32 {
    return logits[kept.output * vocab.size + token];
}

// Counts the blocks by the bins of their maxima, four bins to a place. The bins down to which there are k maxima hold the k
// largest logits.
fn count_blocks(output: u32, maximum: f32, lane: u32) {
    for (var i = lane; i < vocab.blocks; i += WORKGROUP) {
        let value = stats[output * vocab.blocks + i].x;
        if (value > FORBIDDEN) { atomicAdd(&counts[bin_of(value, maximum) / 4u], 1u); }
    }
}

// All tokens in bins up to `last`. Lists the blocks that have any; where they are too many there is no list.
fn tokens_down_to(last: u32, output: u32, maximum: f32, lane: u32) -> Kept {
    if (lane == 0u) { atomicStore(&n_listed, 0u); }
    workgroupBarrier();
    for (var i = lane; i < vocab.blocks; i += WORKGROUP) {
        let value = stats[output * vocab.blocks + i].x;
        if (value > FORBIDDEN && bin_of(value, maximum) <= last) {
            let place = atomicAdd(&n_listed, 1u);
            if (place < MAX_LISTED) { listed[place] = i; }
        }
    }
    workgroupBarrier();
    if (lane == 0u) { shared_n = atomicLoad(&n_listed); }
    let n = workgroupUniformLoad(&shared_n);
    let is_listed = n <= MAX_LISTED;
    return Kept(output, maximum, last, u32(is_listed), select(vocab.size, n * BLOCK_TOKENS, is_listed), NO_CUT);
}
