// activation(gate) * up, where this dispatch computes up and the gate stands in y already.
//
//   y   f32 [rows, stride], the gate before, the product after

// include: epilogue/no_tally.wgsl
// include: activation.wgsl

struct Up {
    width: u32,
    stride: u32,
}

@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<uniform> out: Up;

fn pair_rows(pair: u32) -> vec2<u32> {
    return vec2<u32>(2u * pair, 2u * pair + 1u);
}

fn multiply(index: u32, up: f32) {
    y[index] = silu(y[index]) * up;
}

fn store(m: u32, pair: u32, value: vec2<f32>) -> Tally {
    multiply(m * out.stride + 2u * pair, value.x);
    if (2u * pair + 1u < out.width) {
        multiply(m * out.stride + 2u * pair + 1u, value.y);
    }
    return tally_none();
}
