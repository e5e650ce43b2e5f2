//! Importing people, and having them screened.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use lanyard_client::{Connection, call, item};
use lanyard_core::identity::is_standard;
use lanyard_wire::committee::v1::import_people_request::Step;
use lanyard_wire::committee::v1::{
    ImportMode, ImportPeopleRequest, ImportPeopleResponse, ImportRow, ImportRows, ImportStart,
    Person, ScreenRequest, ScreenResponse,
};
use serde_json::{Value, json};

use crate::context::{self, Context, facts};
use crate::error::CliError;
use crate::holder_faults::{fault_json, fault_lines};
use crate::progress::Progress;
use crate::sending::{answered, messages};
use crate::table::{self, Mapping, Read, RowProblem};

/// Rows in one message.
const MESSAGE: usize = 500;
/// Bad rows shown to a person.
const SHOWN: usize = 25;

/// `lanyard committee import`.
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// The file; docs/FORMATS.md says what it holds.
    csv: PathBuf,
    /// A mapping of a foreign file's columns.
    #[arg(long, value_name = "FILE")]
    columns: Option<PathBuf>,
    /// Import every valid row; without this, nothing is imported if a row is bad.
    #[arg(long)]
    valid_rows: bool,
    /// Only check; change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl ImportArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let env = &context.env;
        let mapping = self.columns.as_ref().map(|path| Mapping::read(&*env.files, path));
        let mapping = mapping.transpose()?;
        // Twice through the file: what is bad in it decides on how the rest is sent.
        let zone = &connection.manifest().time_zone;
        let mut rows = table::Stream::people(env, &self.csv, mapping.as_ref(), zone)?;
        let again = rows.again(env, &self.csv, mapping.as_ref())?;
        let (mut good, mut beyond_standard) = (0, 0_u64);
        for row in rows.by_ref() {
            beyond_standard += u64::from(is_beyond_standard(&row?.1));
            good += 1;
        }
        let (Read { problems, skipped, .. }, bad) = rows.finish();
        let all_or_nothing = !self.valid_rows;
        // With bad rows here, the service still says which others it would refuse, so that one round suffices.
        let dry_run = self.dry_run || (all_or_nothing && bad > 0);
        let mode = if all_or_nothing { ImportMode::AllOrNothing } else { ImportMode::ValidRows };
        let start = ImportStart { mode: mode.into(), dry_run };
        let answer = self.send(context, connection, start, again, good).await?;

        let refused = answer.refused + bad;
        let mut errors = problems;
        errors.extend(answer.errors.iter().map(|error| RowProblem {
            line: error.line,
            column: error.column.clone(),
            problem: error.problem.clone(),
        }));
        errors.sort_by_key(|error| error.line);
        let imported = Imported {
            imported: !self.dry_run && (refused == 0 || !all_or_nothing),
            dry_run: self.dry_run,
            counts: [answer.created, answer.updated, answer.unchanged, refused],
            skipped,
            beyond_standard,
            errors,
        };
        imported.show(context)
    }
}

/// What an import of a roster came to.
pub(crate) struct Imported {
    /// Whether anything was stored.
    pub(crate) imported: bool,
    pub(crate) dry_run: bool,
    /// New, changed, as before, refused.
    pub(crate) counts: [u64; 4],
    pub(crate) skipped: BTreeMap<String, u64>,
    /// Names in scripts that ICAO 9303-3 does not have.
    pub(crate) beyond_standard: u64,
    /// By line.
    pub(crate) errors: Vec<RowProblem>,
}

impl Imported {
    /// Shows it, and fails if rows were refused.
    pub(crate) fn show(&self, context: &Context) -> Result<(), CliError> {
        let [created, updated, unchanged, refused] = self.counts;
        let value = json!({
            "imported": self.imported,
            "created": created, "updated": updated, "unchanged": unchanged,
            "refused": refused, "left_out": self.skipped,
            "names_beyond_standard": self.beyond_standard,
            "errors": self.errors.iter().map(problem_json).collect::<Vec<_>>(),
        });
        context.show(&value, || {
            let done = match (self.imported, self.dry_run) {
                (true, _) => "imported",
                (false, true) => "checked only; nothing was changed",
                (false, false) => {
                    "nothing was imported: mend the rows below, or import the others with --valid-rows"
                }
            };
            let mut text = facts([
                ("result", done.to_owned()),
                ("new", created.to_string()),
                ("changed", updated.to_string()),
                ("as before", unchanged.to_string()),
                ("refused", refused.to_string()),
            ]);
            for (reason, count) in &self.skipped {
                text.push_str(&format!("\n{reason:<22} {count}"));
            }
            let beyond_standard = self.beyond_standard;
            if beyond_standard > 0 {
                text.push_str(&format!(
                    "\n{beyond_standard} names are in scripts that ICAO 9303-3 does not have: transliterated by a library, they \
                     are found less often; give the document's Latin name (latin_name or mrz)"
                ));
            }
            text + &problem_table(&self.errors, refused)
        })?;
        if refused == 0 { Ok(()) } else { Err(CliError::BadRows) }
    }
}

impl ImportArgs {
    async fn send(
        &self,
        context: &Context,
        connection: &Connection,
        start: ImportStart,
        rows: table::Stream<Person>,
        count: u64,
    ) -> Result<ImportPeopleResponse, CliError> {
        let bar = context.progress("importing people", Some(count));
        let first = ImportPeopleRequest { step: Some(Step::Start(start)) };
        let message = {
            let bar = bar.clone();
            move |rows: Vec<(u64, Person)>| {
                bar.inc(rows.len() as u64);
                let rows = rows.into_iter();
                let rows = rows.map(|(line, person)| ImportRow { line, person: Some(person) });
                ImportPeopleRequest { step: Some(Step::Rows(ImportRows { rows: rows.collect() })) }
            }
        };
        let (stream, stopped) = messages(first, &self.csv, rows, count, MESSAGE, message);
        let mut enrolment = connection.enrolment()?;
        let asked = async { Ok(call("import the people", enrolment.import_people(stream).await)?) };
        let answer = answered(asked, stopped).await;
        bar.finish_and_clear();
        answer
    }
}

/// Whether the only name of a person is in a script that travel documents have no rule for.
fn is_beyond_standard(person: &Person) -> bool {
    person.latin_name.is_empty() && !is_standard(&person.full_name)
}

/// A vector in pieces of at most `size`, without copying what is in it.
pub(crate) fn chunks<T>(items: Vec<T>, size: usize) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<T> = items.by_ref().take(size).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}

pub(crate) fn problem_json(problem: &RowProblem) -> Value {
    json!({ "line": problem.line, "column": problem.column, "problem": problem.problem })
}

/// Bad rows for a person; empty if there are none.
pub(crate) fn problem_table(problems: &[RowProblem], total: u64) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let rows = problems
        .iter()
        .take(SHOWN)
        .map(|problem| [problem.line.to_string(), problem.column.clone(), problem.problem.clone()]);
    let mut text = format!("\n{}", context::table(["line", "column", "problem"], rows));
    let shown = problems.len().min(SHOWN) as u64;
    if total > shown {
        text.push_str(&format!("\nand {} more; --json shows up to a thousand", total - shown));
    }
    text
}

/// `lanyard committee screen`.
#[derive(Args)]
pub(crate) struct ScreenArgs {
    /// Wait at most so many seconds for all verdicts, which the police release after a delay.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u32,
}

impl ScreenArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        const WHAT: &str = "have people screened";
        let request = ScreenRequest { wait_seconds: self.wait };
        let mut stream = call(WHAT, connection.enrolment()?.screen(request).await)?;
        let mut progress = Progress::new(context, "screening", 0);
        let mut last = ScreenResponse::default();
        while let Some(state) = item(WHAT, stream.message().await)? {
            last = state;
            follow(&mut progress, &last);
        }
        progress.finish();
        let value = json!({
            "screened": last.submitted, "total": last.total, "cleared": last.cleared,
            "refused": last.refused, "pending": last.pending, "without_key": last.without_key,
            "evaluations": last.evaluations, "finished": last.finished,
            "holder_faults": fault_json(&last.holder_faults),
        });
        context.show(&value, || {
            facts([
                ("submitted now", last.submitted.to_string()),
                ("cleared", last.cleared.to_string()),
                ("refused", last.refused.to_string()),
                ("without a verdict", last.pending.to_string()),
                ("without any key", last.without_key.to_string()),
            ]) + &fault_lines(&last.holder_faults)
        })?;
        if last.finished { Ok(()) } else { Err(CliError::Negative) }
    }
}

fn follow(progress: &mut Progress, state: &ScreenResponse) {
    let done = state.submitted + state.without_key;
    if done < state.total {
        progress.part("screening", state.total);
        progress.set(done);
    } else {
        let known = state.cleared + state.refused;
        progress.part("waiting for verdicts", known + state.pending);
        progress.set(known);
    }
}
