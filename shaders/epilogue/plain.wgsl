// The linear's output as it is: the gate, where gate and up are stored in different types.
//
//   y   f32 [rows, stride]

// include: epilogue/no_tally.wgsl

struct Plain {
    width: u32,
    stride: u32,
}

@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<uniform> out: Plain;

fn pair_rows(pair: u32) -> vec2<u32> {
    return vec2<u32>(2u * pair, 2u * pair + 1u);
}

fn store(m: u32, pair: u32, value: vec2<f32>) -> Tally {
    y[m * out.stride + 2u * pair] = value.x;
    if (2u * pair + 1u < out.width) {
        y[m * out.stride + 2u * pair + 1u] = value.y;
    }
    return tally_none();
}
