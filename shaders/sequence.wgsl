// What a sequence's next token depends on, one entry per slot. `SamplingState` in engine/sequence.py packs it.

struct Sequence {
    last_position: u32,       // the answer ends when a token was put there
    seed: u32,
    top_k: u32,               // 0: off
    repeat_last_n: u32,       // tokens that `counts` counts
    temperature: f32,         // 0: greedy
    top_p: f32,
    min_p_margin: f32,        // -ln(min_p): kept are logits >= maximum - margin
    repeat_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    n_end_tokens: u32,
    unused: u32,
    end_tokens: array<vec4<u32>, 4>,
}
