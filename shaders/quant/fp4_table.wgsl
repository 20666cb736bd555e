// What the nibbles of MXFP4 and NVFP4 stand for, twice the value of a 4-bit float with 2 bits of exponent and 1 of
// mantissa (OCP Microscaling Formats 1.0, section 5.3.3), in bytes from the lowest up: 0, 1, 2, 3, 4, 6, 8, 12, and
// their negatives.

// include: quant/table16.wgsl

const FP4: vec4<u32> = vec4<u32>(0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu);
