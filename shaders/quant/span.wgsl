// A type whose groups of 32 values share words, SPAN groups at a time. A kernel that goes from group to group loads them once
// for all (span_of), and makes each group of them (weights32_of); others ask for one group alone.

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    return weights32_of(span_of(group - group % SPAN, planes), group % SPAN);
}

// The word at place i of four.
fn one_of(words: vec4<u32>, i: u32) -> u32 {
    let pair = select(words.xy, words.zw, i >= 2u);
    return select(pair.x, pair.y, (i & 1u) == 1u);
}
