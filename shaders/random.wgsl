// Random numbers without a state: a hash of a counter, and the noise that makes an argmax a draw.

// Jarzynski and Olano 2020, "Hash functions for GPU rendering", pcg3d.
fn hash(seed: u32, position: u32, token: u32) -> u32 {
    var v = vec3<u32>(seed, position, token) * 1664525u + 1013904223u;
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v ^= v >> vec3<u32>(16u);
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    return v.x ^ v.z;
}

// -ln(E), E = -ln(1 - u) for u uniform in (0, 1): precise where u, and so E, is small and the value large.
fn gumbel(bits: u32) -> f32 {
    let u = (f32(bits) + 0.5) * 2.3283064365386963e-10;
    if (u >= 1.0) { return -3.0; }
    let series = u * (1.0 + u * (0.5 + u * (0.33333334 + u * 0.25)));
    return -log(select(-log(1.0 - u), series, u < 0.01));
}
