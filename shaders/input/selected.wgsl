// As input/normed.wgsl, but output m is made from row rows[m].w: after a prefill only the last row goes on to logits.
//
//   parts   partial sums of squares of the residual, f32 [rows, n_parts]
//   rows    the step's rows (slot, position, done, output row)

struct Norm {
    n_parts: u32,
    width: f32,  // values in a row of the residual
    eps: f32,
}

@group(0) @binding(3) var<storage, read> parts: array<f32>;
@group(0) @binding(4) var<uniform> norm: Norm;
@group(0) @binding(5) var<storage, read> rows: array<vec4<u32>>;

fn input_row(m: u32) -> u32 {
    return rows[m].w;
}

fn input_scale(row: u32) -> f32 {
    var sum = 0.0;
    let n_parts = min(norm.n_parts, arrayLength(&parts));  // as groups_of_k: no bound may hang on a uniform alone
    for (var i = 0u; i < n_parts; i++) {
        sum += parts[row * norm.n_parts + i];
    }
    return inverseSqrt(sum / norm.width + norm.eps);
}
