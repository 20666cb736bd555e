// A type whose values are affine in bytes and whose groups of 32 share words (span.wgsl): packed32_of is what it gives.

// include: quant/unpacked.wgsl
// include: quant/span.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    return packed32_of(span_of(group - group % SPAN, planes), group % SPAN);
}

fn weights32_of(span: Span, i: u32) -> array<vec4<f32>, 8> {
    return unpacked(packed32_of(span, i));
}
