//! Lists of badges or subjects on the command line, and what became of each.

use std::path::PathBuf;

use clap::Args;
use lanyard_env::Env;
use serde_json::{Value, json};

use crate::context::{Context, table};
use crate::error::CliError;

/// Names sent in one request.
const MAX_AT_ONCE: usize = 10_000;

/// References, given one by one or in a file.
#[derive(Args, Clone)]
pub(crate) struct References {
    /// The people's references.
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// A file with one reference a line; empty lines and lines that start with # are left out.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl References {
    /// All of them, each once; at least one.
    pub(crate) fn read(&self, env: &Env) -> Result<Vec<String>, CliError> {
        let references = self.read_any(env)?;
        if references.is_empty() {
            return Err(CliError::option("REFERENCE", "give at least one, or a list with --file"));
        }
        Ok(references)
    }

    /// All of them, each once; none is fine where there is another way to say whom.
    pub(crate) fn read_any(&self, env: &Env) -> Result<Vec<String>, CliError> {
        let mut references = self.references.clone();
        if let Some(path) = &self.file {
            let bytes = env.files.read(path)?;
            let text = String::from_utf8(bytes)
                .map_err(|_| CliError::content(path, "not UTF-8; give one reference a line"))?;
            let lines = text.lines().map(str::trim);
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            references.extend(lines.map(str::to_owned));
        }
        let mut seen = std::collections::HashSet::new();
        references.retain(|reference| seen.insert(reference.clone()));
        match references.len() {
            0..=MAX_AT_ONCE => Ok(references),
            given => {
                let problem =
                    format!("{given} given, at most {MAX_AT_ONCE} at once; split the list");
                Err(CliError::option("REFERENCE", problem))
            }
        }
    }
}

/// What became of one entry of a list.
pub(crate) struct Became {
    /// The reference or subject.
    pub(crate) who: String,
    /// In one word or two.
    pub(crate) outcome: &'static str,
    /// Whether it is now as asked.
    pub(crate) good: bool,
}

/// Shows what became of a list, and fails if something is not as asked.
pub(crate) fn show_outcomes(
    context: &Context,
    change_id: u64,
    became: &[Became],
) -> Result<(), CliError> {
    let outcomes: Vec<Value> =
        became.iter().map(|one| json!({ "subject": one.who, "outcome": one.outcome })).collect();
    context.show(&json!({ "change_id": change_id, "outcomes": outcomes }), || {
        let rows = became.iter().map(|one| [one.who.clone(), one.outcome.to_owned()]);
        let undo = format!("change {change_id}; take it back with: undo {change_id} --reason …");
        format!("{}\n{undo}", table(["subject", "outcome"], rows))
    })?;
    if became.iter().all(|one| one.good) { Ok(()) } else { Err(CliError::Negative) }
}

/// Shows what an undo took back.
pub(crate) fn show_undo(context: &Context, restored: u64, skipped: u64) -> Result<(), CliError> {
    context.show(&json!({ "restored": restored, "skipped": skipped }), || {
        if restored == 0 && skipped == 0 {
            return "nothing to take back: no such change, or it was taken back before".to_owned();
        }
        let mut text = format!("{restored} went back to what they were");
        if skipped > 0 {
            text.push_str(&format!("; {skipped} were left alone: something changed them since"));
        }
        text
    })?;
    if restored == 0 && skipped == 0 { Err(CliError::Negative) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_once_each_without_comments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lost.txt");
        std::fs::write(&path, "# lost on Monday\nA-2\r\n\nA-1\nA-2\n").unwrap();
        let given = References { references: vec!["A-1".into()], file: Some(path) };
        assert_eq!(given.read(&Env::system()).unwrap(), ["A-1", "A-2"]);
        let none = References { references: Vec::new(), file: None };
        assert!(none.read(&Env::system()).unwrap_err().to_string().contains("--file"));
    }
}
