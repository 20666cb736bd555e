// y = W x for the many rows of a prefill: a workgroup makes 16 pairs of weight rows x 32 rows of x.
//
//   W   weight planes of one type (quant/<type>.wgsl gives weights32), [N, K]
//   x   input, f32 [rows, x_stride * 4], K values a row, padded to whole groups of 32
//
// Half of the lanes unpack a group of 32 weights each, the other half fetch 32 values of a row of x, both to workgroup
// memory; then each of 8 x 8 lanes makes 2 pairs x 4 rows. Needs no feature; 64 lanes, rows in whole tiles of 32.

// include: linear.wgsl
// include: <quant>
// include: <input>
// include: <epilogue>

const TILE_PAIRS: u32 = 16u;
const TILE_ROWS: u32 = 32u;

var<workgroup> w_tile: array<vec4<f32>, 256>;  // [8 quads of K, 16 pairs x 2]
var<workgroup> x_tile: array<vec4<f32>, 256>;  // [8 quads of K, 32 rows]
var<workgroup> scales: array<f32, 32>;         // [32 rows]
var<workgroup> tallies: array<Tally, 256>;     // [32 rows, 8 lanes]

fn fetch(tile: u32, first_row: u32, lane: u32, g: u32) {
    if (lane < 32u) {
        let pair = rows_of_pair(tile * TILE_PAIRS + lane / 2u);
        var w = weights32(select(pair.x, pair.y, lane % 2u == 1u) * linear.groups + g, linear.planes);
        for (var i = 0u; i < 8u; i++) {
            w_tile[i * 32u + lane] = w[i];
        }
    } else {
        let row = input_row(first_row + lane - 32u);
        for (var i = 0u; i < 8u; i++) {
            x_tile[i * 32u + lane - 32u] = x[row * linear.x_stride + g * 8u + i];
        }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) lane: u32
) {
    let column = lane % 8u;  // 2 pairs: column and column + 8
    let line = lane / 8u;    // 4 rows: line, line + 8, ...
    let tile = linear.first_group + workgroup.x;
    let first_row = workgroup.y * TILE_ROWS;

    if (lane < TILE_ROWS) {
        scales[lane] = linear.scale * input_scale(input_row(first_row + lane));
    }
    var sums: array<vec4<f32>, 4>;  // per row (pair 0, pair 1)
    for (var r = 0u; r < 4u; r++) {
        sums[r] = vec4<f32>(0.0);
    }
    let groups = groups_of_k();
    for (var g = 0u; g < groups; g++) {
        fetch(tile, first_row, lane, g);
        workgroupBarrier();
        for (var i = 0u; i < 8u; i++) {
            let w0 = w_tile[i * 32u + column * 2u];
            let w1 = w_tile[i * 32u + column * 2u + 1u];
            let w2 = w_tile[i * 32u + column * 2u + 16u];
            let w3 = w_tile[i * 32u + column * 2u + 17u];
            for (var r = 0u; r < 4u; r++) {
                let v = x_tile[i * 32u + r * 8u + line];
                sums[r] += vec4<f32>(dot(w0, v), dot(w1, v), dot(w2, v), dot(w3, v));
            }
        }
        workgroupBarrier();
    }

    for (var r = 0u; r < 4u; r++) {
        let m = first_row + r * 8u + line;
        let scaled = sums[r] * scales[r * 8u + line];
        var tally = tally_none();
        for (var p = 0u; p < 2u; p++) {
            let pair = tile * TILE_PAIRS + p * 8u + column;
            if (pair < linear.end_pair) {
                let y = select(scaled.xy, scaled.zw, p == 1u) + biases(rows_of_pair(pair));
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
