// What the output head's workgroups left of a row, summed up: its maximum, and the sum of exponentials below it.
//
// Lane and order of every term are fixed, so that the sum is the same each time. Needs `stats`, `vocab` and WORKGROUP.

var<workgroup> shared_row_sum: f32;

fn row_maximum(output: u32, lane: u32) -> Best {
    var best = Best(-3.4e38, ALL);
    for (var i = lane; i < vocab.blocks; i += WORKGROUP) {
        let s = stats[output * vocab.blocks + i];
        let block = Best(s.x, bitcast<u32>(s.z));
        if (better(block, best)) { best = block; }
    }
    return best_of_lanes(best, lane);
}

fn row_sum(output: u32, maximum: f32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var i = lane; i < vocab.blocks; i += WORKGROUP) {
        let s = stats[output * vocab.blocks + i];
        sum += s.y * exponential(s.x - maximum);
    }
    lanes_best[lane].score = sum;
    workgroupBarrier();
    if (lane < 16u) {
        for (var i = lane + 16u; i < WORKGROUP; i += 16u) { sum += lanes_best[i].score; }
        lanes_best[lane].score = sum;
    }
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < 16u; i++) { sum += lanes_best[i].score; }
        shared_row_sum = sum;
    }
    return workgroupUniformLoad(&shared_row_sum);
}
