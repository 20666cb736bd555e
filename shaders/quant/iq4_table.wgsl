// What the nibbles of IQ4_NL and IQ4_XS stand for, in bytes from the lowest up:
// -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113.

// include: quant/table16.wgsl

const IQ4: vec4<u32> = vec4<u32>(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);

// 32 values: the low nibbles of 16 bytes, then the high ones.
fn iq4(q: vec4<u32>, d: f32) -> array<vec4<f32>, 8> {
    let h = q >> vec4<u32>(4u);
    return array<vec4<f32>, 8>(
        d * looked_up(q.x, IQ4), d * looked_up(q.y, IQ4), d * looked_up(q.z, IQ4), d * looked_up(q.w, IQ4),
        d * looked_up(h.x, IQ4), d * looked_up(h.y, IQ4), d * looked_up(h.z, IQ4), d * looked_up(h.w, IQ4));
}
