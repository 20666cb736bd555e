// Rotary position embedding (Su et al. 2021): the angle of a pair at a position.
//
//   turns   per pair its frequency in turns per position, as a 64-bit binary fraction (high word, low word); two pairs
//           an entry
//
// Multiplying by the position modulo 2^64 leaves the exact fraction of a turn, however far the position: an angle in f32
// would lose 5e-4 radians at position 8192.  Sine and cosine are polynomials on an eighth of a turn, because WGSL allows
// sin and cos an absolute error of 2^-11.

struct Rope {
    magnitude: f32,
    n_pairs: u32,      // pairs that turn; the rest of a head passes as it is
    turns: array<vec4<u32>, 128>,
}

@group(0) @binding(14) var<uniform> rope: Rope;

fn high_product(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let cross = a0 * b1 + (middle & 0xffffu);
    return a1 * b1 + (middle >> 16u) + (cross >> 16u);
}

// (cos, sin) of the pair's angle, times the magnitude.
fn rope_turn(pair: u32, position: u32) -> vec2<f32> {
    let entry = rope.turns[pair >> 1u];
    let turn = select(entry.xy, entry.zw, (pair & 1u) == 1u);
    let phase = position * turn.x + high_product(position, turn.y);  // 2^-32 turns
    let quarter = (phase + 0x20000000u) >> 30u;
    let rest = f32(bitcast<i32>(phase - (quarter << 30u))) * 1.4629180792671596e-9;  // 2 pi / 2^32; at most pi / 4
    let r2 = rest * rest;
    let s = rest * fma(r2, fma(r2, fma(r2, fma(r2, 2.7557319e-6, -1.9841270e-4), 8.3333333e-3), -0.16666667), 1.0);
    let c = fma(r2, fma(r2, fma(r2, fma(r2, 2.4801587e-5, -1.3888889e-3), 4.1666667e-2), -0.5), 1.0);
    var turned = vec2<f32>(c, s);
    if (quarter == 1u) { turned = vec2<f32>(-s, c); }
    if (quarter == 2u) { turned = vec2<f32>(-c, -s); }
    if (quarter == 3u) { turned = vec2<f32>(s, -c); }
    return turned * rope.magnitude;
}
