// Sums that do not depend on the order of lanes: numbers in 64-bit fixed point, 44 bits behind the point, as (low, high).
// They reach from 0 to 2^20 in steps far below f32's.

fn to_fixed(value: f32) -> vec2<u32> {
    let scaled = value * 4096.0;
    let high = floor(scaled);
    return vec2<u32>(u32((scaled - high) * 4294967296.0), u32(high));
}

fn to_float(fixed: vec2<u32>) -> f32 {
    return f32(fixed.y) * 0.000244140625 + f32(fixed.x) * 5.684341886080802e-14;
}

fn add_fixed(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + u32(low < a.x));
}

fn sub_fixed(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

fn less_fixed(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}
