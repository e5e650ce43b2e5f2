//! `lanyard screening evaluate`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use lanyard_core::identity::Facts;
use lanyard_core::ids::EventId;

use super::clean::{Cases, Counts, Index, matched};
use super::input::{self, Pair};
use super::peer::{self, Measure};
use super::report::{self, Clean, Group, Report};
use crate::context::Context;
use crate::error::CliError;
use crate::table::RowProblem;

/// False cases that the peer may make where it is set against a list: 5 in 100,000 people.
pub(super) const BUDGET: usize = 5;

/// `lanyard screening evaluate`.
#[derive(Args)]
pub(super) struct EvaluateArgs {
    /// Pairs of names and dates; docs/SCREENING.md says what it holds.
    #[arg(required_unless_present = "clean")]
    pairs: Option<PathBuf>,
    /// People who are on no list: whoever matches is a false case.
    #[arg(long, value_name = "FILE", requires = "list")]
    clean: Option<PathBuf>,
    /// A mapping of the people's columns.
    #[arg(long, value_name = "FILE")]
    clean_columns: Option<PathBuf>,
    /// The list that they are screened against.
    #[arg(long, value_name = "FILE", requires = "clean")]
    list: Option<PathBuf>,
    /// A mapping of the list's columns.
    #[arg(long, value_name = "FILE")]
    list_columns: Option<PathBuf>,
    /// Where the files lie that the list's mapping joins, if not beside the list.
    #[arg(long, value_name = "DIR")]
    join_dir: Option<PathBuf>,
    /// Go on with the valid rows; without this, nothing is measured if a row is bad.
    #[arg(long)]
    valid_rows: bool,
}

/// What is measured, read.
struct Material {
    pairs: Vec<Pair>,
    people: Vec<Facts>,
    entries: Vec<Facts>,
    problems: Vec<(PathBuf, RowProblem)>,
}

impl EvaluateArgs {
    pub(super) fn run(self, context: &Context) -> Result<(), CliError> {
        let material = self.read(context)?;
        if !material.problems.is_empty() && !self.valid_rows {
            report::show_problems(context, &material.problems)?;
            return Err(CliError::BadRows);
        }
        let event = EventId::parse("evaluation")?;
        let Material { pairs, people, entries, problems } = material;
        let (clean, mut thresholds) = if self.clean.is_some() {
            let (clean, thresholds) = screen(context, &event, &people, &entries);
            (Some(clean), Some(thresholds))
        } else {
            (None, None)
        };
        let scores: Vec<[f64; 3]> = pairs
            .iter()
            .map(|pair| Measure::ALL.map(|measure| measure.score(&pair.left, &pair.right)))
            .collect();
        let thresholds = thresholds.take().unwrap_or_else(|| {
            [0, 1, 2].map(|measure| {
                let of_pair = |(scores, pair): (&[f64; 3], &Pair)| (scores[measure], pair.same);
                peer::best_threshold(&scores.iter().zip(&pairs).map(of_pair).collect::<Vec<_>>())
            })
        });
        let groups = groups(&event, &pairs, &scores, thresholds);
        let report = Report { groups, thresholds, clean, problems };
        report.show(context)?;
        if report.problems.is_empty() { Ok(()) } else { Err(CliError::BadRows) }
    }

    fn read(&self, context: &Context) -> Result<Material, CliError> {
        let mut material = Material {
            pairs: Vec::new(),
            people: Vec::new(),
            entries: Vec::new(),
            problems: Vec::new(),
        };
        let mut keep = |path: &PathBuf, problems: Vec<RowProblem>| {
            let path = path.clone();
            material.problems.extend(problems.into_iter().map(|problem| (path.clone(), problem)));
        };
        if let Some(path) = &self.pairs {
            let read = input::pairs(&*context.env.files, path)?;
            keep(path, read.problems);
            material.pairs = read.rows.into_iter().map(|(_, pair)| pair).collect();
        }
        if let Some(path) = &self.clean {
            let read = input::people(context, path, self.clean_columns.as_deref())?;
            keep(path, read.problems);
            material.people = read.rows.into_iter().map(|(_, facts)| facts).collect();
        }
        if let Some(path) = &self.list {
            let columns = self.list_columns.as_deref();
            let read = input::list(context, path, columns, self.join_dir.as_deref())?;
            keep(path, read.problems);
            material.entries =
                read.rows.iter().map(|(_, entry)| input::entry_facts(entry)).collect();
        }
        Ok(material)
    }
}

/// Innocent people against the list, by keys and by the peer; and the peer's thresholds for its budget.
fn screen(
    context: &Context,
    event: &EventId,
    people: &[Facts],
    entries: &[Facts],
) -> (Clean, [f64; 3]) {
    context.note("computing keys of the list and of the people");
    let index = Index::new(event, entries.iter());
    let (cases, person_keys): (Cases, Counts) = index.screen(people.iter());
    context.note("comparing names in clear, for the peer");
    let indexed = peer::Entries::new(entries);
    let budget = BUDGET * people.len() / 100_000;
    let mut false_cases = [0; 3];
    let mut thresholds = [0.0; 3];
    for (place, measure) in Measure::ALL.into_iter().enumerate() {
        let scores = indexed.scores(measure, people);
        thresholds[place] = peer::threshold(&scores, budget);
        false_cases[place] =
            scores.iter().filter(|score| **score > thresholds[place]).count() as u64;
    }
    let clean = Clean { cases, person_keys, entry_keys: index.counts, peer: false_cases };
    (clean, thresholds)
}

/// Pairs of one kind together: those of one person, then those of two.
fn groups(
    event: &EventId,
    pairs: &[Pair],
    scores: &[[f64; 3]],
    thresholds: [f64; 3],
) -> Vec<Group> {
    let mut groups: BTreeMap<(bool, &str), Group> = BTreeMap::new();
    for (pair, scores) in pairs.iter().zip(scores) {
        let group = groups
            .entry((!pair.same, &pair.kind))
            .or_insert_with(|| Group::new(&pair.kind, pair.same));
        group.pairs += 1;
        if let Some(strength) = matched(event, &pair.left, &pair.right) {
            group.matched.count(strength);
        }
        for (place, score) in scores.iter().enumerate() {
            group.peer[place] += u64::from(*score > thresholds[place]);
        }
    }
    groups.into_values().collect()
}
