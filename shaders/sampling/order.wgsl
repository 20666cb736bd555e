// The order in which tokens are kept: the larger logit first, of equals the lower id. And bins that follow it.

const ALL: u32 = 0xffffffffu;  // no token, or as a cut: every token
const FORBIDDEN: f32 = -3.0e38;
const BINS: u32 = 1024u;  // the last one holds all that lies deeper

// A cut is (key, token): it keeps the keys above, and of those equal to it the tokens up to `token`.
const NO_CUT: vec2<u32> = vec2<u32>(0u, ALL);

// Order of floats as order of integers; zeros of both signs are equal.
fn key_of(value: f32) -> u32 {
    let bits = select(bitcast<u32>(value), 0u, value == 0.0);
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn keeps(cut: vec2<u32>, key: u32, token: u32) -> bool {
    return key > cut.x || (key == cut.x && token <= cut.y);
}

fn tighter(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(b, a, a.x > b.x || (a.x == b.x && a.y < b.y));
}

// Bins of how far a logit lies below the row's maximum: 32 a unit down to 16, from there on 8.
fn bin_at_depth(depth: f32) -> u32 {
    let place = select(512.0 + 8.0 * (depth - 16.0), 32.0 * depth, depth < 16.0);
    return min(u32(clamp(place, 0.0, f32(BINS - 1u))), BINS - 1u);
}

// It never rises with the logit. Halves, because the difference itself may be too large for f32.
fn bin_of(value: f32, maximum: f32) -> u32 {
    return bin_at_depth(2.0 * min(0.5 * maximum - 0.5 * value, 1000.0));
}
