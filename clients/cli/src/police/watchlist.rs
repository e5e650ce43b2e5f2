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
use prost::Message as _;
use serde_json::json;

use crate::committee::import::{problem_json, problem_table};
use crate::context::{self, Context, facts, time};
use crate::error::CliError;
use crate::holder_faults::{fault_json, fault_lines};
use crate::progress::Progress;
use crate::sending::{answered, messages};
use crate::table::{self, Mapping, Read, RowProblem};

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
    /// Import a list, in the place of the one of its name; entries are kept as pseudonyms with their labels. Broken off, it
    /// goes on where it was when it is started again with the same file.
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
        let env = &context.env;
        let mapping = self.columns.as_ref().map(|path| Mapping::read(&*env.files, path));
        let mapping = mapping.transpose()?;
        // Twice through the file: its entries, counted and named by their hash, are what an import goes on with.
        let join_dir = self.join_dir.as_deref();
        let mut rows = table::Stream::watchlist(env, &self.csv, mapping.as_ref(), join_dir)?;
        let again = rows.again(env, &self.csv, mapping.as_ref())?;
        let (mut entries, mut content) = (0, blake3::Hasher::new());
        for row in rows.by_ref() {
            content.update(&row?.1.encode_length_delimited_to_vec());
            entries += 1;
        }
        let (Read { problems, skipped, .. }, bad) = rows.finish();
        let list = match &self.list {
            Some(list) => list.clone(),
            None => {
                let stem = self.csv.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                stem.ok_or_else(|| CliError::option("--list", "give the list a name"))?
            }
        };
        if bad > 0 && !self.valid_rows {
            return refuse(context, &list, &problems, bad);
        }
        let content = content.finalize().as_bytes().to_vec();
        let start = ImportStart { list: list.clone(), content, entries };
        let answer = self.send(context, connection, start, again).await?;
        show(context, &list, &answer, (problems, bad), skipped)
    }

    async fn send(
        &self,
        context: &Context,
        connection: &Connection,
        start: ImportStart,
        rows: table::Stream<ListEntry>,
    ) -> Result<ImportWatchlistResponse, CliError> {
        const WHAT: &str = "import the watchlist";
        let count = start.entries;
        let first = ImportWatchlistRequest { step: Some(Step::Start(start)) };
        let message = |rows: Vec<(u64, ListEntry)>| {
            let entries = rows.into_iter().map(|(_, entry)| entry).collect();
            ImportWatchlistRequest { step: Some(Step::Entries(ImportEntries { entries })) }
        };
        let (stream, stopped) = messages(first, &self.csv, rows, count, MESSAGE, message);
        let mut watchlists = connection.watchlists()?;
        let mut progress = Progress::new(context, "importing the watchlist", count);
        let asked = async {
            let mut answers = call(WHAT, watchlists.import_watchlist(stream).await)?;
            let mut last = ImportWatchlistResponse::default();
            while let Some(answer) = item(WHAT, answers.message().await)? {
                progress.set(answer.entries);
                last = answer;
            }
            Ok(last)
        };
        let answer = answered(asked, stopped).await;
        progress.finish();
        answer
    }
}

/// Says which rows are bad; nothing was sent.
fn refuse(
    context: &Context,
    list: &str,
    problems: &[RowProblem],
    bad: u64,
) -> Result<(), CliError> {
    let value = json!({
        "list": list, "finished": false,
        "errors": problems.iter().map(problem_json).collect::<Vec<_>>(),
    });
    context.show(&value, || {
        let what =
            "nothing was imported: mend the rows below, or import the rest with --valid-rows";
        what.to_owned() + &problem_table(problems, bad)
    })?;
    Err(CliError::BadRows)
}

fn show(
    context: &Context,
    list: &str,
    answer: &ImportWatchlistResponse,
    (mut problems, bad): (Vec<RowProblem>, u64),
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
        "resumed": answer.resumed, "evaluations": answer.evaluations,
        "finished": answer.finished, "holder_faults": fault_json(&answer.holder_faults),
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
            text.push_str(&format!("\n{}", context::table(["left out", "count"], rows)));
        }
        text.push_str(&fault_lines(&answer.holder_faults));
        text + &problem_table(&problems, bad + answer.errors.len() as u64)
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
        context::table(["list", "entries with a key", "keys", "imported"], rows)
    })
}
