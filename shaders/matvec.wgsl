// y = W x for the few rows of a decode step: each weight is read once for all of them.
//
//   W   weight planes of one type (quant/<type>.wgsl gives weights32), [N, K]
//   x   input, f32 [rows, x_stride * 4], K values a row, padded to whole groups of 32
//
// TEAM lanes share a pair of weight rows and add up their parts in lane order; the epilogue says which rows make a pair and
// what becomes of their two values. With TEAM = 1 there is no barrier, which is what an adapter on a CPU wants.
// A row's sum is made in the same order for every M. Needs no feature.

// include: linear.wgsl
// include: <quant>
// include: <input>
// include: <epilogue>

const M: u32 = 1u;           // parameter: rows of the step
const TEAM: u32 = 1u;        // parameter: lanes a pair
const WORKGROUP: u32 = 64u;  // parameter: lanes
const PAIRS: u32 = WORKGROUP / TEAM;

var<workgroup> shared_sums: array<vec2<f32>, WORKGROUP * M>;
var<workgroup> tallies: array<Tally, PAIRS * M>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) lane: u32
) {
    let team = lane / TEAM;
    let member = lane % TEAM;
    let tile = linear.first_group + workgroup.x;
    let pair = tile * PAIRS + team;
    let w_rows = rows_of_pair(pair);

    var sums: array<vec2<f32>, M>;
    for (var m = 0u; m < M; m++) {
        sums[m] = vec2<f32>(0.0);
    }
    let groups = groups_of_k();
    for (var g = member; g < groups; g += TEAM) {
        var a = weights32(w_rows.x * linear.groups + g, linear.planes);
        var b = weights32(w_rows.y * linear.groups + g, linear.planes);
        for (var m = 0u; m < M; m++) {
            let first = input_row(m) * linear.x_stride + g * 8u;
            var sum = vec2<f32>(0.0);  // of the group alone: what is rounded off a long sum is more
            for (var i = 0u; i < 8u; i++) {
                let v = x[first + i];
                sum += vec2<f32>(dot(a[i], v), dot(b[i], v));
            }
            sums[m] += sum;
        }
    }

    if (TEAM > 1u) {
        for (var m = 0u; m < M; m++) {
            shared_sums[m * WORKGROUP + lane] = sums[m];
        }
        workgroupBarrier();
        if (member == 0u) {
            for (var m = 0u; m < M; m++) {
                for (var i = 1u; i < TEAM; i++) {
                    sums[m] += shared_sums[m * WORKGROUP + lane + i];
                }
            }
        }
    }

    if (member == 0u) {
        for (var m = 0u; m < M; m++) {
            var tally = tally_none();
            if (pair < linear.end_pair) {
                tally = store(m, pair, sums[m] * (linear.scale * input_scale(input_row(m))) + biases(w_rows));
            }
            if (HAS_TALLY) {
                tallies[m * PAIRS + team] = tally;
            }
        }
    }
    if (HAS_TALLY) {
        workgroupBarrier();
        if (lane < M) {
            var tally = tallies[lane * PAIRS];
            for (var i = 1u; i < PAIRS; i++) {
                tally = tally_join(tally, tallies[lane * PAIRS + i]);
            }
            tally_write(lane, tile, (linear.all_pairs + PAIRS - 1u) / PAIRS, tally);
        }
    }
}
