// y = W x for the many rows of a prefill: a workgroup makes 8 * LANE_PAIRS pairs of weight rows x 32 rows of x.
//
//   W   weight planes of one type (quant/<type>.wgsl gives weights32), [N, K]
//   x   input, f32 [rows, x_stride * 4], K values a row, padded to whole groups of 32
//
// The lanes unpack a group of 32 weights of each row and fetch 32 values of each row of x, both to workgroup memory; then
// each of 8 x 8 lanes makes LANE_PAIRS pairs x 4 rows. A sum is made in the same order for any LANE_PAIRS. Needs no feature;
// 64 lanes, rows in whole tiles of 32.

// include: linear.wgsl
// include: <quant>
// include: <input>
// include: <epilogue>

const LANE_PAIRS: u32 = 2u;  // parameter: pairs of weight rows that a lane makes, 2 or 4
const TILE_PAIRS: u32 = 8u * LANE_PAIRS;
const TILE_ROWS: u32 = 32u;
const W_ROWS: u32 = 2u * TILE_PAIRS;
const SUMS: u32 = 2u * LANE_PAIRS;

var<workgroup> w_tile: array<vec4<f32>, 8u * W_ROWS>;  // [8 quads of K, pairs x 2]
var<workgroup> x_tile: array<vec4<f32>, 256>;          // [8 quads of K, 32 rows]
var<workgroup> scales: array<f32, 32>;                 // [32 rows]
var<workgroup> tallies: array<Tally, 256>;             // [32 rows, 8 lanes]

fn fetch_weights(tile: u32, w_row: u32, g: u32) {
    let pair = rows_of_pair(tile * TILE_PAIRS + w_row / 2u);
    var w = weights32(select(pair.x, pair.y, w_row % 2u == 1u) * linear.groups + g, linear.planes);
    for (var i = 0u; i < 8u; i++) {
        w_tile[i * W_ROWS + w_row] = w[i];
    }
}

// `quads` quads of a row of x, from `first` on.
fn fetch_input(first_row: u32, row: u32, g: u32, first: u32, quads: u32) {
    let start = input_row(first_row + row) * linear.x_stride + g * 8u;
    for (var i = first; i < first + quads; i++) {
        x_tile[i * 32u + row] = x[start + i];
    }
}

fn fetch(tile: u32, first_row: u32, lane: u32, g: u32) {
    if (LANE_PAIRS == 4u) {
        fetch_weights(tile, lane, g);
        fetch_input(first_row, lane % 32u, g, lane / 32u * 4u, 4u);
    } else if (lane < 32u) {
        fetch_weights(tile, lane, g);
    } else {
        fetch_input(first_row, lane - 32u, g, 0u, 8u);
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) lane: u32
) {
    let column = lane % 8u;  // LANE_PAIRS pairs: column, column + 8, ...
    let line = lane / 8u;    // 4 rows: line, line + 8, ...
    let tile = linear.first_group + workgroup.x;
    let first_row = workgroup.y * TILE_ROWS;

    if (lane < TILE_ROWS) {
        scales[lane] = linear.scale * input_scale(input_row(first_row + lane));
    }
    var sums: array<vec4<f32>, SUMS>;  // per row (pair 0, pair 1), then (pair 2, pair 3)
    for (var i = 0u; i < SUMS; i++) {
        sums[i] = vec4<f32>(0.0);
    }
    let groups = groups_of_k();
    for (var g = 0u; g < groups; g++) {
        fetch(tile, first_row, lane, g);
        workgroupBarrier();
        for (var i = 0u; i < 8u; i++) {
            for (var p = 0u; p < LANE_PAIRS; p += 2u) {
                let first = i * W_ROWS + p * 16u + column * 2u;
                let w0 = w_tile[first];
                let w1 = w_tile[first + 1u];
                let w2 = w_tile[first + 16u];
                let w3 = w_tile[first + 17u];
                for (var r = 0u; r < 4u; r++) {
                    let v = x_tile[i * 32u + r * 8u + line];
                    sums[p * 2u + r] += vec4<f32>(dot(w0, v), dot(w1, v), dot(w2, v), dot(w3, v));
                }
            }
        }
        workgroupBarrier();
    }

    for (var r = 0u; r < 4u; r++) {
        let m = first_row + r * 8u + line;
        let scale = scales[r * 8u + line];
        var tally = tally_none();
        for (var p = 0u; p < LANE_PAIRS; p++) {
            let pair = tile * TILE_PAIRS + p * 8u + column;
            if (pair < linear.end_pair) {
                let both = sums[p / 2u * 4u + r] * scale;
                let y = select(both.xy, both.zw, p % 2u == 1u) + biases(rows_of_pair(pair));
                tally = tally_join(tally, store(m, pair, y));
            }
        }
        if (HAS_TALLY) {
            tallies[(r * 8u + line) * 8u + column] = tally;
        }
    }
    if (HAS_TALLY) {
        workgroupBarrier();
        if (lane < TILE_ROWS) {
            var tally = tallies[lane * 8u];
            for (var i = 1u; i < 8u; i++) {
                tally = tally_join(tally, tallies[lane * 8u + i]);
            }
            tally_write(first_row + lane, tile, (linear.all_pairs + TILE_PAIRS - 1u) / TILE_PAIRS, tally);
        }
    }
}
