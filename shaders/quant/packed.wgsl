// 32 values that are affine in bytes: value = d * byte + m, one d and m for each 16.

struct Packed {
    a: vec4<u32>,  // bytes of the first 16 values, at most 127
    b: vec4<u32>,  // and of the others
    d: vec2<f32>,
    m: vec2<f32>,
}
