// A KV cache in f16, two values a word: needs no feature.

alias KvPair = u32;
alias KvEight = vec4<u32>;

fn kv_unpack(pair: KvPair) -> vec2<f32> {
    return unpack2x16float(pair);
}

fn kv_unpack_eight(eight: KvEight) -> mat2x4<f32> {
    let a = unpack2x16float(eight.x);
    let b = unpack2x16float(eight.y);
    let c = unpack2x16float(eight.z);
    let d = unpack2x16float(eight.w);
    return mat2x4<f32>(a.x, a.y, b.x, b.y, c.x, c.y, d.x, d.y);
}

fn kv_pack(values: vec2<f32>) -> KvPair {
    return pack2x16float(values);
}
