// y = W x for the many rows of a prefill, on adapters whose subgroups have 8 lanes and where a register is far nearer than
// memory (CPUs): 3 times as fast as matmul_tile.wgsl on lavapipe.
//
//   W   weight planes of one type (quant/<type>.wgsl gives weights32), [N, K]
//   x   input, f32 [rows, x_stride * 4], K values a row, padded to whole groups of 32
//
// A workgroup is one subgroup. Each lane keeps one row of x and one pair of weight rows; every lane's x is broadcast to
// all. Needs the feature subgroups with subgroups of exactly 8; rows in whole tiles of 8.

// include: linear.wgsl
// include: <quant>
// include: <input>
// include: <epilogue>

const TILE_PAIRS: u32 = 8u;
const TILE_ROWS: u32 = 8u;

var<workgroup> scales: array<f32, 8>;      // [8 rows]
var<workgroup> tallies: array<Tally, 64>;  // [8 rows, 8 lanes]

fn products(a: vec4<f32>, b: vec4<f32>, v: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(dot(a, v), dot(b, v));
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32
) {
    let tile = linear.first_group + workgroup.x;
    let pair = tile * TILE_PAIRS + lane;
    let w_rows = rows_of_pair(pair);
    let own_row = input_row(workgroup.y * TILE_ROWS + lane);
    let x_row = own_row * linear.x_stride;
    scales[lane] = linear.scale * input_scale(own_row);
    workgroupBarrier();

    var sums: array<vec2<f32>, 8>;
    for (var r = 0u; r < 8u; r++) {
        sums[r] = vec2<f32>(0.0);
    }
    let groups = groups_of_k();
    for (var g = 0u; g < groups; g++) {
        var a = weights32(w_rows.x * linear.groups + g, linear.planes);
        var b = weights32(w_rows.y * linear.groups + g, linear.planes);
        for (var i = 0u; i < 8u; i++) {
            let v = x[x_row + g * 8u + i];
            sums[0] += products(a[i], b[i], subgroupBroadcast(v, 0u));
            sums[1] += products(a[i], b[i], subgroupBroadcast(v, 1u));
            sums[2] += products(a[i], b[i], subgroupBroadcast(v, 2u));
            sums[3] += products(a[i], b[i], subgroupBroadcast(v, 3u));
            sums[4] += products(a[i], b[i], subgroupBroadcast(v, 4u));
            sums[5] += products(a[i], b[i], subgroupBroadcast(v, 5u));
            sums[6] += products(a[i], b[i], subgroupBroadcast(v, 6u));
            sums[7] += products(a[i], b[i], subgroupBroadcast(v, 7u));
        }
    }

    for (var r = 0u; r < 8u; r++) {
        let m = workgroup.y * TILE_ROWS + r;
        var tally = tally_none();
        if (pair < linear.end_pair) {
            tally = store(m, pair, sums[r] * scales[r] + biases(w_rows));
        }
        if (HAS_TALLY) {
            tallies[r * 8u + lane] = tally;
        }
    }
    if (HAS_TALLY) {
        workgroupBarrier();
        var tally = tallies[lane * 8u];
        for (var i = 1u; i < 8u; i++) {
            tally = tally_join(tally, tallies[lane * 8u + i]);
        }
        let tiles = (linear.all_pairs + TILE_PAIRS - 1u) / TILE_PAIRS;
        tally_write(workgroup.y * TILE_ROWS + lane, tile, tiles, tally);
    }
}
