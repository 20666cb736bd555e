// The best of a workgroup's lanes: the higher score, of equals the lower token. Needs WORKGROUP, which is a power
// of two from 16 to 256.

struct Best { score: f32, token: u32 }

var<workgroup> lanes_best: array<Best, WORKGROUP>;
var<workgroup> shared_best: Best;

fn better(a: Best, b: Best) -> bool {
    return a.score > b.score || (a.score == b.score && a.token < b.token);
}

fn best_of_lanes(own: Best, lane: u32) -> Best {
    lanes_best[lane] = own;
    workgroupBarrier();
    var best = own;
    if (lane < 16u) {
        for (var i = lane + 16u; i < WORKGROUP; i += 16u) {
            if (better(lanes_best[i], best)) { best = lanes_best[i]; }
        }
        lanes_best[lane] = best;
    }
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < 16u; i++) {
            if (better(lanes_best[i], best)) { best = lanes_best[i]; }
        }
        shared_best = best;
    }
    return workgroupUniformLoad(&shared_best);
}
