// y = W x for the many rows of a prefill, by products of bytes: a workgroup makes 32 pairs of weight rows x 32 rows of x.
// This is fast arithmetic: x is rounded to signed bytes, 16 values to a scale.
//
//   W   weight planes of one type whose values are affine in bytes (quant/<type>.wgsl gives packed32), [N, K]
//   x   input, f32 [rows, x_stride * 4], K values a row, padded to whole groups of 32
//
// Each of 64 lanes unpacks 32 weights and rounds 16 values of a row of x, both to workgroup memory; then each of 8 x 8 lanes
// makes 4 pairs x 4 rows. Sums of 16 products are exact, what scales them is f32. The least of a type's values is not 0 but
// m, which is multiplied by the sum of the rounded x, so that the error is that of x and no larger. What is no number may
// become one. Needs the language feature packed_4x8_integer_dot_product; rows in whole tiles of 32.

// include: linear.wgsl
// include: <quant>
// include: <input>
// include: <epilogue>

const TILE_PAIRS: u32 = 32u;
const TILE_ROWS: u32 = 32u;

var<workgroup> w_bytes: array<vec4<u32>, 128>;   // [2 halves of a group, 32 pairs x 2]
var<workgroup> w_scales: array<vec4<f32>, 64>;   // (d of both halves, m of both halves) [32 pairs x 2]
var<workgroup> x_bytes: array<vec4<u32>, 64>;    // [2 halves, 32 rows]
var<workgroup> x_scales: array<vec2<f32>, 64>;   // (scale, sum of the rounded values) [2 halves, 32 rows]
var<workgroup> row_scales: array<f32, 32>;       // [32 rows]
var<workgroup> tallies: array<Tally, 256>;       // [32 rows, 8 lanes]

fn fetch_weights(pair: vec2<u32>, lane: u32, g: u32) {
    let w = packed32(select(pair.x, pair.y, lane % 2u == 1u) * linear.groups + g, linear.planes);
    w_bytes[lane] = w.a;
    w_bytes[64u + lane] = w.b;
    w_scales[lane] = vec4<f32>(w.d, w.m);
}

fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}

// 16 values of x from the vec4 at `first` on: lanes 0 to 31 take the first half of a row's group, the others the second.
fn fetch_input(first: u32, lane: u32) {
    let a = x[first];
    let b = x[first + 1u];
    let c = x[first + 2u];
    let d = x[first + 3u];
    let most = max(max(largest(a), largest(b)), max(largest(c), largest(d)));
    let to_bytes = select(0.0, 127.0 / most, most > 0.0);
    let bytes = vec4<u32>(
        pack4xI8(vec4<i32>(round(a * to_bytes))), pack4xI8(vec4<i32>(round(b * to_bytes))),
        pack4xI8(vec4<i32>(round(c * to_bytes))), pack4xI8(vec4<i32>(round(d * to_bytes))));
    let scale = most / 127.0;
    x_bytes[lane] = bytes;
    x_scales[lane] = vec2<f32>(scale, scale * f32(dot16(bytes, vec4<u32>(0x01010101u))));
}

fn dot16(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) lane: u32
) {
    let column = lane % 8u;  // 4 pairs: column, column + 8, ...
    let line = lane / 8u;    // 4 rows: line, line + 8, ...
    let tile = linear.first_group + workgroup.x;
    let first_row = workgroup.y * TILE_ROWS;
    let own_pair = rows_of_pair(tile * TILE_PAIRS + lane / 2u);
    let own_x = input_row(first_row + lane % 32u) * linear.x_stride + lane / 32u * 4u;

    if (lane < TILE_ROWS) {
        row_scales[lane] = linear.scale * input_scale(input_row(first_row + lane));
    }
    var sums: array<vec4<f32>, 8>;  // per row (pair 0, pair 1), then (pair 2, pair 3)
    for (var i = 0u; i < 8u; i++) {
        sums[i] = vec4<f32>(0.0);
    }
    let groups = groups_of_k();
    for (var g = 0u; g < groups; g++) {
        fetch_weights(own_pair, lane, g);
        fetch_input(own_x + g * 8u, lane);
        workgroupBarrier();
        for (var half = 0u; half < 2u; half++) {
            for (var p = 0u; p < 4u; p += 2u) {
                let w = p * 16u + column * 2u;
                let w0 = w_bytes[half * 64u + w];
                let w1 = w_bytes[half * 64u + w + 1u];
                let w2 = w_bytes[half * 64u + w + 16u];
                let w3 = w_bytes[half * 64u + w + 17u];
                let d = vec4<f32>(
                    w_scales[w][half], w_scales[w + 1u][half], w_scales[w + 16u][half], w_scales[w + 17u][half]);
                let m = vec4<f32>(
                    w_scales[w][half + 2u], w_scales[w + 1u][half + 2u],
                    w_scales[w + 16u][half + 2u], w_scales[w + 17u][half + 2u]);
                for (var r = 0u; r < 4u; r++) {
                    let v = x_bytes[half * 32u + r * 8u + line];
                    let scale = x_scales[half * 32u + r * 8u + line];
                    let products = vec4<f32>(vec4<i32>(dot16(w0, v), dot16(w1, v), dot16(w2, v), dot16(w3, v)));
                    sums[p * 2u + r] += scale.x * d * products + scale.y * m;
                }
            }
        }
        workgroupBarrier();
    }

    for (var r = 0u; r < 4u; r++) {
        let m = first_row + r * 8u + line;
        let scale = row_scales[r * 8u + line];
        var tally = tally_none();
        for (var p = 0u; p < 4u; p++) {
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
