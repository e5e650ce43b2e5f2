//! What commands share: the environment, how to show things, and who acts.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use lanyard_client::Connection;
use lanyard_core::ids::Timestamp;
use lanyard_env::Env;
use lanyard_transport::{PartyName, Role};
use serde_json::Value;

use crate::error::CliError;

/// The environment and how to show things.
pub(crate) struct Context {
    pub(crate) env: Env,
    pub(crate) json: bool,
}

impl Context {
    pub(crate) fn new(json: bool) -> Self {
        Self { env: Env::system(), json }
    }

    /// Shows a result: as JSON if asked for, else as text for people.
    pub(crate) fn show(&self, json: &Value, text: impl FnOnce() -> String) -> Result<(), CliError> {
        if self.json { say(&json.to_string()) } else { say(&text()) }
    }

    /// Tells a person what is going on; on stderr, and not beside JSON.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    /// A bar for `total` things, or a counter where the total is not known; hidden unless stderr is a terminal.
    pub(crate) fn progress(&self, what: &'static str, total: Option<u64>) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let (bar, template) = match total {
            Some(total) => {
                (ProgressBar::new(total), "{msg:24} {wide_bar} {human_pos}/{human_len} {eta}")
            }
            None => (ProgressBar::new_spinner(), "{msg:24} {spinner} {human_pos} {elapsed}"),
        };
        // The templates are constants; should one be wrong, the default will do.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.with_message(what)
    }
}

/// Writes a line to stdout. A reader that has gone away, as `head` does, is no error.
pub(crate) fn say(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| CliError::Io { action: "write the answer", source }),
    }
}

/// A table for people.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    table.to_string()
}

/// A list of names and values for people.
pub(crate) fn facts<const N: usize>(facts: [(&str, String); N]) -> String {
    let lines = facts.map(|(name, value)| format!("{name:<22} {}", printable(&value)));
    lines.join("\n")
}

/// Without control characters, which could play with the terminal: some values come from files or other parties.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A time for people, UTC.
pub(crate) fn time(time: Timestamp) -> String {
    let millis = i64::try_from(time.millis()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Whose folder, who acts, and where the service is.
#[derive(Args, Clone)]
pub(crate) struct Actor {
    /// The party's folder.
    #[arg(long, global = true, env = "LANYARD_FOLDER", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Who acts: a name among the folder's operators/; needed if several people could.
    #[arg(long = "as", global = true, value_name = "NAME")]
    pub(crate) operator: Option<String>,
    /// Where the party's service is, if not where config.toml says that it listens.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) address: Option<String>,
}

impl Actor {
    /// Acts with the first of `roles` that somebody in the folder has.
    pub(crate) fn connect(
        &self,
        context: &Context,
        party: PartyName,
        roles: &[Role],
    ) -> Result<Connection, CliError> {
        Ok(self.connect_any(context, roles)?.require(party)?)
    }

    /// As [`Actor::connect`], for a folder of any party.
    pub(crate) fn connect_any(
        &self,
        context: &Context,
        roles: &[Role],
    ) -> Result<Connection, CliError> {
        let folder = self.folder()?;
        let connection = Connection::open(&context.env, folder, roles, self.operator.as_deref())?;
        Ok(match &self.address {
            Some(address) => connection.at(address.clone()),
            None => connection,
        })
    }

    /// The folder given.
    pub(crate) fn folder(&self) -> Result<&PathBuf, CliError> {
        self.folder.as_ref().ok_or_else(|| {
            CliError::option("--folder", "give the party's folder, or set LANYARD_FOLDER")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_show_no_control_characters() {
        let shown = table(["a"], [["x\u{1b}[31my".to_owned()]]);
        assert!(shown.contains("x\u{fffd}[31my"), "{shown}");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(Timestamp::from_millis(1_500)), "1970-01-01 00:00:01Z");
        assert!(time(Timestamp::from_millis(u64::MAX)).starts_with("9999"));
    }
}
