// IQ4_NL: value = d * table[q]. Planes: scales, 1 f16 d a block of 32; quants, 16 bytes: byte i holds value i in its
// low nibble and value i + 16 in its high one.

// include: quant/halves.wgsl
// include: quant/iq4_table.wgsl
// include: quant/alone.wgsl

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    return iq4(W[planes.y + group], half(planes.x, group));
}
