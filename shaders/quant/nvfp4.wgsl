// NVFP4: value = s * table[q] / 2, table of twice a 4-bit float, s an unsigned float with 4 bits of exponent and 3 of
// mantissa. Planes: scales, 4 bytes a block of 64, one s for each 16 values; quants, 32 bytes, 8 for each 16 values:
// byte i holds value i in its low nibble and value i + 8 in its high one.

// include: quant/halves.wgsl
// include: quant/fp4_table.wgsl
// include: quant/alone.wgsl

// s / 2. The byte 0x7f, which is no number, counts as zero, and the eighth bit as nothing.
fn half_scale(bits: u32) -> f32 {
    let exponent = (bits >> 3u) & 15u;
    let mantissa = (bits & 7u) | select(8u, 0u, exponent == 0u);
    let power = bitcast<f32>((max(exponent, 1u) + 116u) << 23u);  // 2^(exponent - 11)
    return select(f32(mantissa) * power, 0.0, bits == 0x7fu);
}

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let s = half_scale(byte(planes.x, group * 2u));
    let t = half_scale(byte(planes.x, group * 2u + 1u));
    let q = W[planes.y + group];
    let h = q >> vec4<u32>(4u);
    return array<vec4<f32>, 8>(
        s * looked_up(q.x, FP4), s * looked_up(q.y, FP4), s * looked_up(h.x, FP4), s * looked_up(h.y, FP4),
        t * looked_up(q.z, FP4), t * looked_up(q.w, FP4), t * looked_up(h.z, FP4), t * looked_up(h.w, FP4));
}
