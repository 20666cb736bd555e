// TQ1_0: value = d * (t - 1), t of three values. A byte b holds five t: the number's first digit in base 3 is b * 3 /
// 256 without remainder, the next that of b * 3 mod 256, and so on. Planes: quants, 48 bytes a block of 256: digit n of
// the first 32 bytes makes values 32 n to 32 n + 31, that of the other 16 values 160 + 16 n to 175 + 16 n; last, 4
// bytes whose four digits make the last 16 values in the same way; scales, f16 d.

// include: quant/halves.wgsl
// include: quant/affine_span.wgsl

// 3^n for n up to 4.
fn power_of_3(n: u32) -> u32 {
    return select(select(1u, 3u, n == 1u), select(select(9u, 27u, n == 3u), 81u, n == 4u), n >= 2u);
}

// The first digits of bytes that are multiplied modulo 256, two bytes of a word at a time.
fn digits(bytes: vec4<u32>, factors: vec4<u32>) -> vec4<u32> {
    let alternate = vec4<u32>(0x00ff00ffu);
    let even = ((bytes & alternate) * factors) & alternate;
    let odd = (((bytes >> vec4<u32>(8u)) & alternate) * factors) & alternate;
    return (((even * 3u) >> vec4<u32>(8u)) & vec4<u32>(0x00030003u)) | ((odd * 3u) & vec4<u32>(0x03000300u));
}

const SPAN: u32 = 8u;

struct Span {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    last: u32,
    d: vec2<f32>,
}

fn span_of(group: u32, planes: vec4<u32>) -> Span {
    let block = group / 8u;
    let first = planes.x + block * 3u;
    return Span(W[first], W[first + 1u], W[first + 2u], word(planes.y, block), vec2<f32>(half(planes.z, block)));
}

// Without a branch, which costs a CPU three times as much: groups 0 to 4 are a digit of 32 bytes each, 5 to 7 two digits
// of 16, but for the last 16 values.
fn packed32_of(span: Span, i: u32) -> Packed {
    let early = i < 5u;
    let last = i == 7u;
    let a = select(span.c, span.a, early);
    let b = select(select(span.c, span.b, early), vec4<u32>(span.last), last);
    let factor_a = vec4<u32>(power_of_3(select(2u * i - 10u, i, early)));
    let factor_b = select(vec4<u32>(power_of_3(select(2u * i - 9u, i, early))), vec4<u32>(1u, 3u, 9u, 27u), last);
    return Packed(digits(a, factor_a), digits(b, factor_b), span.d, -span.d);
}
