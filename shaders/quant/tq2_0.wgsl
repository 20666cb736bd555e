// TQ2_0: value = d * (q - 1), q of 2 bits. Planes: quants, 64 bytes a block of 256: byte i of the first 32 holds values
// i, i + 32, i + 64 and i + 96, from its low bits up, and the other 32 hold the other half of the block; scales, f16 d.

// include: quant/halves.wgsl
// include: quant/affine.wgsl

fn packed32(group: u32, planes: vec4<u32>) -> Packed {
    let d = vec2<f32>(half(planes.y, group / 8u));
    let first = planes.x + group / 4u * 2u;
    let shift = vec4<u32>(2u * (group & 3u));
    let two_bits = vec4<u32>(0x03030303u);
    return Packed((W[first] >> shift) & two_bits, (W[first + 1u] >> shift) & two_bits, d, -d);
}
