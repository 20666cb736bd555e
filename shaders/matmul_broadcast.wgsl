// y = W x for a few rows at a time, in decode and in prefill, on adapters with small subgroups and where a register is far
// nearer than memory (CPUs): on lavapipe twice as fast as matvec.wgsl, to the same bit, and 4 times as matmul_tile.wgsl.
//
//   W   weight planes of one type (quant/<type>.wgsl gives weights32), [N, K]
//   x   input, f32 [rows, x_stride * 4], K values a row, padded to whole groups of 32
//
// Each lane makes a pair of weight rows for M rows of x; the epilogue says which weight rows make a pair and what becomes
// of their two values. The lanes of a subgroup load a group of x together, a share each, and broadcast it to all. A row's
// sum is made in the same order for every M. Needs the feature subgroups with subgroups of exactly SUBGROUP; rows in whole
// tiles of M.

// include: linear.wgsl
// include: <quant>
// include: <input>
// include: <epilogue>

const M: u32 = 1u;           // parameter: rows of x at a time, 1, 2 or 4
const SUBGROUP: u32 = 8u;    // parameter: lanes of a subgroup, 4 or 8
const WORKGROUP: u32 = 32u;  // parameter: lanes, whole subgroups
const SHARE: u32 = 8u / SUBGROUP;

var<workgroup> tallies: array<Tally, WORKGROUP * M>;

fn products(a: vec4<f32>, b: vec4<f32>, v: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(dot(a, v), dot(b, v));
}

// A row's sums, and what a group of 32 values of two weight rows adds to them.
fn with_group(
    before: vec2<f32>, a: array<vec4<f32>, 8>, b: array<vec4<f32>, 8>, row: u32, group: u32, member: u32
) -> vec2<f32> {
    let first = input_row(row) * linear.x_stride + group * 8u + member;
    var own: array<vec4<f32>, SHARE>;
    own[0] = x[first];
    if (SHARE > 1u) {
        own[1u % SHARE] = x[first + SUBGROUP];
    }
    var sum = vec2<f32>(0.0);  // of the group alone: what is rounded off a long sum is more
    sum += products(a[0], b[0], subgroupBroadcast(own[0u / SUBGROUP], 0u % SUBGROUP));
    sum += products(a[1], b[1], subgroupBroadcast(own[1u / SUBGROUP], 1u % SUBGROUP));
    sum += products(a[2], b[2], subgroupBroadcast(own[2u / SUBGROUP], 2u % SUBGROUP));
    sum += products(a[3], b[3], subgroupBroadcast(own[3u / SUBGROUP], 3u % SUBGROUP));
    sum += products(a[4], b[4], subgroupBroadcast(own[4u / SUBGROUP], 4u % SUBGROUP));
    sum += products(a[5], b[5], subgroupBroadcast(own[5u / SUBGROUP], 5u % SUBGROUP));
    sum += products(a[6], b[6], subgroupBroadcast(own[6u / SUBGROUP], 6u % SUBGROUP));
    sum += products(a[7], b[7], subgroupBroadcast(own[7u / SUBGROUP], 7u % SUBGROUP));
    return before + sum;
}

// The same for all M rows, written out: on lavapipe a loop costs, even of one round.
fn add_group(
    sums: ptr<function, array<vec2<f32>, M>>,
    a: array<vec4<f32>, 8>,
    b: array<vec4<f32>, 8>,
    first_row: u32,
    group: u32,
    member: u32
) {
    (*sums)[0] = with_group((*sums)[0], a, b, first_row, group, member);
    if (M > 1u) {
        (*sums)[1u % M] = with_group((*sums)[1u % M], a, b, first_row + 1u, group, member);
    }
    if (M > 2u) {
        (*sums)[2u % M] = with_group((*sums)[2u % M], a, b, first_row + 2u, group, member);
        (*sums)[3u % M] = with_group((*sums)[3u % M], a, b, first_row + 3u, group, member);
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) member: u32
) {
    let tile = linear.first_group + workgroup.x;
    let pair = tile * WORKGROUP + lane;
    let w_rows = rows_of_pair(pair);
    let first_row = workgroup.y * M;

    var sums: array<vec2<f32>, M>;
    for (var m = 0u; m < M; m++) {
        sums[m] = vec2<f32>(0.0);
    }
    let groups = groups_of_k();
    let first_x = w_rows.x * linear.groups;
    let first_y = w_rows.y * linear.groups;
    for (var g = 0u; g < groups; g += SPAN) {
        let span_x = span_of(first_x + g, linear.planes);
        let span_y = span_of(first_y + g, linear.planes);
        if (SPAN == 1u) {
            add_group(&sums, weights32_of(span_x, 0u), weights32_of(span_y, 0u), first_row, g, member);
        } else {
            for (var i = 0u; i < SPAN; i++) {
                add_group(&sums, weights32_of(span_x, i), weights32_of(span_y, i), first_row, g + i, member);
            }
        }
    }

    for (var m = 0u; m < M; m++) {
        var tally = tally_none();
        if (pair < linear.end_pair) {
            tally = store(first_row + m, pair, sums[m] * (linear.scale * input_scale(input_row(first_row + m))) + biases(w_rows));
        }
        if (HAS_TALLY) {
            tallies[m * WORKGROUP + lane] = tally;
        }
    }
    if (HAS_TALLY) {
        workgroupBarrier();
        if (lane < M) {
            var tally = tallies[lane * WORKGROUP];
            for (var i = 1u; i < WORKGROUP; i++) {
                tally = tally_join(tally, tallies[lane * WORKGROUP + i]);
            }
            tally_write(first_row + lane, tile, (linear.all_pairs + WORKGROUP - 1u) / WORKGROUP, tally);
        }
    }
}
