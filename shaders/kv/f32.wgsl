// A KV cache in f32.

alias KvPair = vec2<f32>;
alias KvEight = mat2x4<f32>;

fn kv_unpack(pair: KvPair) -> vec2<f32> {
    return pair;
}

fn kv_unpack_eight(eight: KvEight) -> mat2x4<f32> {
    return eight;
}

fn kv_pack(values: vec2<f32>) -> KvPair {
    return values;
}
