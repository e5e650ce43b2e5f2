//! What was measured, as tables and as JSON.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::clean::{Cases, Counts};
use super::evaluate::BUDGET;
use super::interval::clopper_pearson;
use super::peer::Measure;
use super::variant::RULE;
use crate::context::{Context, facts, table};
use crate::error::CliError;
use crate::table::RowProblem;

/// Pairs of one kind, all of one person or all of two.
pub(super) struct Group {
    pub(super) kind: String,
    pub(super) same: bool,
    pub(super) pairs: u64,
    pub(super) matched: Cases,
    /// Matches of each of the peer's measures.
    pub(super) peer: [u64; 3],
}

impl Group {
    pub(super) fn new(kind: &str, same: bool) -> Self {
        Self { kind: kind.to_owned(), same, pairs: 0, matched: Cases::default(), peer: [0; 3] }
    }

    fn add(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.matched.strong += other.matched.strong;
        self.matched.medium += other.matched.medium;
        self.matched.weak += other.matched.weak;
        for (sum, more) in self.peer.iter_mut().zip(other.peer) {
            *sum += more;
        }
    }

    fn rate(&self, matches: u64) -> f64 {
        matches as f64 / self.pairs.max(1) as f64
    }
}

/// Innocent people against a list.
pub(super) struct Clean {
    pub(super) cases: Cases,
    pub(super) person_keys: Counts,
    pub(super) entry_keys: Counts,
    /// False cases of each of the peer's measures.
    pub(super) peer: [u64; 3],
}

/// All of it.
pub(super) struct Report {
    pub(super) groups: Vec<Group>,
    pub(super) thresholds: [f64; 3],
    pub(super) clean: Option<Clean>,
    pub(super) problems: Vec<(PathBuf, RowProblem)>,
}

impl Report {
    pub(super) fn show(&self, context: &Context) -> Result<(), CliError> {
        context.show(&self.json(), || self.text())
    }

    /// All pairs of one person, or of two.
    fn total(&self, same: bool) -> Group {
        let mut total = Group::new("all", same);
        self.groups.iter().filter(|group| group.same == same).for_each(|group| total.add(group));
        total
    }

    fn text(&self) -> String {
        let mut parts = Vec::new();
        if !self.groups.is_empty() {
            parts.push(self.pairs_table());
            parts.push(self.precision());
        }
        if let Some(clean) = &self.clean {
            parts.push(clean.table(&self.thresholds));
        }
        if !self.problems.is_empty() {
            parts.push(problem_table(&self.problems));
        }
        parts.push(format!("variants: {RULE}"));
        parts.join("\n\n")
    }

    fn pairs_table(&self) -> String {
        let (same, other) = (self.total(true), self.total(false));
        let of = |wanted: bool| self.groups.iter().filter(move |group| group.same == wanted);
        let totals =
            |total: &Group| -> Option<[String; 9]> { (total.pairs > 0).then(|| row(total)) };
        let rows =
            of(true).map(row).chain(totals(&same)).chain(of(false).map(row)).chain(totals(&other));
        let [jaro, levenshtein, by_part] = Measure::ALL.map(Measure::name);
        let header = [
            "pairs of",
            "kind",
            "pairs",
            "matched",
            "rate",
            "95 % interval",
            jaro,
            levenshtein,
            by_part,
        ];
        table(header, rows)
    }

    fn precision(&self) -> String {
        let (same, other) = (self.total(true), self.total(false));
        let share = |right: u64, wrong: u64| match right + wrong {
            _ if other.pairs == 0 => "unknown: no pairs of two people".to_owned(),
            0 => "no match".to_owned(),
            all => format!("{:.3}", right as f64 / all as f64),
        };
        let peer = Measure::ALL.iter().enumerate().map(|(place, measure)| {
            let precision = share(same.peer[place], other.peer[place]);
            format!("{} {precision} at {:.3}", measure.name(), self.thresholds[place])
        });
        facts([
            ("precision", share(same.matched.total(), other.matched.total())),
            ("precision of the peer", peer.collect::<Vec<_>>().join(", ")),
            ("peer's thresholds", self.how_set().to_owned()),
        ])
    }

    const fn how_set(&self) -> &'static str {
        match self.clean {
            Some(_) => "the lowest with at most 5 false cases per 100,000 people",
            None => "where recall and precision on these pairs are best together",
        }
    }

    fn json(&self) -> Value {
        let group = |group: &Group| {
            let (low, high) = clopper_pearson(group.matched.total(), group.pairs);
            let peer: Value = Measure::ALL
                .iter()
                .zip(group.peer)
                .map(|(measure, matches)| (measure.name(), group.rate(matches)))
                .collect();
            json!({
                "kind": group.kind, "same": group.same, "pairs": group.pairs,
                "matched": group.matched.total(), "strong": group.matched.strong,
                "medium": group.matched.medium, "weak": group.matched.weak,
                "rate": group.rate(group.matched.total()), "low": low, "high": high, "peer": peer,
            })
        };
        let (same, other) = (self.total(true), self.total(false));
        let matches = same.matched.total() + other.matched.total();
        let precision =
            (matches > 0 && other.pairs > 0).then(|| same.matched.total() as f64 / matches as f64);
        let thresholds: Value =
            Measure::ALL.iter().zip(self.thresholds).map(|(one, at)| (one.name(), at)).collect();
        json!({
            "kinds": self.groups.iter().map(group).collect::<Vec<_>>(),
            "recall": (same.pairs > 0).then(|| group(&same)),
            "false_matches": (other.pairs > 0).then(|| group(&other)),
            "precision": precision,
            "clean": self.clean.as_ref().map(Clean::json),
            "peer": { "thresholds": thresholds, "set": self.how_set() },
            "variants": RULE,
            "problems": self.problems.iter().map(problem_json).collect::<Vec<_>>(),
        })
    }
}

fn row(group: &Group) -> [String; 9] {
    let matched = group.matched.total();
    let (low, high) = clopper_pearson(matched, group.pairs);
    let [jaro, levenshtein, by_part] =
        group.peer.map(|matches| format!("{:.3}", group.rate(matches)));
    [
        if group.same { "one person" } else { "two people" }.to_owned(),
        group.kind.clone(),
        group.pairs.to_string(),
        matched.to_string(),
        format!("{:.3}", group.rate(matched)),
        format!("{low:.3} to {high:.3}"),
        jaro,
        levenshtein,
        by_part,
    ]
}

impl Clean {
    fn per_100k(&self, count: f64) -> f64 {
        count * 100_000.0 / self.person_keys.of.max(1) as f64
    }

    fn interval(&self, cases: u64) -> (f64, f64) {
        let (low, high) = clopper_pearson(cases, self.person_keys.of);
        (low * 100_000.0, high * 100_000.0)
    }

    fn table(&self, thresholds: &[f64; 3]) -> String {
        let row = |who: String, cases: u64, how: String| {
            let (low, high) = self.interval(cases);
            [
                who,
                cases.to_string(),
                format!("{:.1}", self.per_100k(cases as f64)),
                format!("{low:.1} to {high:.1}"),
                how,
            ]
        };
        let Cases { strong, medium, weak } = self.cases;
        let kinds = format!("{strong} strong, {medium} medium, {weak} weak");
        let own = row("identity keys".to_owned(), self.cases.total(), kinds);
        let peer = Measure::ALL.iter().enumerate().map(|(place, measure)| {
            let how = format!("above {:.3}, allowed {BUDGET} per 100,000", thresholds[place]);
            row(measure.name().to_owned(), self.peer[place], how)
        });
        let header = ["people on no list", "false cases", "per 100,000", "95 % interval", "how"];
        let counts = |counts: &Counts| {
            let Counts { of, most, without, .. } = *counts;
            format!(
                "{of}, {:.1} keys on average, {most} at most, {without} without a key",
                counts.average()
            )
        };
        let sizes = facts([
            ("people", counts(&self.person_keys)),
            ("list entries", counts(&self.entry_keys)),
        ]);
        format!("{}\n{sizes}", table(header, std::iter::once(own).chain(peer)))
    }

    fn json(&self) -> Value {
        let counts = |counts: &Counts| {
            json!({
                "count": counts.of, "keys": counts.keys, "most_keys": counts.most,
                "average_keys": counts.average(), "without_key": counts.without,
            })
        };
        let (low, high) = self.interval(self.cases.total());
        let peer: Value = Measure::ALL
            .iter()
            .zip(self.peer)
            .map(|(measure, cases)| (measure.name(), self.per_100k(cases as f64)))
            .collect();
        json!({
            "people": counts(&self.person_keys), "entries": counts(&self.entry_keys),
            "false_cases": self.cases.total(), "strong": self.cases.strong,
            "medium": self.cases.medium, "weak": self.cases.weak,
            "per_100k": self.per_100k(self.cases.total() as f64), "low": low, "high": high,
            "peer_per_100k": peer,
        })
    }
}

/// Shows bad rows, and that nothing was measured.
pub(super) fn show_problems(
    context: &Context,
    problems: &[(PathBuf, RowProblem)],
) -> Result<(), CliError> {
    let value = json!({ "problems": problems.iter().map(problem_json).collect::<Vec<_>>() });
    context.show(&value, || {
        let what =
            "nothing was measured: mend the rows below, or go on without them with --valid-rows";
        format!("{what}\n{}", problem_table(problems))
    })
}

fn problem_json((path, problem): &(PathBuf, RowProblem)) -> Value {
    json!({
        "file": path.display().to_string(), "line": problem.line, "column": problem.column,
        "problem": problem.problem,
    })
}

fn problem_table(problems: &[(PathBuf, RowProblem)]) -> String {
    let rows = problems.iter().map(|(path, problem)| {
        let RowProblem { line, column, problem } = problem;
        [path.display().to_string(), line.to_string(), column.clone(), problem.clone()]
    });
    table(["file", "line", "column", "problem"], rows)
}
