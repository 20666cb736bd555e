// Nibbles that stand for one of 16 signed bytes. The table is four words, so that nothing is indexed: a lane chooses
// among its words, then shifts.

// What the low nibbles of a word's bytes stand for.
fn looked_up(word: u32, table: vec4<u32>) -> vec4<f32> {
    let nibbles = vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u);
    let odd = (nibbles & vec4<u32>(4u)) != vec4<u32>(0u);
    let low = select(vec4<u32>(table.x), vec4<u32>(table.y), odd);
    let high = select(vec4<u32>(table.z), vec4<u32>(table.w), odd);
    let four = select(low, high, (nibbles & vec4<u32>(8u)) != vec4<u32>(0u));
    let lowest = four >> (8u * (nibbles & vec4<u32>(3u)));
    return vec4<f32>(bitcast<vec4<i32>>(lowest << vec4<u32>(24u)) >> vec4<u32>(24u));
}
