//! Importing staff.

use std::path::PathBuf;

use clap::Args;
use lanyard_client::{Connection, call};
use lanyard_wire::staff::v1::import_staff_request::Step;
use lanyard_wire::staff::v1::{ImportMode, ImportRow, ImportRows, ImportStaffRequest, ImportStart};

use crate::committee::import::{Imported, chunks};
use crate::context::Context;
use crate::error::CliError;
use crate::table::{Read, RowProblem, Sheet, staff};

/// Rows in one message.
const MESSAGE: usize = 500;

/// `lanyard police staff import`.
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// The file; docs/FORMATS.md says what it holds.
    csv: PathBuf,
    /// Import every valid row; without this, nothing is imported if a row is bad.
    #[arg(long)]
    valid_rows: bool,
    /// Only check; change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl ImportArgs {
    pub(super) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let sheet = Sheet::read(&*context.env.files, &self.csv, ',', true)?;
        let Read { rows, mut problems, skipped } =
            staff(&sheet, &connection.manifest().time_zone, context.env.now())?;
        drop(sheet);
        let all_or_nothing = !self.valid_rows;
        let refused_here = problems.len() as u64;
        // With bad rows here, the service still says which others it would refuse, so that one round suffices.
        let dry_run = self.dry_run || (all_or_nothing && refused_here > 0);
        let mode = if all_or_nothing { ImportMode::AllOrNothing } else { ImportMode::ValidRows };
        let first = Step::Start(ImportStart { mode: mode.into(), dry_run });
        let messages = chunks(rows, MESSAGE).map(|chunk| {
            let rows = chunk.into_iter();
            let rows = rows.map(|(line, member)| ImportRow { line, member: Some(member) });
            Step::Rows(ImportRows { rows: rows.collect() })
        });
        let steps = std::iter::once(first).chain(messages);
        let steps = steps.map(|step| ImportStaffRequest { step: Some(step) });
        let answer = connection.staff()?.import_staff(tokio_stream::iter(steps)).await;
        let answer = call("import the staff", answer)?;

        let refused = answer.refused + refused_here;
        problems.extend(answer.errors.iter().map(|error| RowProblem {
            line: error.line,
            column: error.column.clone(),
            problem: error.problem.clone(),
        }));
        problems.sort_by_key(|error| error.line);
        let imported = Imported {
            imported: !self.dry_run && (refused == 0 || !all_or_nothing),
            dry_run: self.dry_run,
            counts: [answer.created, answer.updated, answer.unchanged, refused],
            skipped,
            beyond_standard: 0,
            errors: problems,
        };
        imported.show(context)
    }
}
