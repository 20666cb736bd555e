// Activations of feed-forward networks.

// x * sigmoid(x) (Elfwing et al. 2017). exp overflows in f32 past 88.
fn silu(x: f32) -> f32 {
    return x / (1.0 + exp(min(-x, 80.0)));
}
