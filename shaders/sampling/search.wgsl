// Top-k and top-p, as one search in steps: for each the bin in which it cuts, by the survey or by the blocks' maxima, and
// then the exact cut among the tokens of that bin. A step puts tokens into places, and looks on in the place at which they
// reach what is wanted. Top-p follows top-k, among what it kept; where min-p cuts before either, that one is left.
//
// One loop, so that each function stands in it once: compilers put a function wherever it is called.

const BY_BLOCKS: u32 = 0u;  // how deep the k largest logits can lie
const BY_FOURS: u32 = 1u;   // four bins of the survey
const BY_BINS: u32 = 2u;    // one of the four
const BY_DIGITS: u32 = 3u;  // the tokens of the bin
const SUMMED: u32 = 4u;     // what top-k kept of them, so that top-p knows the sum of all
const DONE: u32 = 5u;

struct Search {
    step: u32,
    by_mass: u32,       // 0: top-k, 1: top-p
    wanted: vec2<u32>,
    share: f32,         // top-p, as long as `wanted` is not known; else negative
    four: u32,          // that was found
    bin: u32,           // whose tokens are to be looked at from now on; BINS: none
    end: u32,           // the bin in which top-k cuts
    inside: vec2<u32>,  // the probability that it keeps there
    cut: vec2<u32>,
}

fn first_search(o: Sequence, few: bool) -> Search {
    var s = Search(BY_FOURS, 0u, vec2<u32>(o.top_k, 0u), -1.0, 0u, BINS, BINS, vec2<u32>(0u), NO_CUT);
    if (few) {
        s.step = BY_BLOCKS;
    } else if (!cuts_count(o, vocab.size)) {
        s.by_mass = 1u;
        s.share = o.top_p;
    }
    return s;
}

// Behind top-k comes top-p, behind that nothing.
fn next_cut(s: Search, o: Sequence, few: bool) -> Search {
    var next = s;
    if (s.by_mass == 1u || !cuts_mass(o)) {
        next.step = DONE;
    } else {
        next.step = select(select(BY_FOURS, SUMMED, s.end < BINS), BY_DIGITS, few);
        next.by_mass = 1u;
        next.share = o.top_p;
    }
    return next;
}

// The cut lies in this bin. Deeper than min-p's it matters only to the sum that top-p needs.
fn into_bin(s: Search, o: Sequence, bin: u32, min_p_bin: u32) -> Search {
    if (bin > min_p_bin && (s.by_mass == 1u || !cuts_mass(o))) {
        return next_cut(s, o, false);
    }
    var next = s;
    next.step = BY_DIGITS;
    next.bin = bin;
    if (bin != s.end) { next.cut = NO_CUT; }
    if (s.by_mass == 0u) { next.end = bin; }
    return next;
}

// On from a step that found a bin, or four, or the sum.
fn next_step(before: Search, o: Sequence, found: Place, min_p_bin: u32, few: bool) -> Search {
    var s = before;
    let reached = found.index != ALL;
    switch (s.step) {
        case BY_BLOCKS: {
            let bin = select(BINS - 1u, 4u * found.index + 3u, reached);
            s.bin = select(min(bin, min_p_bin), bin, cuts_mass(o));
            s.step = BY_DIGITS;
        }
        case BY_FOURS: {
            s.wanted = found.left;
            s.share = -1.0;
            s.four = found.index;
            s.step = BY_BINS;
            if (!reached && s.end < BINS) {
                s = into_bin(s, o, s.end, min_p_bin);
            } else if (!reached) {
                s = next_cut(s, o, few);
            }
        }
        case BY_BINS: {
            s.wanted = found.left;
            s = into_bin(s, o, 4u * s.four + found.index, min_p_bin);
        }
        default: {
            s.inside = found.sum;
            s.step = BY_FOURS;
        }
    }
    return s;
}

fn kept_tokens(o: Sequence, few: bool, output: u32, maximum: f32, lane: u32) -> Kept {
    let min_p_bin = bin_of(maximum - o.min_p_margin, maximum);
    var kept = Kept(output, maximum, BINS, 0u, 0u, NO_CUT);
    var c = Candidates(0u, 0u, 0u, 0u);
    var d = Digits(0u, 0u, 0u, 0u);
    var s = first_search(o, few);
    loop {
        if (s.step == DONE && kept.last > min_p_bin) { s.bin = min_p_bin; }
        if (s.bin < BINS) { kept = tokens_down_to(s.bin, output, maximum, lane); }
        kept.cut = s.cut;
        if (s.step == DONE) { break; }
        if (s.bin < BINS) {
            c = gather(kept, select(s.bin, 0u, few), lane);
            d = no_digits(c);
            s.bin = BINS;
        }

        let by_mass = s.by_mass == 1u;
        clear_amounts(lane);
        switch (s.step) {
            case BY_BLOCKS: { count_blocks(output, maximum, lane); }
            case BY_FOURS: { add_fours(output, s.end, by_mass, lane); }
            case BY_BINS: { add_bins(output, s.four, s.end, by_mass, lane); }
            default: { add_digits(kept, c, d, by_mass, lane); }
        }
        let of_survey = s.step == BY_FOURS || s.step == BY_BINS;
        let found = place_of(Wanted(s.wanted, s.inside, s.share), by_mass || of_survey, lane);
        if (s.step != BY_DIGITS) {
            s = next_step(s, o, found, min_p_bin, few);
            continue;
        }
        d = with_digit(d, found.index);
        s.wanted = found.left;
        s.share = -1.0;
        let whole = select(found.left.x == found.count, found.count == 1u, by_mass) || d.id_bits == 0u;
        if (found.index != ALL && whole) { s.cut = tighter(s.cut, cut_of(d, c.low)); }
        if (found.index == ALL || whole) {
            s = next_cut(s, o, few);
            d = no_digits(c);
        }
    }
    return kept;
}
