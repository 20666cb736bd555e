// The input of a linear behind an RMSNorm: x already holds residual * gain, and 1 / sqrt(mean(residual^2) + eps) is
// applied to the dot product.
//
//   parts   partial sums of squares of the residual, f32 [rows, n_parts]

struct Norm {
    n_parts: u32,
    width: f32,  // values in a row of the residual
    eps: f32,
}

@group(0) @binding(3) var<storage, read> parts: array<f32>;
@group(0) @binding(4) var<uniform> norm: Norm;

fn input_row(m: u32) -> u32 {
    return m;
}

fn input_scale(row: u32) -> f32 {
    var sum = 0.0;
    let n_parts = min(norm.n_parts, arrayLength(&parts));  // as groups_of_k: no bound may hang on a uniform alone
    for (var i = 0u; i < n_parts; i++) {
        sum += parts[row * norm.n_parts + i];
    }
    return inverseSqrt(sum / norm.width + norm.eps);
}
