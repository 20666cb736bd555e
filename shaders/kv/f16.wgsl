// A KV cache in f16, two values a word: needs no feature.

alias KvPair = u32;

fn kv_unpack(pair: KvPair) -> vec2<f32> {
    return unpack2x16float(pair);
}

fn kv_pack(values: vec2<f32>) -> KvPair {
    return pack2x16float(values);
}
