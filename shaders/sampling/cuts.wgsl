// Which cuts a row's options make, and what survey.wgsl therefore leaves for sample.wgsl.

const NOTHING: u32 = 0u;    // greedy, or a top-k so small that the blocks' maxima lead to it
const DRAW: u32 = 1u;       // nothing to be searched: the draw itself, among all that min-p keeps
const HISTOGRAM: u32 = 2u;  // how many tokens, and how much probability, lie how deep
const MAX_FEW: u32 = 512u;  // the largest top-k that the blocks' maxima lead to

fn cuts_count(s: Sequence, size: u32) -> bool { return s.top_k > 0u && s.top_k < size; }

fn cuts_mass(s: Sequence) -> bool { return s.top_p < 1.0; }

fn survey_for(s: Sequence, size: u32, blocks: u32) -> u32 {
    let few = s.top_k > 0u && s.top_k <= MAX_FEW && s.top_k < blocks;
    if (s.temperature <= 0.0 || few) {
        return NOTHING;
    }
    return select(DRAW, HISTOGRAM, cuts_count(s, size) || cuts_mass(s));
}
