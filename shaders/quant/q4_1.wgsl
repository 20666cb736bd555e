// Q4_1: value = d * q + m. Planes: scales, f16 d and f16 m a block of 32; quants, 16 bytes: byte i holds value i in its
// low nibble and value i + 16 in its high one.

// include: quant/halves.wgsl

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let dm = half_pair(planes.x, group);
    let d = vec4<f32>(dm.x);
    let m = vec4<f32>(dm.y);
    let q = W[planes.y + group];
    let h = q >> vec4<u32>(4u);
    return array<vec4<f32>, 8>(
        fma(d, low_nibbles(q.x), m), fma(d, low_nibbles(q.y), m),
        fma(d, low_nibbles(q.z), m), fma(d, low_nibbles(q.w), m),
        fma(d, low_nibbles(h.x), m), fma(d, low_nibbles(h.y), m),
        fma(d, low_nibbles(h.z), m), fma(d, low_nibbles(h.w), m));
}
