// One query.

const QUERIES: u32 = 1u;

alias Numbers = f32;  // one of each query
alias Positions = u32;

// What each query has in component i of its value.
fn across(values: array<vec4<f32>, QUERIES>, i: u32) -> Numbers {
    return values[0][i];
}

fn number_of(numbers: Numbers, query: u32) -> f32 {
    return numbers;
}
