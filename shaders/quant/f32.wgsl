// F32: the value itself. Planes: values, 1 f32 a block of one value.

// include: quant/alone.wgsl

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let first = planes.x + group * 8u;
    return array<vec4<f32>, 8>(
        bitcast<vec4<f32>>(W[first]), bitcast<vec4<f32>>(W[first + 1u]),
        bitcast<vec4<f32>>(W[first + 2u]), bitcast<vec4<f32>>(W[first + 3u]),
        bitcast<vec4<f32>>(W[first + 4u]), bitcast<vec4<f32>>(W[first + 5u]),
        bitcast<vec4<f32>>(W[first + 6u]), bitcast<vec4<f32>>(W[first + 7u]));
}
