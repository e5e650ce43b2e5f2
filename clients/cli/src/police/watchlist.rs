//! Importing and showing watchlists.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use lanyard_client::{Connection, call, item};
use lanyard_core::ids::Timestamp;
use lanyard_wire::police::v1::import_watchlist_request::Step;
use lanyard_wire::police::v1::{
    ImportEntries, ImportStart, ImportWatchlistRequest, ImportWatchlistResponse, ListEntry,
    ListWatchlistsRequest,
};
use serde_json::json;

use crate::committee::import::{chunks, problem_json, problem_table};
use crate::context::{Context, facts, table, time};
use crate::error::CliError;
use crate::table::{Mapping, Read, RowProblem, Sheet, watchlist};

/// Entries in one message.
const MESSAGE: usize = 200;

/// `lanyard police watchlist`.
#[derive(Args)]
pub(crate) struct WatchlistArgs {
    #[command(subcommand)]
    command: WatchlistCommand,
}

#[derive(Subcommand)]
enum WatchlistCommand {
    /// Import a list, in the place of the one of its name; entries are kept as pseudonyms with their labels.
    Import(ImportArgs),
    /// Show the lists and their sizes.
    List,
}

#[derive(Args)]
struct ImportArgs {
    /// The file; docs/FORMATS.md says what it holds.
    csv: PathBuf,
    /// A mapping of a foreign file's columns.
    #[arg(long, value_name = "FILE")]
    columns: Option<PathBuf>,
    /// Where the files lie that the mapping joins, if not beside the list.
    #[arg(long, value_name = "DIR")]
    join_dir: Option<PathBuf>,
    /// The list's name; without it, the file's.
    #[arg(long, value_name = "NAME")]
    list: Option<String>,
    /// Import what is good; without this, nothing is imported if a row has a bad value.
    #[arg(long)]
    valid_rows: bool,
}

impl WatchlistArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        match self.command {
            WatchlistCommand::Import(args) => args.run(context, connection).await,
            WatchlistCommand::List => list(context, connection).await,
        }
    }
}

impl ImportArgs {
    async fn run(self, context: &Context, connection: &Connection) -> Result<(), CliError> {
        let files = &*context.env.files;
        let mapping = self.columns.as_ref().map(|path| Mapping::read(files, path)).transpose()?;
        let (delimiter, header) =
            mapping.as_ref().map_or((',', true), |mapping| (mapping.delimiter, mapping.header));
        let sheet = Sheet::read(files, &self.csv, delimiter, header)?;
        let read = watchlist(files, &sheet, mapping.as_ref(), self.join_dir.as_deref())?;
        drop(sheet);
        let list = match self.list {
            Some(list) => list,
            None => {
                let stem = self.csv.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                stem.ok_or_else(|| CliError::option("--list", "give the list a name"))?
            }
        };
        let Read { rows, problems, skipped } = read;
        if !problems.is_empty() && !self.valid_rows {
            return refuse(context, &list, &problems);
        }
        let answer = send(context, connection, &list, rows).await?;
        show(context, &list, &answer, problems, skipped)
    }
}

/// Says which rows are bad; nothing was sent.
fn refuse(context: &Context, list: &str, problems: &[RowProblem]) -> Result<(), CliError> {
    let value = json!({
        "list": list, "finished": false,
        "errors": problems.iter().map(problem_json).collect::<Vec<_>>(),
    });
    context.show(&value, || {
        let what =
            "nothing was imported: mend the rows below, or import the rest with --valid-rows";
        what.to_owned() + &problem_table(problems, problems.len() as u64)
    })?;
    Err(CliError::BadRows)
}

async fn send(
    context: &Context,
    connection: &Connection,
    list: &str,
    rows: Vec<(u64, ListEntry)>,
) -> Result<ImportWatchlistResponse, CliError> {
    const WHAT: &str = "import the watchlist";
    let first =
        ImportWatchlistRequest { step: Some(Step::Start(ImportStart { list: list.to_owned() })) };
    let messages = chunks(rows, MESSAGE).map(|chunk| {
        let entries = chunk.into_iter().map(|(_, entry)| entry).collect();
        ImportWatchlistRequest { step: Some(Step::Entries(ImportEntries { entries })) }
    });
    let stream = tokio_stream::iter(std::iter::once(first).chain(messages));
    let bar = context.progress("computing keys", None);
    let mut answers = call(WHAT, connection.watchlists()?.import_watchlist(stream).await)?;
    let mut last = ImportWatchlistResponse::default();
    while let Some(answer) = item(WHAT, answers.message().await)? {
        bar.set_position(answer.keys);
        last = answer;
    }
    bar.finish_and_clear();
    Ok(last)
}

fn show(
    context: &Context,
    list: &str,
    answer: &ImportWatchlistResponse,
    mut problems: Vec<RowProblem>,
    mut skipped: BTreeMap<String, u64>,
) -> Result<(), CliError> {
    for value in &answer.skipped {
        *skipped.entry(value.reason.clone()).or_default() += value.count;
    }
    problems.extend(answer.errors.iter().map(|error| RowProblem {
        line: error.line,
        column: error.column.clone(),
        problem: error.problem.clone(),
    }));
    problems.sort_by_key(|problem| problem.line);
    let value = json!({
        "list": list, "entries": answer.entries, "keys": answer.keys,
        "without_key": answer.without_key, "matches": answer.matches, "left_out": skipped,
        "finished": answer.finished,
        "errors": problems.iter().map(problem_json).collect::<Vec<_>>(),
    });
    context.show(&value, || {
        let mut text = facts([
            ("list", list.to_owned()),
            ("entries", answer.entries.to_string()),
            ("keys", answer.keys.to_string()),
            ("entries without key", answer.without_key.to_string()),
            ("subjects that match", answer.matches.to_string()),
        ]);
        if !skipped.is_empty() {
            let rows = skipped.iter().map(|(reason, count)| [reason.clone(), count.to_string()]);
            text.push_str(&format!("\n{}", table(["left out", "count"], rows)));
        }
        text + &problem_table(&problems, problems.len() as u64)
    })?;
    if !answer.finished {
        return Err(CliError::Negative);
    }
    if problems.is_empty() { Ok(()) } else { Err(CliError::BadRows) }
}

async fn list(context: &Context, connection: &Connection) -> Result<(), CliError> {
    let answer = connection.watchlists()?.list_watchlists(ListWatchlistsRequest {}).await;
    let lists = call("list the watchlists", answer)?.lists;
    let values: Vec<_> = lists
        .iter()
        .map(|list| {
            json!({
                "name": list.name, "entries": list.entries, "keys": list.keys,
                "imported_millis": list.imported_millis,
            })
        })
        .collect();
    context.show(&json!({ "lists": values }), || {
        let rows = lists.iter().map(|list| {
            let imported = time(Timestamp::from_millis(list.imported_millis));
            [list.name.clone(), list.entries.to_string(), list.keys.to_string(), imported]
        });
        table(["list", "entries with a key", "keys", "imported"], rows)
    })
}
