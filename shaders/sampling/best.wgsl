// The best of a workgroup's lanes: the higher score, of equals the lower token. And a sum over them, in an order that is the
// same each time. Needs WORKGROUP, which is a power of two from 8 to 256, and `rolled`.

struct Best { score: f32, token: u32, sum: f32 }

var<workgroup> lanes_best: array<Best, WORKGROUP>;
var<workgroup> shared_best: Best;

fn better(a: Best, b: Best) -> bool {
    return a.score > b.score || (a.score == b.score && a.token < b.token);
}

fn joined(a: Best, b: Best) -> Best {
    let b_first = better(b, a);
    return Best(select(a.score, b.score, b_first), select(a.token, b.token, b_first), a.sum + b.sum);
}

fn best_of_lanes(own: Best, lane: u32) -> Best {
    lanes_best[lane] = own;
    workgroupBarrier();
    if (lane < 8u) {
        var best = own;
        for (var i = lane + 8u; i < WORKGROUP; i += 8u) { best = joined(best, lanes_best[i]); }
        lanes_best[lane] = best;
    }
    workgroupBarrier();
    if (lane == 0u) {
        var best = lanes_best[0];
        for (var i = 1u; i < rolled(8u); i++) { best = joined(best, lanes_best[i]); }
        shared_best = best;
    }
    return workgroupUniformLoad(&shared_best);
}
