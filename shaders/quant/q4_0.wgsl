// Q4_0: value = d * (q - 8). Planes: scales, 1 f16 d a block of 32; quants, 16 bytes: byte i holds value i in its low
// nibble and value i + 16 in its high one.

// include: quant/halves.wgsl

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let d = half(planes.x, group);
    let q = W[planes.y + group];
    let h = q >> vec4<u32>(4u);
    return array<vec4<f32>, 8>(
        d * (low_nibbles(q.x) - 8.0), d * (low_nibbles(q.y) - 8.0),
        d * (low_nibbles(q.z) - 8.0), d * (low_nibbles(q.w) - 8.0),
        d * (low_nibbles(h.x) - 8.0), d * (low_nibbles(h.y) - 8.0),
        d * (low_nibbles(h.z) - 8.0), d * (low_nibbles(h.w) - 8.0));
}
