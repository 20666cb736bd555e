// IQ4_XS: value = d * (s - 32) * table[q]. Planes: scales, 8 bytes a block of 256: f16 d, then for each group g of 32
// values bits 4 and 5 of s in bits 2 g and 2 g + 1 of two bytes, and its low bits in a nibble of four; quants, 16 bytes
// a group: byte i holds value i in its low nibble and value i + 16 in its high one.

// include: quant/halves.wgsl
// include: quant/iq4_table.wgsl

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let block = group / 8u;
    let g = group % 8u;
    let head = word(planes.x, block * 2u);
    let low = word(planes.x, block * 2u + 1u) >> (4u * g);
    let high = head >> (16u + 2u * g);
    let s = f32((low & 15u) | ((high & 3u) << 4u)) - 32.0;
    return iq4(W[planes.y + group], unpack2x16float(head).x * s);
}
