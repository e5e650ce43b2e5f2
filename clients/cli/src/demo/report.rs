//! The end of the demo: tables for people, one document for machines.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, Color, ContentArrangement, Table};
use serde::Serialize;

use super::holdings::Holding;
use super::ledger::{Outcome, Stage, seconds};
use super::stages::{Enrolled, Listed, Screened, Skipped};

/// Columns of a table where there is no terminal.
const WIDTH: u16 = 160;

/// What became of the planted hits.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Matches {
    /// People who were put on the list.
    pub(super) planted: usize,
    /// Of these, how many the police found.
    pub(super) found: usize,
    /// Further people whose name and birth date, or document, are on the list.
    pub(super) others: usize,
}

/// Everything that the demo found out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether every expectation held.
    pub(super) ok: bool,
    /// Seed of what was drawn for the demo: who plays which part.
    pub(super) seed: u64,
    /// The whole run, in milliseconds.
    pub(super) millis: u64,
    /// People in the roster.
    pub(super) people: usize,
    /// Rows of the roster that reading left out.
    pub(super) roster_skipped: Vec<Skipped>,
    /// Enrolment.
    pub(super) enrolled: Enrolled,
    /// The watchlist.
    pub(super) watchlist: Listed,
    /// Rows and values of the list that reading left out.
    pub(super) watchlist_skipped: Vec<Skipped>,
    /// Screening.
    pub(super) screened: Screened,
    /// Matches.
    pub(super) matches: Matches,
    /// Steps of making the event, timed.
    pub(super) stages: Vec<Stage>,
    /// Expectations.
    pub(super) scenarios: Vec<Outcome>,
    /// What each party holds.
    pub(super) holdings: Vec<Holding>,
}

impl Report {
    /// As text, with colours if stdout is a terminal.
    pub(super) fn text(&self) -> String {
        let unscreened = self.unscreened();
        let skipped = [
            ("roster, left out", &self.roster_skipped),
            ("roster, refused", &self.enrolled.refused),
            ("roster, not screened", &unscreened),
            ("watchlist, left out", &self.watchlist_skipped),
            ("watchlist, without a key", &self.watchlist.skipped),
        ];
        let mut parts = vec![self.scenarios(), self.holdings()];
        if skipped.iter().any(|(_, skipped)| !skipped.is_empty()) {
            parts.push(skipped_table(&skipped));
        }
        parts.push(self.last_line());
        parts.join("\n\n")
    }

    fn unscreened(&self) -> Vec<Skipped> {
        let count = self.screened.without_key;
        let reason = "no document, and no Latin name with a full birth date".to_owned();
        if count > 0 { vec![Skipped { reason, count }] } else { vec![] }
    }

    fn scenarios(&self) -> String {
        let mut table = table(&["", "what was tried", "expected", "came back", "took"]);
        for outcome in &self.scenarios {
            table.add_row([
                mark(outcome.ok),
                Cell::new(&outcome.scenario),
                Cell::new(&outcome.expected),
                Cell::new(&outcome.found),
                Cell::new(seconds(outcome.millis)),
            ]);
        }
        table.to_string()
    }

    fn holdings(&self) -> String {
        let found = format!("of {} people, found in all its bytes", self.people);
        let mut table = table(&["", "party", "holds", "can say about one person", &found]);
        for holding in &self.holdings {
            let Holding { files, bytes, .. } = holding;
            let holds = format!("{files} files, {}: {}", size(*bytes), holding.largest.join(", "));
            table.add_row([
                mark(holding.ok),
                Cell::new(&holding.party),
                Cell::new(holds),
                Cell::new(&holding.says),
                Cell::new(format!("{} (expected: {})", holding.found, holding.expected)),
            ]);
        }
        table.to_string()
    }

    fn last_line(&self) -> String {
        let Matches { planted, found, others } = &self.matches;
        let tried = self.scenarios.len() + self.holdings.len();
        let failed = self.scenarios.iter().filter(|outcome| !outcome.ok).count()
            + self.holdings.iter().filter(|holding| !holding.ok).count();
        let verdict = match failed {
            0 => format!("All {tried} expectations held"),
            _ => format!("{failed} of {tried} expectations did NOT hold"),
        };
        format!(
            "{} people enrolled, {} cleared, {} refused, {} for an officer, {} without a key. Planted on the watchlist: \
             {planted}, found: {found}, further matches: {others}.\n{verdict}, in {}.",
            self.enrolled.enrolled,
            self.screened.cleared,
            self.screened.refused,
            self.screened.pending,
            self.screened.without_key,
            seconds(self.millis),
        )
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    table.set_header(header);
    table
}

/// The library leaves the colour out where there is no terminal.
fn mark(ok: bool) -> Cell {
    if ok { Cell::new("ok").fg(Color::Green) } else { Cell::new("FAIL").fg(Color::Red) }
}

fn skipped_table(skipped: &[(&str, &Vec<Skipped>)]) -> String {
    let mut table = table(&["passed over", "why", "how many"]);
    for (what, skipped) in skipped {
        for one in *skipped {
            table.add_row([(*what).to_owned(), one.reason.clone(), one.count.to_string()]);
        }
    }
    table.to_string()
}

/// `12 KiB`, `3.4 MiB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1_024)),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stands_in_the_table_and_in_the_last_line() {
        let outcome = Outcome {
            scenario: "wrong zone".into(),
            expected: "DENY WRONG_ZONE".into(),
            found: "ADMIT".into(),
            millis: 12,
            ok: false,
        };
        let report = Report {
            ok: false,
            seed: 1,
            millis: 61_000,
            people: 2,
            roster_skipped: vec![Skipped { reason: "row: too short".into(), count: 3 }],
            enrolled: Enrolled::default(),
            watchlist: Listed::default(),
            watchlist_skipped: vec![],
            screened: Screened { without_key: 7, ..Screened::default() },
            matches: Matches::default(),
            stages: vec![],
            scenarios: vec![outcome],
            holdings: vec![],
        };
        let text = report.text();
        assert!(text.contains("FAIL") && text.contains("row: too short"), "{text}");
        assert!(text.contains("no Latin name"), "{text}");
        assert!(text.ends_with("1 of 1 expectations did NOT hold, in 61.0 s."), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["scenarios"][0]["expected"], "DENY WRONG_ZONE");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!((size(1), size(3 * 1_048_576 + 524_288)), ("1 KiB".into(), "3.5 MiB".into()));
    }
}
