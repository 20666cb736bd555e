// 256 places in order, each with a number of tokens and their probability, and the search for the place at which the
// numbers, or the probabilities, up to it reach what is wanted. Both are 64 bits wide, (low, high). Needs WORKGROUP.

const PLACES: u32 = 256u;

var<workgroup> counts: array<atomic<u32>, PLACES>;
var<workgroup> masses_low: array<atomic<u32>, PLACES>;
var<workgroup> masses_high: array<atomic<u32>, PLACES>;
var<workgroup> sixteenths: array<vec2<u32>, 16>;
var<workgroup> shared_place: Place;
var<workgroup> shared_sum: vec2<u32>;

// `above` is the amount of the places before it. `index` is ALL if all of them do not reach what is wanted.
struct Place { index: u32, count: u32, above: vec2<u32> }

fn clear_amounts(lane: u32) {
    workgroupBarrier();
    for (var i = lane; i < PLACES; i += WORKGROUP) {
        atomicStore(&counts[i], 0u);
        set_mass(i, vec2<u32>(0u));
    }
    workgroupBarrier();
}

fn set_mass(index: u32, mass: vec2<u32>) {
    atomicStore(&masses_low[index], mass.x);
    atomicStore(&masses_high[index], mass.y);
}

fn add_mass(index: u32, mass: vec2<u32>) {
    let before = atomicAdd(&masses_low[index], mass.x);
    let high = mass.y + u32(before + mass.x < before);
    if (high != 0u) { atomicAdd(&masses_high[index], high); }
}

fn amount_at(index: u32, by_mass: bool) -> vec2<u32> {
    if (by_mass) {
        return vec2<u32>(atomicLoad(&masses_low[index]), atomicLoad(&masses_high[index]));
    }
    return vec2<u32>(atomicLoad(&counts[index]), 0u);
}

fn add_sixteenths(by_mass: bool, lane: u32) {
    workgroupBarrier();
    if (lane < 16u) {
        var sum = vec2<u32>(0u);
        for (var i = 0u; i < 16u; i++) { sum = add_fixed(sum, amount_at(16u * lane + i, by_mass)); }
        sixteenths[lane] = sum;
    }
    workgroupBarrier();
}

fn sum_of_masses(lane: u32) -> vec2<u32> {
    add_sixteenths(true, lane);
    if (lane == 0u) {
        var sum = vec2<u32>(0u);
        for (var i = 0u; i < 16u; i++) { sum = add_fixed(sum, sixteenths[i]); }
        shared_sum = sum;
    }
    return workgroupUniformLoad(&shared_sum);
}

fn place_of(wanted: vec2<u32>, by_mass: bool, lane: u32) -> Place {
    add_sixteenths(by_mass, lane);
    if (lane == 0u) {
        var place = Place(0u, 0u, vec2<u32>(0u));
        for (var i = 0u; i < 16u; i++) {
            let next = add_fixed(place.above, sixteenths[i]);
            if (!less_fixed(next, wanted)) { break; }
            place.above = next;
            place.index += 16u;
        }
        for (var i = 0u; i < 16u && place.index < PLACES; i++) {
            let next = add_fixed(place.above, amount_at(place.index, by_mass));
            if (!less_fixed(next, wanted)) { break; }
            place.above = next;
            place.index += 1u;
        }
        if (place.index < PLACES) {
            place.count = atomicLoad(&counts[place.index]);
        } else {
            place.index = ALL;
        }
        shared_place = place;
    }
    return workgroupUniformLoad(&shared_place);
}
