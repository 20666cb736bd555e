// F16: IEEE half precision. Planes: values, 1 f16 a block of one value.

// include: quant/alone.wgsl

fn four_halves(low: u32, high: u32) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(low), unpack2x16float(high));
}

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let first = planes.x + group * 4u;
    let a = W[first];
    let b = W[first + 1u];
    let c = W[first + 2u];
    let d = W[first + 3u];
    return array<vec4<f32>, 8>(
        four_halves(a.x, a.y), four_halves(a.z, a.w), four_halves(b.x, b.y), four_halves(b.z, b.w),
        four_halves(c.x, c.y), four_halves(c.z, c.w), four_halves(d.x, d.y), four_halves(d.z, d.w));
}
