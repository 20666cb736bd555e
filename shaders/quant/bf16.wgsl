// BF16: the upper half of an f32. Planes: values, 1 bf16 a block of one value.

// include: quant/alone.wgsl

fn four_brains(low: u32, high: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(low << 16u, low & 0xffff0000u, high << 16u, high & 0xffff0000u));
}

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let first = planes.x + group * 4u;
    let a = W[first];
    let b = W[first + 1u];
    let c = W[first + 2u];
    let d = W[first + 3u];
    return array<vec4<f32>, 8>(
        four_brains(a.x, a.y), four_brains(a.z, a.w), four_brains(b.x, b.y), four_brains(b.z, b.w),
        four_brains(c.x, c.y), four_brains(c.z, c.w), four_brains(d.x, d.y), four_brains(d.z, d.w));
}
