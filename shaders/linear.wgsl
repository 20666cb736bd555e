// What every linear binds: its weight, its input, and where the parts of the weight lie.

struct Linear {
    planes: vec4<u32>,  // where the planes of W start, in vec4
    bias: u32,          // where the bias starts, in vec4; 0: none
    groups: u32,        // K / 32, rounded up
    first_pair: u32,    // the first pair of rows that W has: it may be a part of a larger weight
    end_pair: u32,      // behind its last
    all_pairs: u32,     // pairs of all parts
    n_rows: u32,        // rows of W
    x_stride: u32,      // vec4 a row of x
    first_group: u32,   // workgroups that other dispatches of the same linear make before this one
    scale: f32,         // what W x is multiplied by
}

@group(0) @binding(0) var<storage, read> W: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> linear: Linear;

// Groups of 32 that a row of W has. Asking the buffer of x as well keeps lavapipe from compiling the kernel anew for each
// weight: loops and branches that hang on uniforms alone make it do that.
fn groups_of_k() -> u32 {
    return min(linear.groups, arrayLength(&x) / 8u);
}

// The rows of W that make a pair, where the epilogue says which they are.
fn rows_of_pair(pair: u32) -> vec2<u32> {
    return min(pair_rows(min(pair, linear.end_pair - 1u) - linear.first_pair), vec2<u32>(linear.n_rows - 1u));
}

// Biases are f32 behind the planes of W.
fn bias_of(row: u32) -> f32 {
    return bitcast<f32>(W[linear.bias + row / 4u][row % 4u]);
}

fn biases(w_rows: vec2<u32>) -> vec2<f32> {
    return select(vec2<f32>(0.0), vec2<f32>(bias_of(w_rows.x), bias_of(w_rows.y)), linear.bias != 0u);
}
