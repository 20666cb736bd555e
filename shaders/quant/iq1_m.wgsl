// IQ1_M: value = d * (2 s + 1) * (code - 1 + delta), by 8 values an entry of the codebook. A block is 256 values.
// Planes: indices, 32 bytes, the low 8 bits of an index for 8 values each; high bits, 32 nibbles for 8 values each: 3
// high bits of the index, 1 for a negative delta; scales, 4 x 16 bits: 4 x 3 bits s for 16 values each, and 4 bits of
// the f16 d.

// include: quant/iq1.wgsl

fn weights32(group: u32, planes: vec4<u32>) -> array<vec4<f32>, 8> {
    let low = W[planes.x + (group >> 2u)][group & 3u];
    let high = W[planes.y + (group >> 3u)][(group >> 1u) & 3u] >> (16u * (group & 1u));
    let block = W[planes.z + (group >> 4u)];
    let scales = select(block.xy, block.zw, (group & 8u) == 8u);
    let bits = ((scales.x >> 12u) & 15u) | ((scales.x >> 24u) & 0xf0u)
        | ((scales.y >> 4u) & 0xf00u) | ((scales.y >> 16u) & 0xf000u);
    let whole = unpack2x16float(bits).x;
    let own = select(scales.x, scales.y, (group & 4u) == 4u) >> (16u * ((group >> 1u) & 1u) + 6u * (group & 1u));
    let first = whole * f32(((own << 1u) & 14u) + 1u);
    let second = whole * f32(((own >> 2u) & 14u) + 1u);
    let a = eight_values(low, high, first);
    let b = eight_values(low >> 8u, high >> 4u, first);
    let c = eight_values(low >> 16u, high >> 8u, second);
    let d = eight_values(low >> 24u, high >> 12u, second);
    return array<vec4<f32>, 8>(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}
