// Values from bytes of 0 to 127, which a type's packed32 gives.

// include: quant/packed.wgsl

fn four_unsigned(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}

fn unpacked(p: Packed) -> array<vec4<f32>, 8> {
    let d0 = vec4<f32>(p.d.x);
    let d1 = vec4<f32>(p.d.y);
    let m0 = vec4<f32>(p.m.x);
    let m1 = vec4<f32>(p.m.y);
    return array<vec4<f32>, 8>(
        fma(d0, four_unsigned(p.a.x), m0), fma(d0, four_unsigned(p.a.y), m0),
        fma(d0, four_unsigned(p.a.z), m0), fma(d0, four_unsigned(p.a.w), m0),
        fma(d1, four_unsigned(p.b.x), m1), fma(d1, four_unsigned(p.b.y), m1),
        fma(d1, four_unsigned(p.b.z), m1), fma(d1, four_unsigned(p.b.w), m1));
}
