// activation(gate) * up, where the weight's first half is the gate's rows and its second half up's.
//
//   y   f32 [rows, stride]

// include: epilogue/no_tally.wgsl
// include: activation.wgsl

struct Gated {
    width: u32,
    stride: u32,
}

@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<uniform> out: Gated;

fn pair_rows(pair: u32) -> vec2<u32> {
    return vec2<u32>(pair, linear.n_rows / 2u + pair);
}

fn store(m: u32, pair: u32, value: vec2<f32>) -> Tally {
    y[m * out.stride + pair] = silu(value.x) * value.y;
    return tally_none();
}
