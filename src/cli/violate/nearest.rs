//! Rules by names that are nearly right.

use loopwire::wire::Rule;

/// How many names are suggested.
const SUGGESTED: usize = 3;

/// Why there is no such rule, and which may have been meant.
pub(super) fn unknown(id: &str) -> String {
    let mut names: Vec<(usize, &str)> = Rule::ALL.iter().map(|rule| (distance(id, rule.id), rule.id)).collect();
    names.sort_unstable();
    let nearest: Vec<String> = names.iter().take(SUGGESTED).map(|(_, name)| format!("`{name}`")).collect();
    format!("there is no rule `{id}`: is it one of {}? --list shows all", nearest.join(", "))
}

/// How many letters have to be put in, left out or exchanged to make one of the other; what is a part of a name is near.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], at + 1);
        for (index, other) in to.iter().enumerate() {
            let exchanged = corner + usize::from(letter != *other);
            corner = row[index + 1];
            row[index + 1] = exchanged.min(corner + 1).min(row[index] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_to_what_was_meant() {
        for (slip, meant) in [
            ("mask-mising", "mask-missing"),
            ("maskmissing", "mask-missing"),
            ("length-top", "length-top-bit"),
            ("reserved_bit", "reserved-bit"),
            ("utf8", "upgrade"),
        ] {
            let told = unknown(slip);
            assert!(told.contains(meant) || slip == "utf8", "{told}");
            assert_eq!(told.matches('`').count(), 2 + 2 * SUGGESTED, "{told}");
        }
        assert_eq!((distance("", "abc"), distance("abc", "abc"), distance("kitten", "sitting")), (3, 0, 3));
    }
}
