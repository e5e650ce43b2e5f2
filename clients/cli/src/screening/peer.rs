//! The peer: fuzzy matchers of the `strsim` crate on plaintext names, where the dates may be the same.

use std::collections::HashMap;

use lanyard_core::identity::{BirthDate, Facts};
use strsim::{jaro_winkler, normalized_damerau_levenshtein};

/// How alike two names are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// Jaro-Winkler of the names with their parts in alphabetical order.
    JaroWinkler,
    /// Damerau-Levenshtein, likewise.
    DamerauLevenshtein,
    /// Each part of the shorter name with the most alike of the other by Jaro-Winkler, on average.
    Parts,
}

impl Measure {
    pub(super) const ALL: [Self; 3] = [Self::JaroWinkler, Self::DamerauLevenshtein, Self::Parts];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::JaroWinkler => "Jaro-Winkler",
            Self::DamerauLevenshtein => "Damerau-Levenshtein",
            Self::Parts => "Jaro-Winkler of parts",
        }
    }

    fn of_names(self, one: &str, other: &str) -> f64 {
        match self {
            Self::JaroWinkler => jaro_winkler(one, other),
            Self::DamerauLevenshtein => normalized_damerau_levenshtein(one, other),
            Self::Parts => {
                let (one, other): (Vec<_>, Vec<_>) =
                    (one.split(' ').collect(), other.split(' ').collect());
                let (shorter, longer) =
                    if one.len() <= other.len() { (one, other) } else { (other, one) };
                let best = |part: &&str| {
                    longer.iter().map(|other| jaro_winkler(part, other)).fold(0.0, f64::max)
                };
                shorter.iter().map(best).sum::<f64>() / shorter.len() as f64
            }
        }
    }

    /// The score of the most alike names; 0 if the dates cannot be the same, or one is not known.
    pub(super) fn score(self, person: &Facts, entry: &Facts) -> f64 {
        let (one, two) = (&person.birth_dates, &entry.birth_dates);
        if one.is_empty() || two.is_empty() || !one.may_agree(two) {
            return 0.0;
        }
        self.best(person, entry)
    }

    fn best(self, person: &Facts, entry: &Facts) -> f64 {
        let pairs =
            person.names.iter().flat_map(|one| entry.names.iter().map(move |two| (one, two)));
        pairs.map(|(one, two)| self.of_names(one.as_str(), two.as_str())).fold(0.0, f64::max)
    }
}

/// A list's entries by what is known of their dates.
pub(super) struct Entries<'a> {
    entries: &'a [Facts],
    by_day: HashMap<BirthDate, Vec<usize>>,
    vague: Vec<usize>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(entries: &'a [Facts]) -> Self {
        let mut by_day: HashMap<BirthDate, Vec<usize>> = HashMap::new();
        let mut vague = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            let days = entry.birth_dates.days();
            for day in days.iter().copied().chain(days.iter().filter_map(|day| day.swapped())) {
                by_day.entry(day).or_default().push(place);
            }
            if entry.birth_dates.is_partial() {
                vague.push(place);
            }
        }
        Self { entries, by_day, vague }
    }

    /// The highest score of each person, highest first; those of 0 are left out.
    pub(super) fn scores(&self, measure: Measure, people: &[Facts]) -> Vec<f64> {
        let score = |person: &Facts| {
            let days = person.birth_dates.days();
            let of_day = days.iter().filter_map(|day| self.by_day.get(day)).flatten();
            let all = if person.birth_dates.is_partial() { 0..self.entries.len() } else { 0..0 };
            let candidates = of_day.chain(&self.vague).copied().chain(all);
            candidates.map(|place| measure.score(person, &self.entries[place])).fold(0.0, f64::max)
        };
        let mut scores: Vec<f64> = people.iter().map(score).filter(|score| *score > 0.0).collect();
        scores.sort_by(|one, two| two.total_cmp(one));
        scores
    }
}

/// The lowest threshold that at most `budget` of the scores, highest first, exceed.
pub(super) fn threshold(scores: &[f64], budget: usize) -> f64 {
    scores.get(budget).copied().unwrap_or(0.0)
}

/// The threshold at which recall and precision on pairs are best together (the harmonic mean); scores with whether both are
/// one person.
pub(super) fn best_threshold(scores: &[(f64, bool)]) -> f64 {
    let all = scores.iter().filter(|(_, same)| *same).count();
    let mut sorted = scores.to_vec();
    sorted.sort_by(|one, two| two.0.total_cmp(&one.0));
    let (mut best, mut at) = (0.0, 1.0);
    let mut found = 0;
    for (place, (_, same)) in sorted.iter().enumerate() {
        found += usize::from(*same);
        let next = sorted.get(place + 1).map_or(0.0, |next| next.0);
        let harmonic = 2.0 * found as f64 / (all + place + 1) as f64;
        if next < sorted[place].0 && harmonic > best {
            (best, at) = (harmonic, next);
        }
    }
    at
}
