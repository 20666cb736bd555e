// Counts the tokens that penalties look at, when an answer begins; from then on sample.wgsl keeps the counts.
//
//   tokens      token ids, [slots, context]
//   vocabulary  per slot: mask, bias, counts
//
// One workgroup. Needs no feature.

struct Window {
    slot: u32,
    begin: u32,       // positions [begin, end) are counted
    end: u32,
    context: u32,
    counts: u32,      // where the slot's counts start
    vocab: u32,
}

@group(0) @binding(0) var<storage, read> tokens: array<u32>;
@group(0) @binding(1) var<storage, read_write> vocabulary: array<atomic<u32>>;
@group(0) @binding(2) var<uniform> window: Window;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var i = lane; i < window.vocab; i += 256u) {
        atomicStore(&vocabulary[window.counts + i], 0u);
    }
    storageBarrier();
    for (var p = window.begin + lane; p < window.end; p += 256u) {
        atomicAdd(&vocabulary[window.counts + tokens[window.slot * window.context + p]], 1u);
    }
}
