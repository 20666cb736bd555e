// Q8_0: value = d * q, q a signed byte. Planes: scales, 1 f16 d a block of 32; quants, 32 bytes.

// include: quant/halves.wgsl
// include: quant/packed.wgsl
// include: quant/alone.wgsl

fn four_bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let d = half(planes.x, group);
    let a = W[planes.y + group * 2u];
    let b = W[planes.y + group * 2u + 1u];
    return array<vec4<f32>, 8>(
        d * four_bytes(a.x), d * four_bytes(a.y), d * four_bytes(a.z), d * four_bytes(a.w),
        d * four_bytes(b.x), d * four_bytes(b.y), d * four_bytes(b.z), d * four_bytes(b.w));
}

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let d = vec2<f32>(half(planes.x, group));
    return Packed(W[planes.y + group * 2u], W[planes.y + group * 2u + 1u], d, vec2<f32>(0.0));
}
