// Radix search among candidates, by their keys and then by their ids, the lower first: no tie can stop it.

const ID_BITS: u32 = 24u;  // of a token's id

// How far a search is. Of the last kept token's key, counted from the lowest, and of its id, counted from the highest that
// there could be, all bits are known but the lowest few: first the key's, then the id's.
struct Digits { key: u32, key_bits: u32, id: u32, id_bits: u32 }

fn no_digits(c: Candidates) -> Digits {
    return Digits(0u, 32u - countLeadingZeros(c.high - c.low), 0u, ID_BITS);
}

// A token's next digit, turned round so that the first in order is 0; 256 if it is out already.
fn next_digit(d: Digits, key: u32, token: u32) -> u32 {
    let by_key = d.key_bits > 0u;
    if (!by_key && key != d.key) {
        return 256u;
    }
    let number = select((1u << ID_BITS) - 1u - token, key, by_key);
    let bits = select(d.id_bits, d.key_bits, by_key);
    if (bits < 32u && (number >> (bits % 32u)) != select(d.id, d.key, by_key)) {
        return 256u;
    }
    let step = min(bits, 8u);
    return 255u - ((number >> (bits - step)) & ((1u << step) - 1u));
}

// Puts each candidate into the place of its next digit.
fn add_digits(kept: Kept, c: Candidates, d: Digits, by_mass: bool, lane: u32) {
    let size = size_of(kept, c);
    for (var i = lane; i < size; i += WORKGROUP) {
        let token = candidate_at(kept, c, i);
        if (token != ALL) {
            let logit = logit_of(kept, token);
            let place = next_digit(d, key_of(logit) - c.low, token);
            if (place < 256u) {
                atomicAdd(&counts[place], 1u);
                if (by_mass) { add_mass(place, to_fixed(exponential(logit - kept.maximum))); }
            }
        }
    }
}

fn with_digit(before: Digits, digit: u32) -> Digits {
    var d = before;
    if (d.key_bits > 0u) {
        let step = min(d.key_bits, 8u);
        d.key_bits -= step;
        d.key = (d.key << step) | (255u - digit);
    } else {
        d.id_bits -= 8u;
        d.id = (d.id << 8u) | (255u - digit);
    }
    return d;
}

// The cut that keeps all that begin with these digits, and what comes before them.
fn cut_of(d: Digits, low: u32) -> vec2<u32> {
    if (d.id_bits == ID_BITS) {
        return vec2<u32>(low + (d.key << d.key_bits), ALL);
    }
    return vec2<u32>(low + d.key, (1u << ID_BITS) - 1u - (d.id << d.id_bits));
}
