//! `lanyard screening pairs`: a list's own aliases as pairs to measure on.

use std::path::PathBuf;

use clap::Args;
use lanyard_core::identity::BirthDates;
use lanyard_env::Mode;
use lanyard_wire::police::v1::ListEntry;
use serde_json::json;

use super::variant::{RULE, is_variant};
use super::{input, report};
use crate::context::{Context, facts};
use crate::error::CliError;

/// `lanyard screening pairs`.
#[derive(Args)]
pub(super) struct PairsArgs {
    /// The list, with aliases.
    list: PathBuf,
    /// A mapping of its columns.
    #[arg(long, value_name = "FILE")]
    columns: Option<PathBuf>,
    /// Where the files lie that the mapping joins, if not beside the list.
    #[arg(long, value_name = "DIR")]
    join_dir: Option<PathBuf>,
    /// Where the pairs go; a file that is there is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl PairsArgs {
    pub(super) fn run(self, context: &Context) -> Result<(), CliError> {
        let read =
            input::list(context, &self.list, self.columns.as_deref(), self.join_dir.as_deref())?;
        if !read.problems.is_empty() {
            let problems = read.problems.into_iter().map(|problem| (self.list.clone(), problem));
            report::show_problems(context, &problems.collect::<Vec<_>>())?;
            return Err(CliError::BadRows);
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        let broken = |source: csv::Error| CliError::content(&self.out, source);
        writer
            .write_record([
                "left_name",
                "left_birth_date",
                "right_name",
                "right_birth_date",
                "same",
                "kind",
            ])
            .map_err(broken)?;
        let (mut variants, mut others) = (0_u64, 0_u64);
        for (_, entry) in &read.rows {
            let Some((first, aliases)) = entry.names.split_first() else { continue };
            let (one, all) = dates(entry);
            for alias in aliases {
                let kind = if is_variant(first, alias) {
                    variants += 1;
                    "spelling variant"
                } else {
                    others += 1;
                    "other alias"
                };
                writer.write_record([first, &one, alias, &all, "1", kind]).map_err(broken)?;
            }
        }
        let text = writer.into_inner().map_err(|error| CliError::content(&self.out, error))?;
        context.env.files.write_atomic(&self.out, &text, Mode::Private)?;
        let value = json!({ "file": self.out, "variants": variants, "other_aliases": others, "rule": RULE });
        context.show(&value, || {
            facts([
                ("file", self.out.display().to_string()),
                ("spelling variants", variants.to_string()),
                ("other aliases", others.to_string()),
                ("rule", RULE.to_owned()),
            ])
        })
    }
}

/// What a person would say of the birth date, and what the list says: one date in full if there is one, and all.
fn dates(entry: &ListEntry) -> (String, String) {
    let all = entry.birth_dates.join("; ");
    let in_full = BirthDates::parse(&all).ok().and_then(|dates| dates.days().first().copied());
    let one = in_full.map(|day| day.to_string()).or_else(|| entry.birth_dates.first().cloned());
    (one.unwrap_or_default(), all)
}
