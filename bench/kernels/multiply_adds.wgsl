// What an adapter multiplies and adds at most, in f32: eight sums a lane that do not wait for each other, all in registers.
//
//   values   one number a lane, f32, read at the start and written at the end
//
// The number of rounds comes from the buffer, so that no compiler can tell the sums beforehand.

@group(0) @binding(0) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = min(id.x, arrayLength(&values) - 1u);
    let factor = values[lane] * 0.5;
    let term = values[lane] * 0.25;
    var a = vec4<f32>(0.0, 0.1, 0.2, 0.3);
    var b = vec4<f32>(0.4, 0.5, 0.6, 0.7);
    let f = vec4<f32>(factor);
    let t = vec4<f32>(term);
    let rounds = min(512u, arrayLength(&values));
    for (var i = 0u; i < rounds; i++) {
        a = fma(a, f, t);
        b = fma(b, f, t);
        a = fma(a, f, t);
        b = fma(b, f, t);
        a = fma(a, f, t);
        b = fma(b, f, t);
        a = fma(a, f, t);
        b = fma(b, f, t);
        a = fma(a, f, t);
        b = fma(b, f, t);
        a = fma(a, f, t);
        b = fma(b, f, t);
        a = fma(a, f, t);
        b = fma(b, f, t);
        a = fma(a, f, t);
        b = fma(b, f, t);
    }
    values[lane] = dot(a, b);  // 1 again: the sums run to 1 / 2
}
