// exp to about one unit in the last place (WGSL allows its own 3 + 2 |x| units): sums of probabilities depend on it.
// exp(x) = 2^n * exp(r), r in [-ln2 / 2, ln2 / 2], with ln2 split in two (Cody and Waite 1980) and a Taylor polynomial.

fn exponential(x: f32) -> f32 {
    if (x < -87.0) {
        return 0.0;
    }
    let n = round(x * 1.4426950408889634);
    let r = fma(n, -1.4286068203094172e-6, fma(n, -0.693145751953125, x));
    let p = fma(r, fma(r, fma(r, fma(r, fma(r, 1.3888889e-3, 8.3333333e-3), 4.1666667e-2), 0.16666667), 0.5), 1.0);
    return fma(r, p, 1.0) * bitcast<f32>(u32(i32(n) + 127) << 23u);
}
