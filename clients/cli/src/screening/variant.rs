//! Which aliases are spellings of one name, and which are other names: a rule on plaintext, fixed before any key existed and
//! independent of how keys are made.

use lanyard_core::identity::transliterate;
use strsim::normalized_levenshtein;

/// The rule, for people.
pub(super) const RULE: &str = "\
An alias is a variant if the names, transliterated and without blanks, are at least 0.75 alike; or if both have two parts or \
more, single letters and particles (al, bin, de, van, …) aside, and every part of the shorter name finds a part of its own in \
the other that is at least 0.6 alike. Alike is one minus the Levenshtein distance over the longer length. Other aliases are \
other names: noms de guerre, maiden names, single names.";

const WHOLE: f64 = 0.75;
const PART: f64 = 0.6;

const PARTICLES: [&str; 34] = [
    "AL", "EL", "BIN", "BEN", "IBN", "DE", "LA", "DEL", "ABU", "ABD", "OULD", "VAN", "VON", "DER",
    "DU", "DA", "DOS", "LOS", "Y", "UL", "US", "UR", "AR", "AS", "AD", "AN", "AT", "AZ", "ASH",
    "AU", "IL", "DI", "DEN", "DAS",
];

/// Whether two names are spellings of one, by [`RULE`].
pub(super) fn is_variant(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (transliterate(one), transliterate(other)) else { return false };
    if normalized_levenshtein(&one.replace(' ', ""), &other.replace(' ', "")) >= WHOLE {
        return true;
    }
    let (mut shorter, mut longer) = (parts(&one), parts(&other));
    if shorter.len() > longer.len() {
        std::mem::swap(&mut shorter, &mut longer);
    }
    let mut alike: Vec<(f64, usize, usize)> = Vec::new();
    for (place, part) in shorter.iter().enumerate() {
        for (other_place, other) in longer.iter().enumerate() {
            let score = normalized_levenshtein(part, other);
            if score >= PART {
                alike.push((score, place, other_place));
            }
        }
    }
    // The most alike first, each part once.
    alike.sort_by(|one, two| two.0.total_cmp(&one.0));
    let (mut used, mut other_used) = (vec![false; shorter.len()], vec![false; longer.len()]);
    for (_, place, other_place) in alike {
        if !used[place] && !other_used[other_place] {
            (used[place], other_used[other_place]) = (true, true);
        }
    }
    shorter.len() >= 2 && used.iter().all(|used| *used)
}

fn parts(latin: &str) -> Vec<&str> {
    latin.split(' ').filter(|part| part.len() > 1 && !PARTICLES.contains(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_orders_and_missing_parts_are_variants_and_other_names_are_not() {
        for (one, other, expected) in [
            ("EXAMPLE, Viktor", "Victor Exampel", true),
            ("AL-NURISTANI, 'Abd al-Aziz", "NURISTANI, Abdul Aziz", true),
            ("POUR NAGHSHBAND, Hossein", "POURNAGHSHBAND, Hossein", true),
            ("EXAMPLE, Viktor Ivan", "EXAMPLE, Viktor", true),
            ("EXAMPLE, Viktor", "ABU FULAN", false),
            ("EXAMPLE, Viktor", "EXAMPLE", false),
            ("EXAMPLE, Viktor", "OTHER, Viktor", false),
        ] {
            assert_eq!(is_variant(one, other), expected, "{one} / {other}");
            assert_eq!(is_variant(other, one), expected, "{other} / {one}");
        }
    }
}
