// The biases of two rows: f32 behind the planes of W.

fn bias_of(row: u32) -> f32 {
    return bitcast<f32>(W[linear.bias + row / 4u][row % 4u]);
}

fn biases(w_rows: vec2<u32>) -> vec2<f32> {
    if (linear.bias == 0u) {
        return vec2<f32>(0.0);
    }
    return vec2<f32>(bias_of(w_rows.x), bias_of(w_rows.y));
}
