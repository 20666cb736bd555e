// Cuts exactly: after the first few candidates in order whose number, or probability, reaches what is wanted. By radix
// search over (key, lower id first), which no tie can stop; it ends as soon as all of a digit is kept.

const ID_BITS: u32 = 24u;  // of token ids

// How far a search is. Of the last kept token's key, counted from the lowest, and of its id, counted from the highest that
// there could be, all bits are known but the lowest few: first the key's, then the id's.
struct Search { key: u32, key_bits: u32, id: u32, id_bits: u32 }

// The probability of a token before it is divided by the sum of all.
fn mass_of(kept: Kept, token: u32) -> vec2<u32> {
    return to_fixed(exponential(logit_of(kept, token) - kept.maximum));
}

// The probability of all candidates.
fn sum_of_candidates(kept: Kept, c: Candidates, lane: u32) -> vec2<u32> {
    var sum = vec2<u32>(0u);
    let size = size_of(kept, c);
    for (var i = lane; i < size; i += WORKGROUP) {
        let token = candidate_at(kept, c, i);
        if (token != ALL) { sum = add_fixed(sum, mass_of(kept, token)); }
    }
    clear_amounts(lane);
    set_mass(lane, sum);
    return sum_of_masses(lane);
}

// A token's next digit, turned round so that the first in order is 0; 256 if it is out already.
fn digit(s: Search, key: u32, token: u32) -> u32 {
    let by_key = s.key_bits > 0u;
    if (!by_key && key != s.key) {
        return 256u;
    }
    let number = select((1u << ID_BITS) - 1u - token, key, by_key);
    let bits = select(s.id_bits, s.key_bits, by_key);
    if (bits < 32u && (number >> (bits % 32u)) != select(s.id, s.key, by_key)) {
        return 256u;
    }
    let step = min(bits, 8u);
    return 255u - ((number >> (bits - step)) & ((1u << step) - 1u));
}

// The cut after the fewest candidates in order whose number, or probability, reaches `wanted`; or else the one there is.
fn search(kept: Kept, c: Candidates, wanted: vec2<u32>, by_mass: bool, lane: u32) -> vec2<u32> {
    let size = size_of(kept, c);
    var s = Search(0u, 32u - countLeadingZeros(c.high - c.low), 0u, ID_BITS);
    var left = wanted;
    var cut = NO_CUT;
    var whole = false;
    while (!whole && s.id_bits > 0u) {
        clear_amounts(lane);
        for (var i = lane; i < size; i += WORKGROUP) {
            let token = candidate_at(kept, c, i);
            if (token != ALL) {
                let place = digit(s, key_of(logit_of(kept, token)) - c.low, token);
                if (place < 256u) {
                    atomicAdd(&counts[place], 1u);
                    if (by_mass) { add_mass(place, mass_of(kept, token)); }
                }
            }
        }
        let found = place_of(left, by_mass, lane);
        if (found.index == ALL) {
            cut = NO_CUT;
            break;
        }
        left = sub_fixed(left, found.above);
        whole = select(left.x == found.count, found.count == 1u, by_mass);
        if (s.key_bits > 0u) {
            let step = min(s.key_bits, 8u);
            s.key_bits -= step;
            s.key = (s.key << step) | (255u - found.index);
            cut = vec2<u32>(c.low + (s.key << s.key_bits), ALL);
        } else {
            s.id_bits -= 8u;
            s.id = (s.id << 8u) | (255u - found.index);
            cut = vec2<u32>(c.low + s.key, (1u << ID_BITS) - 1u - (s.id << s.id_bits));
        }
    }
    return tighter(kept.cut, cut);
}
