//! A verdict that can be seen from across the lane.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use anstyle::{AnsiColor, Style};
use lanyard_wire::gate::v1::{CheckResponse, Verdict};

use crate::context::printable;
use crate::gate::{reason_name, verdict_name};

/// Columns of a banner.
const WIDTH: usize = 60;

/// Whether there is somebody to see colours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Banner,
    Line,
}

impl Look {
    /// A banner on a terminal, unless `NO_COLOR` is set; a plain line elsewhere.
    pub(super) fn of_stdout() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !plain { Self::Banner } else { Self::Line }
    }
}

/// The verdict to show; never what was scanned.
pub(super) fn draw(answer: &Result<CheckResponse, String>, look: Look) -> String {
    let (verdict, detail) = match answer {
        Ok(answer) => (answer.verdict(), detail(answer)),
        Err(problem) => (Verdict::Undetermined, format!("no answer: {problem}")),
    };
    let (name, detail) = (verdict_name(verdict), printable(&detail));
    match look {
        Look::Line if detail.is_empty() => name.to_owned(),
        Look::Line => format!("{name} {detail}"),
        Look::Banner => banner(verdict, name, &detail),
    }
}

fn detail(answer: &CheckResponse) -> String {
    let mut detail = match answer.verdict() {
        Verdict::Admit => answer.category.clone(),
        // One text for every cause of a referral.
        Verdict::Refer => "please see the accreditation desk".to_owned(),
        _ => reason_name(answer.reason()).to_owned(),
    };
    if answer.stale || answer.verdict() == Verdict::Undetermined {
        let _ = write!(detail, ", knowledge is {} s old", answer.age_seconds);
    }
    detail.trim_start_matches(", ").to_owned()
}

fn banner(verdict: Verdict, name: &str, detail: &str) -> String {
    let (ink, paper) = match verdict {
        Verdict::Admit => (AnsiColor::Black, AnsiColor::BrightGreen),
        Verdict::Deny => (AnsiColor::BrightWhite, AnsiColor::Red),
        Verdict::Refer => (AnsiColor::Black, AnsiColor::BrightYellow),
        Verdict::Undetermined | Verdict::Unspecified => (AnsiColor::BrightWhite, AnsiColor::Blue),
    };
    let style = Style::new().fg_color(Some(ink.into())).bg_color(Some(paper.into())).bold();
    let spaced: String = name.chars().flat_map(|letter| [letter, ' ']).collect();
    ["", spaced.trim_end(), "", detail, ""]
        .map(|line| format!("{style}{line:^WIDTH$}{style:#}"))
        .join("\n")
}

#[cfg(test)]
mod tests {
    use lanyard_wire::gate::v1::Reason;

    use super::*;

    fn answer(verdict: Verdict, reason: Reason) -> Result<CheckResponse, String> {
        let category = if verdict == Verdict::Admit { "Athlete" } else { "" };
        Ok(CheckResponse {
            verdict: verdict.into(),
            reason: reason.into(),
            category: category.into(),
            age_seconds: 7,
            ..CheckResponse::default()
        })
    }

    #[test]
    fn each_verdict_in_one_line() {
        for (verdict, reason, expected) in [
            (Verdict::Admit, Reason::Good, "ADMIT Athlete"),
            (Verdict::Deny, Reason::WrongZone, "DENY WRONG_ZONE"),
            (Verdict::Refer, Reason::Refer, "REFER please see the accreditation desk"),
            (Verdict::Undetermined, Reason::Stale, "UNDETERMINED STALE, knowledge is 7 s old"),
        ] {
            assert_eq!(draw(&answer(verdict, reason), Look::Line), expected);
        }
        let failed = draw(&Err("gate \u{1b}[2J down".to_owned()), Look::Line);
        assert_eq!(failed, "UNDETERMINED no answer: gate \u{fffd}[2J down");
    }

    #[test]
    fn a_banner_is_wide_and_ends_its_colours() {
        let drawn = draw(&answer(Verdict::Deny, Reason::Unknown), Look::Banner);
        assert!(drawn.contains("D E N Y") && drawn.contains("UNKNOWN"));
        assert_eq!(drawn.lines().count(), 5);
        assert!(drawn.lines().all(|line| line.ends_with("\u{1b}[0m")));
    }
}
