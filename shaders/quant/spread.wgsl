// Single bits to the lowest bits of bytes.

// Bit i of each word's lowest four becomes bit 8 i. The factor puts each bit to four places, and no two meet in one.
fn spread(bits: vec4<u32>) -> vec4<u32> {
    return ((bits & vec4<u32>(15u)) * 0x00204081u) & vec4<u32>(0x01010101u);
}

// Bits 0 to 15, each in a byte of its own.
fn spread_low(bits: u32) -> vec4<u32> {
    return spread(vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u));
}

// And bits 16 to 31.
fn spread_high(bits: u32) -> vec4<u32> {
    return spread(vec4<u32>(bits) >> vec4<u32>(16u, 20u, 24u, 28u));
}
