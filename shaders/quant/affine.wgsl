// A type whose values are affine in bytes and whose groups of 32 share no words: packed32 is all that it gives.

// include: quant/unpacked.wgsl
// include: quant/alone.wgsl

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    return unpacked(packed32(group, planes));
}
