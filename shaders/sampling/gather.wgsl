// The kept tokens of some bins, gathered in workgroup memory; or where they are too many, looked for anew each time.

const MAX_GATHERED: u32 = 1024u;

var<workgroup> gathered: array<u32, MAX_GATHERED>;
var<workgroup> n_gathered: atomic<u32>;
var<workgroup> lowest: atomic<u32>;
var<workgroup> highest: atomic<u32>;
var<workgroup> shared_candidates: Candidates;

// The tokens in bins from `first` on. `n` counts also those that there was no room for; keys reach from `low` to `high`.
struct Candidates { first: u32, n: u32, low: u32, high: u32 }

fn is_candidate(kept: Kept, first: u32, token: u32) -> bool {
    if (token == ALL) {
        return false;
    }
    let value = logit_of(kept, token);
    let bin = bin_of(value, kept.maximum);
    return value > FORBIDDEN && bin >= first && bin <= kept.last;
}

fn gather(kept: Kept, first: u32, lane: u32) -> Candidates {
    if (lane == 0u) {
        atomicStore(&n_gathered, 0u);
        atomicStore(&lowest, ALL);
        atomicStore(&highest, 0u);
    }
    workgroupBarrier();
    var low = ALL;
    var high = 0u;
    for (var i = lane; i < kept.size; i += WORKGROUP) {
        let token = token_at(kept, i);
        if (is_candidate(kept, first, token)) {
            let key = key_of(logit_of(kept, token));
            low = min(low, key);
            high = max(high, key);
            let place = atomicAdd(&n_gathered, 1u);
            if (place < MAX_GATHERED) { gathered[place] = token; }
        }
    }
    atomicMin(&lowest, low);
    atomicMax(&highest, high);
    workgroupBarrier();
    if (lane == 0u) {
        shared_candidates = Candidates(first, atomicLoad(&n_gathered), atomicLoad(&lowest), atomicLoad(&highest));
    }
    return workgroupUniformLoad(&shared_candidates);
}

// Among how many tokens the candidates are to be looked for.
fn size_of(kept: Kept, c: Candidates) -> u32 {
    return select(kept.size, c.n, c.n <= MAX_GATHERED);
}

// One of these tokens; ALL if it is no candidate, or not kept by the cut.
fn candidate_at(kept: Kept, c: Candidates, index: u32) -> u32 {
    var token = ALL;
    if (c.n <= MAX_GATHERED) {
        token = gathered[index];
    } else {
        token = token_at(kept, index);
        if (!is_candidate(kept, c.first, token)) { return ALL; }
    }
    return select(ALL, token, keeps(kept.cut, key_of(logit_of(kept, token)), token));
}
