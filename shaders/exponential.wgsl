// exp to two units in the last place (WGSL allows its own 3 + 2 |x| units): sums of probabilities depend on it.
// exp(x) = 2^n * exp(r), r in [-ln2 / 2, ln2 / 2], and a Taylor polynomial. For |x| up to 87.
//
// r = x - n * ln2 is made of integers, in steps of 2^-24: compilers join the two products of the usual way in floats
// (Cody and Waite 1980) into one and lose what it was split for. 11629080 / 2^24 is ln2 + 1.9e-9.

fn exponential(x: f32) -> f32 {
    if (x < -87.0) {
        return 0.0;
    }
    let n = i32(round(x * 1.4426950408889634));
    let r = fma(f32(n), 1.9046543e-9, f32(i32(round(x * 16777216.0)) - n * 11629080) * 5.9604645e-8);
    let q = fma(r, fma(r, fma(r, 1.984127e-4, 1.3888889e-3), 8.3333333e-3), 4.1666667e-2);
    let p = fma(r, fma(r, fma(r, q, 0.16666667), 0.5), 1.0);
    return fma(r, p, 1.0) * bitcast<f32>(u32(n + 127) << 23u);
}
