// The survey's bins, added up over its stretches. Needs `survey`, `vocab`, WORKGROUP and `rolled`.

// Amounts of four bins.
struct Four { low: vec4<u32>, high: vec4<u32> }

// What the survey found in bins 4 * four to 4 * four + 3 of a stretch: numbers of tokens, or probabilities. 0 from `end` on.
fn surveyed(stretch: u32, four: u32, end: u32, by_mass: bool) -> Four {
    let place = stretch * (3u * BINS / 4u) + four;
    let none = vec4<u32>(0u);
    let counts = vec4<u32>(4u * four) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end);
    if (by_mass) {
        return Four(select(none, survey[place + BINS / 4u], counts), select(none, survey[place + BINS / 2u], counts));
    }
    return Four(select(none, survey[place], counts), none);
}

// Puts the amounts of the bins before `end` into places, as masses: all of them by fours, or those of one four.
fn add_fours(output: u32, end: u32, by_mass: bool, lane: u32) {
    let first = output * vocab.stretches;
    let stretches = rolled(vocab.stretches);
    for (var four = lane; four < BINS / 4u; four += WORKGROUP) {
        var sum = vec2<u32>(0u);
        for (var i = 0u; i < stretches; i++) {
            let amounts = surveyed(first + i, four, end, by_mass);
            for (var j = 0u; j < rolled(4u); j++) { sum = add_fixed(sum, vec2<u32>(amounts.low[j], amounts.high[j])); }
        }
        set_mass(four, sum);
    }
}

fn add_bins(output: u32, four: u32, end: u32, by_mass: bool, lane: u32) {
    for (var i = lane; i < vocab.stretches; i += WORKGROUP) {
        let amounts = surveyed(output * vocab.stretches + i, four, end, by_mass);
        for (var j = 0u; j < rolled(4u); j++) { add_mass(j, vec2<u32>(amounts.low[j], amounts.high[j])); }
    }
}

// The best draw of a lane's stretches, where the survey drew.
fn surveyed_draw(output: u32, lane: u32) -> Best {
    var best = Best(-3.4e38, ALL, 0.0);
    for (var i = lane; i < vocab.stretches; i += WORKGROUP) {
        let found = survey[(output * vocab.stretches + i) * (3u * BINS / 4u)];
        best = joined(best, Best(bitcast<f32>(found.x), found.y, 0.0));
    }
    return best;
}
