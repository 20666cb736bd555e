// The 16 bytes that Q4_K and Q5_K have for a block's scales: f16 d and f16 dmin, then 12 bytes with 8 pairs (s, t) of
// 6-bit numbers, a pair for each 32 values. Pairs 0 to 3 are the low six bits of bytes 0 to 3 (s) and 4 to 7 (t); pairs
// 4 to 7 have their low four bits in bytes 8 to 11 (s in the low nibble, t in the high one), and their high two in
// those of bytes 0 to 3 (s) and 4 to 7 (t).

// (d * s, dmin * t) of group g.
fn k_scales(bytes: vec4<u32>, g: u32) -> vec2<f32> {
    let at = vec2<u32>(8u * (g & 3u));
    let first = bytes.yz >> at;
    let last = (bytes.ww >> at) >> vec2<u32>(0u, 4u);
    let later = (last & vec2<u32>(15u)) | ((first >> vec2<u32>(2u)) & vec2<u32>(48u));
    return unpack2x16float(bytes.x) * vec2<f32>(select(first & vec2<u32>(63u), later, g >= 4u));
}
