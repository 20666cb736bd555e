// 256 places in order, each with a number of tokens and their probability, and the search for the place at which the
// numbers, or the probabilities, up to it reach what is wanted. Both are 64 bits wide, (low, high). Needs WORKGROUP and `rolled`.

const PLACES: u32 = 256u;

var<workgroup> counts: array<atomic<u32>, PLACES>;
var<workgroup> masses_low: array<atomic<u32>, PLACES>;
var<workgroup> masses_high: array<atomic<u32>, PLACES>;
var<workgroup> sixteenths: array<vec2<u32>, 16>;
var<workgroup> shared_place: Place;

// Wanted is an amount; or where `share` is not negative, this share of the sum of all places and `more`.
struct Wanted { amount: vec2<u32>, more: vec2<u32>, share: f32 }

// `left` is what is wanted of the place itself, or beyond all of them where they do not reach it and `index` is ALL.
struct Place { index: u32, count: u32, left: vec2<u32>, sum: vec2<u32> }

fn clear_amounts(lane: u32) {
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
    let mass = vec2<u32>(atomicLoad(&masses_low[index]), atomicLoad(&masses_high[index]));
    return select(vec2<u32>(atomicLoad(&counts[index]), 0u), mass, by_mass);
}

// Never nothing: the likeliest token is always kept.
fn share_of(sum: vec2<u32>, share: f32) -> vec2<u32> {
    let wanted = to_fixed(share * to_float(sum));
    return select(wanted, vec2<u32>(1u, 0u), all(wanted == vec2<u32>(0u)));
}

fn place_of(wanted: Wanted, by_mass: bool, lane: u32) -> Place {
    workgroupBarrier();
    for (var i = lane; i < 16u; i += WORKGROUP) {
        var sum = vec2<u32>(0u);
        for (var j = 0u; j < rolled(16u); j++) { sum = add_fixed(sum, amount_at(16u * i + j, by_mass)); }
        sixteenths[i] = sum;
    }
    workgroupBarrier();
    if (lane == 0u) {
        var place = Place(0u, 0u, wanted.amount, vec2<u32>(0u));
        for (var i = 0u; i < rolled(16u); i++) { place.sum = add_fixed(place.sum, sixteenths[i]); }
        if (wanted.share >= 0.0) { place.left = share_of(add_fixed(place.sum, wanted.more), wanted.share); }
        while (place.index < PLACES && less_fixed(sixteenths[min(place.index / 16u, 15u)], place.left)) {
            place.left = sub_fixed(place.left, sixteenths[place.index / 16u]);
            place.index += 16u;
        }
        while (place.index < PLACES && less_fixed(amount_at(min(place.index, PLACES - 1u), by_mass), place.left)) {
            place.left = sub_fixed(place.left, amount_at(place.index, by_mass));
            place.index += 1u;
        }
        place.count = atomicLoad(&counts[min(place.index, PLACES - 1u)]);
        if (place.index == PLACES) { place.index = ALL; }
        shared_place = place;
    }
    return workgroupUniformLoad(&shared_place);
}
