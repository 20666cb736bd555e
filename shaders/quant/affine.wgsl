// 32 values that are affine in unsigned bytes: value = d * byte + m, one d and m for each 16.

fn four_unsigned(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}

fn affine(a: vec4<u32>, b: vec4<u32>, d: vec2<f32>, m: vec2<f32>) -> array<vec4<f32>, 8> {
    let d0 = vec4<f32>(d.x);
    let d1 = vec4<f32>(d.y);
    let m0 = vec4<f32>(m.x);
    let m1 = vec4<f32>(m.y);
    return array<vec4<f32>, 8>(
        fma(d0, four_unsigned(a.x), m0), fma(d0, four_unsigned(a.y), m0),
        fma(d0, four_unsigned(a.z), m0), fma(d0, four_unsigned(a.w), m0),
        fma(d1, four_unsigned(b.x), m1), fma(d1, four_unsigned(b.y), m1),
        fma(d1, four_unsigned(b.z), m1), fma(d1, four_unsigned(b.w), m1));
}
