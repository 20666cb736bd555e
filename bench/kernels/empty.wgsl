// A dispatch that does next to nothing, and has to wait for the one before it: what a dispatch costs by itself.
//
//   values   f32; the first one is read and written

@group(0) @binding(0) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(1)
fn main() {
    values[0] = values[0] + 1.0;
}
