// y is added to the residual stream; what the next linear behind a norm needs is prepared: residual * gain, and a partial
// sum of squares per workgroup.
//
//   residual   f32 [rows, width], added to in place
//   normed     f32 [rows, stride], residual * gain
//   sums       f32 [rows, workgroups]
//   gain       f32 [width], of the norm that follows

struct Residual {
    width: u32,
    stride: u32,
}

@group(0) @binding(6) var<storage, read_write> residual: array<f32>;
@group(0) @binding(7) var<storage, read_write> normed: array<f32>;
@group(0) @binding(8) var<storage, read_write> sums: array<f32>;
@group(0) @binding(9) var<storage, read> gain: array<f32>;
@group(0) @binding(10) var<uniform> out: Residual;

const HAS_TALLY: bool = true;
struct Tally { sum: f32 }
fn tally_none() -> Tally { return Tally(0.0); }
fn tally_join(a: Tally, b: Tally) -> Tally { return Tally(a.sum + b.sum); }
fn tally_write(m: u32, workgroup: u32, workgroups: u32, t: Tally) { sums[m * workgroups + workgroup] = t.sum; }

fn pair_rows(pair: u32) -> vec2<u32> {
    return vec2<u32>(2u * pair, 2u * pair + 1u);
}

fn add(m: u32, column: u32, y: f32) -> f32 {
    let value = residual[m * out.width + column] + y;
    residual[m * out.width + column] = value;
    normed[m * out.stride + column] = value * gain[column];
    return value * value;
}

fn store(m: u32, pair: u32, y: vec2<f32>) -> Tally {
    var sum = add(m, 2u * pair, y.x);
    if (2u * pair + 1u < out.width) {
        sum += add(m, 2u * pair + 1u, y.y);
    }
    return Tally(sum);
}
