// A KV cache in f32.

alias KvPair = vec2<f32>;

fn kv_unpack(pair: KvPair) -> vec2<f32> {
    return pair;
}

fn kv_pack(values: vec2<f32>) -> KvPair {
    return values;
}
