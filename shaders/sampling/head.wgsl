// What the output head's workgroups left of a row: its maximum with its token, and the sum of exponentials below it, of
// which each lane has a part. Needs `stats`, `vocab` and WORKGROUP.

fn row_maximum(output: u32, lane: u32) -> Best {
    var best = Best(-3.4e38, ALL, 0.0);
    for (var i = lane; i < vocab.blocks; i += WORKGROUP) {
        let s = stats[output * vocab.blocks + i];
        best = joined(best, Best(s.x, bitcast<u32>(s.z), 0.0));
    }
    return best_of_lanes(best, lane);
}

fn part_of_row_sum(output: u32, maximum: f32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var i = lane; i < vocab.blocks; i += WORKGROUP) {
        let s = stats[output * vocab.blocks + i];
        sum += s.y * exponential(s.x - maximum);
    }
    return sum;
}
