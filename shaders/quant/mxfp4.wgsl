// MXFP4: value = 2^(e - 128) * table[q], twice a 4-bit float. Planes: scales, 1 byte e a block of 32; quants, 16 bytes:
// byte i holds value i in its low nibble and value i + 16 in its high one.

// include: quant/halves.wgsl
// include: quant/fp4_table.wgsl
// include: quant/alone.wgsl

// 2^(e - 128) is denormal for the two smallest e, and adapters may take a denormal for zero: so it is multiplied in two
// normal parts, and only a value that is itself denormal can become zero.
fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let e = byte(planes.x, group);
    let half_e = e / 2u;
    let d = bitcast<f32>((half_e + 63u) << 23u);
    let rest = bitcast<f32>((e - half_e + 63u) << 23u);
    let q = W[planes.y + group];
    let h = q >> vec4<u32>(4u);
    return array<vec4<f32>, 8>(
        d * looked_up(q.x, FP4) * rest, d * looked_up(q.y, FP4) * rest,
        d * looked_up(q.z, FP4) * rest, d * looked_up(q.w, FP4) * rest,
        d * looked_up(h.x, FP4) * rest, d * looked_up(h.y, FP4) * rest,
        d * looked_up(h.z, FP4) * rest, d * looked_up(h.w, FP4) * rest);
}
