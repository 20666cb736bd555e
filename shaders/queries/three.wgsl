// Three queries at a time.

const QUERIES: u32 = 3u;

alias Numbers = vec3<f32>;  // one of each query
alias Positions = vec3<u32>;

// What each query has in component i of its value.
fn across(values: array<vec4<f32>, QUERIES>, i: u32) -> Numbers {
    return Numbers(values[0][i], values[1][i], values[2][i]);
}

fn number_of(numbers: Numbers, query: u32) -> f32 {
    return numbers[query];
}
