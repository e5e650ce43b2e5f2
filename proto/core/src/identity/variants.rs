//! Variants: weak identity keys, by which a name that is spelt otherwise or lacks a part still matches.
//!
//! Each is a rule, what is known of the birth date, and some parts of the name by their sound. Persons give few and list
//! entries many: what may be missing, swapped or unknown is spelt out on the list's side, once for all persons. What rules
//! ask of a name is fixed by measurement (`docs/SCREENING.md`).

use super::sound::Part;
use super::{BirthDate, BirthDates, Name};

/// Letters of the loose codes that pairs keep.
const LOOSE: usize = 4;
/// Weight of two parts for a key with a full date.
const PAIR_WEIGHT: usize = 6;
/// Weight of the part beside which the initial of another suffices.
const INITIAL_WEIGHT: usize = 8;
/// Weight of parts for a key with a year.
const PARTIAL_WEIGHT: usize = 8;
/// Weight of a whole name for a key with two of day, month and year.
const TYPO_WEIGHT: usize = 9;
/// Letters of a name that may stand as it is, in its normal form, where its sound weighs too little for a part of the date.
const EXACT_LETTERS: usize = 9;
/// Weight and number of parts for a key without a date.
const UNDATED: (usize, usize) = (12, 3);
/// Parts of an entry's name that are combined: the weightiest.
const PARTS: usize = 6;

/// By what names and dates agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    /// Two parts, loosely, and the full date.
    Pair = 1,
    /// One part, the first sound of another, and the full date.
    Initial = 2,
    /// The person's whole name and two of day, month and year.
    Typo = 3,
    /// Two parts and a year: the list knows no more.
    Year = 4,
    /// The person's whole name and a year: the list knows no more.
    YearWhole = 5,
    /// Two parts and a year: the person's date is not known in full.
    PersonYear = 6,
    /// The person's whole name and a year: the person's date is not known in full.
    PersonYearWhole = 7,
    /// The person's whole name: the list has no date.
    Undated = 8,
    /// The person's whole name: the person has no date.
    PersonUndated = 9,
}

/// The fields of one weak key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variant {
    rule: Rule,
    date: String,
    parts: Vec<String>,
}

impl Variant {
    /// As fields of a key: rule, date, parts.
    pub(super) fn with_fields<T>(&self, use_fields: impl FnOnce(&[&[u8]]) -> T) -> T {
        let rule = [self.rule as u8];
        let mut fields: Vec<&[u8]> = vec![&rule, self.date.as_bytes()];
        fields.extend(self.parts.iter().map(|part| part.as_bytes()));
        use_fields(&fields)
    }
}

/// A combination of parts, and its weight.
type Weighed = (usize, Vec<String>);

/// The weak keys of a person, the most telling first; at most `limit`.
pub(super) fn of_person(names: &[Name], dates: &BirthDates, limit: usize) -> Vec<Variant> {
    let mut tiers: Vec<Vec<Variant>> = Vec::new();
    for name in names {
        for (tier, variants) in person_tiers(name, dates).into_iter().enumerate() {
            match tiers.get_mut(tier) {
                Some(earlier) => earlier.extend(variants),
                None => tiers.push(variants),
            }
        }
    }
    let mut kept: Vec<Variant> = Vec::with_capacity(limit);
    for variant in tiers.into_iter().flatten() {
        if kept.len() < limit && !kept.contains(&variant) {
            kept.push(variant);
        }
    }
    kept
}

fn person_tiers(name: &Name, dates: &BirthDates) -> Vec<Vec<Variant>> {
    let parts = name.parts();
    let (days, vague) = (dates.days(), dates.partial_years());
    let full = |rule, found: &[Weighed]| each(rule, &texts(&days), found);
    let (pairs, joined) = (pairs(parts), joined(parts));
    let initials = initials(parts);
    let (tight, whole) = (tight_pairs(parts), whole(parts));
    let (by_year, by_typo) =
        (or_exact(PARTIAL_WEIGHT, &whole, name), or_exact(TYPO_WEIGHT, &whole, name));
    let years: Vec<u16> = days.iter().map(|day| day.year()).collect();
    let typos: Vec<String> = days.iter().flat_map(|day| partly(*day)).collect();
    let undated = whole
        .iter()
        .filter(|(weight, parts)| is_undated(*weight, parts))
        .cloned()
        .collect::<Vec<_>>();
    let undated_rule = if dates.is_empty() { Rule::PersonUndated } else { Rule::Undated };
    let (first_pairs, other_pairs) = pairs.split_at(pairs.len().min(6));
    let (first_tight, other_tight) = tight.split_at(tight.len().min(3));
    let (first_initials, other_initials) = initials.split_at(initials.len().min(2));
    let (first_joined, other_joined) = joined.split_at(joined.len().min(2));
    vec![
        full(Rule::Pair, first_pairs),
        each(Rule::PersonYearWhole, &texts(&vague), &by_year),
        each(Rule::Year, &texts(&years), first_tight),
        each(Rule::YearWhole, &texts(&years), &by_year),
        each(Rule::PersonYear, &texts(&vague), first_tight),
        each(undated_rule, &[String::new()], &undated),
        full(Rule::Initial, first_initials),
        full(Rule::Pair, first_joined),
        each(Rule::Typo, &typos, &by_typo),
        full(Rule::Pair, other_pairs),
        full(Rule::Initial, other_initials),
        full(Rule::Pair, other_joined),
        each(Rule::Year, &texts(&years), other_tight),
        each(Rule::PersonYear, &texts(&vague), other_tight),
    ]
}

/// The weak keys of a list's entry under one of its names, not sorted, perhaps some twice.
pub(super) fn of_entry(name: &Name, dates: &BirthDates) -> Vec<Variant> {
    let parts = weightiest(name.parts());
    let days = dates.days();
    let swapped = days.iter().filter_map(|day| day.swapped());
    let in_months = dates.months().flat_map(|(year, month)| {
        (1..=31).filter_map(move |day| BirthDate::new(year, month, day).ok())
    });
    let full: Vec<String> =
        days.iter().copied().chain(swapped).chain(in_months).map(|day| day.to_string()).collect();
    let typos: Vec<String> = days.iter().flat_map(|day| partly(*day)).collect();
    let (vague, years) = (texts(&dates.partial_years()), texts(&dates.years()));
    let (tight, subsets) = (tight_pairs(&parts), subsets(&parts));
    let undated: Vec<Weighed> =
        subsets.iter().filter(|(weight, parts)| is_undated(*weight, parts)).cloned().collect();
    let exact = exact(name);
    let nothing = [String::new()];
    let mut variants = each(Rule::Pair, &full, &pairs(&parts));
    variants.extend(each(Rule::Pair, &full, &joined(&parts)));
    variants.extend(each(Rule::Initial, &full, &initials(&parts)));
    variants.extend(each(Rule::Typo, &typos, &at_least(TYPO_WEIGHT, &subsets)));
    variants.extend(each(Rule::Typo, &typos, &exact));
    variants.extend(each(Rule::Year, &vague, &tight));
    variants.extend(each(Rule::YearWhole, &vague, &subsets));
    variants.extend(each(Rule::YearWhole, &vague, &exact));
    variants.extend(each(Rule::PersonYear, &years, &tight));
    variants.extend(each(Rule::PersonYearWhole, &years, &subsets));
    variants.extend(each(Rule::PersonYearWhole, &years, &exact));
    variants.extend(each(Rule::PersonUndated, &nothing, &undated));
    if dates.is_empty() {
        variants.extend(each(Rule::Undated, &nothing, &undated));
    }
    variants
}

fn each(rule: Rule, dates: &[String], found: &[Weighed]) -> Vec<Variant> {
    let of_date = |date: &String| {
        let date = date.clone();
        found.iter().map(move |(_, parts)| Variant {
            rule,
            date: date.clone(),
            parts: parts.clone(),
        })
    };
    dates.iter().flat_map(of_date).collect()
}

fn texts<T: ToString>(dates: &[T]) -> Vec<String> {
    dates.iter().map(ToString::to_string).collect()
}

/// A date with one of its three numbers left open.
fn partly(day: BirthDate) -> [String; 3] {
    let (year, month, date) = (day.year(), day.month(), day.day());
    [
        format!("{year:04}-{month:02}-*"),
        format!("{year:04}-*-{date:02}"),
        format!("*-{month:02}-{date:02}"),
    ]
}

const fn is_undated(weight: usize, parts: &[String]) -> bool {
    weight >= UNDATED.0 && parts.len() >= UNDATED.1
}

/// A whole name by its sound if that weighs enough, else as it is.
fn or_exact(weight: usize, whole: &[Weighed], name: &Name) -> Vec<Weighed> {
    let found = at_least(weight, whole);
    if found.is_empty() { exact(name) } else { found }
}

/// A name of two parts or more as it is, if it is long enough.
fn exact(name: &Name) -> Vec<Weighed> {
    let letters = name.as_str().bytes().filter(|byte| *byte != b' ').count();
    let telling = letters >= EXACT_LETTERS && name.as_str().contains(' ');
    telling.then(|| (letters, vec![name.as_str().to_owned()])).into_iter().collect()
}

fn at_least(weight: usize, found: &[Weighed]) -> Vec<Weighed> {
    found.iter().filter(|(found, _)| *found >= weight).cloned().collect()
}

/// The weightiest parts, in their order.
fn weightiest(parts: &[Part]) -> Vec<Part> {
    let mut places: Vec<usize> = (0..parts.len()).collect();
    places.sort_by_key(|place| std::cmp::Reverse(parts[*place].weight));
    places.truncate(PARTS);
    places.sort_unstable();
    places.into_iter().map(|place| parts[place].clone()).collect()
}

/// Combinations, the weightiest first, each once.
fn ranked(mut found: Vec<Weighed>) -> Vec<Weighed> {
    found.sort_by(|one, two| two.0.cmp(&one.0).then_with(|| one.1.cmp(&two.1)));
    found.dedup_by(|one, two| one.1 == two.1);
    found
}

fn sorted<const N: usize>(mut parts: [String; N]) -> Vec<String> {
    parts.sort_unstable();
    parts.into()
}

fn short(code: &str) -> String {
    code.chars().take(LOOSE).collect()
}

/// Loose codes of every two parts; a name of one part is alone.
fn pairs(parts: &[Part]) -> Vec<Weighed> {
    if let [only] = parts {
        return vec![(only.weight, vec![only.tight.clone()])];
    }
    let pair = |(one, two): (&Part, &Part)| {
        (one.weight + two.weight, sorted([short(&one.loose), short(&two.loose)]))
    };
    ranked(every_two(parts).map(pair).filter(|(weight, _)| *weight >= PAIR_WEIGHT).collect())
}

/// The same with two neighbours as one part: `Pyong Chol` as `Pyongchol`.
fn joined(parts: &[Part]) -> Vec<Weighed> {
    let mut found = Vec::new();
    for place in 1..parts.len() {
        let (one, two) = (&parts[place - 1], &parts[place]);
        let both = short(&format!("{}{}", one.loose, two.loose));
        for (other_place, other) in parts.iter().enumerate() {
            if other_place != place && other_place + 1 != place {
                let weight = one.weight + two.weight + other.weight;
                found.push((weight, sorted([both.clone(), short(&other.loose)])));
            }
        }
    }
    ranked(found.into_iter().filter(|(weight, _)| *weight >= PAIR_WEIGHT).collect())
}

/// The tight code of a weighty part with the first sound of another, in this order.
fn initials(parts: &[Part]) -> Vec<Weighed> {
    let mut found = Vec::new();
    for (place, part) in parts.iter().enumerate().filter(|(_, part)| part.weight >= INITIAL_WEIGHT)
    {
        for (other_place, other) in parts.iter().enumerate() {
            if other_place != place {
                let initial = other.tight.chars().take(1).collect();
                found.push((part.weight, vec![part.tight.clone(), initial]));
            }
        }
    }
    ranked(found)
}

/// Tight codes of every two parts.
fn tight_pairs(parts: &[Part]) -> Vec<Weighed> {
    let pair = |(one, two): (&Part, &Part)| {
        (one.weight + two.weight, sorted([one.tight.clone(), two.tight.clone()]))
    };
    ranked(every_two(parts).map(pair).filter(|(weight, _)| *weight >= PARTIAL_WEIGHT).collect())
}

fn every_two(parts: &[Part]) -> impl Iterator<Item = (&Part, &Part)> {
    parts
        .iter()
        .enumerate()
        .flat_map(|(place, one)| parts[place + 1..].iter().map(move |two| (one, two)))
}

/// Tight codes of all parts together, if they weigh enough.
fn whole(parts: &[Part]) -> Vec<Weighed> {
    let weighed = weigh(&parts.iter().collect::<Vec<_>>());
    if parts.len() >= 2 && weighed.0 >= PARTIAL_WEIGHT { vec![weighed] } else { Vec::new() }
}

/// The same for all parts and for every two or more of them: whichever the person's name has.
fn subsets(parts: &[Part]) -> Vec<Weighed> {
    let chosen = |set: u32| {
        let parts = parts.iter().enumerate().filter(move |(place, _)| set >> place & 1 == 1);
        parts.map(|(_, part)| part).collect::<Vec<_>>()
    };
    let sets = (0..1_u32 << parts.len()).filter(|set| set.count_ones() >= 2).map(chosen);
    ranked(
        sets.map(|parts| weigh(&parts)).filter(|(weight, _)| *weight >= PARTIAL_WEIGHT).collect(),
    )
}

fn weigh(parts: &[&Part]) -> Weighed {
    let mut codes: Vec<String> = parts.iter().map(|part| part.tight.clone()).collect();
    codes.sort_unstable();
    (parts.iter().map(|part| part.weight).sum(), codes)
}
