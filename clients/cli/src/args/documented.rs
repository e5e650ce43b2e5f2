//! Whatever the documentation says to type is a command of these programs, with options that they have.

use std::fs;
use std::path::Path;

use clap::Parser as _;
use clap::error::ErrorKind;
use lanyard_party::Arguments;
use regex::Regex;

use super::Cli;

/// What stands for a value that is no text, and such a value.
const PLACEHOLDERS: [(&str, &str); 4] = [
    ("N", "1"),
    ("REQUEST", "1"),
    ("SUBJECT", "0123456789abcdef0123456789abcdef"),
    ("GATE", "gate-1"),
];

/// A command line of the documentation.
struct Line {
    place: String,
    text: String,
    /// In the running text, what does not matter there may be left out.
    is_whole: bool,
}

fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    paths.push(root.join("README.md"));
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The command lines of a page: after a prompt in blocks, and between back ticks in the text.
fn lines(page: &str, text: &str) -> Vec<Line> {
    let (mut lines, mut block, mut prose) = (Vec::new(), None, String::new());
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            block = block.is_none().then_some(kind);
        } else if block.is_none() {
            prose += line;
            prose.push('\n');
        } else if block == Some("console")
            && let Some(command) = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "))
        {
            let text = command.replace("cargo run --release --bin lanyard -- ", "lanyard ");
            let text = text.replace("runuser -u lanyard -- ", "");
            if text.starts_with("lanyard") {
                lines.push(Line { place: format!("{page}:{number}"), text, is_whole: true });
            }
        }
    }
    // What is signed begins with such a line, too: `lanyard map head v1`.
    let (spans, format) = (Regex::new("`(lanyard [^`]+)`").unwrap(), Regex::new(r" v\d").unwrap());
    for (_, [span]) in spans.captures_iter(&prose).map(|found| found.extract()) {
        if !format.is_match(span) {
            let text = span.replace('\n', " ");
            lines.push(Line { place: format!("{page}: `{text}`"), text, is_whole: false });
        }
    }
    lines
}

/// The words of a command line: with what is optional, the first of several choices, and values for placeholders. An ellipsis
/// stands for an option's value, or for whatever else there is.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = shlex::split(&text.replace(['[', ']'], ""))?;
    let is_value = |place: usize| place > 0 && words[place - 1].starts_with("--");
    let kept: Vec<_> =
        (0..words.len()).map(|place| words[place] != "…" || is_value(place)).collect();
    let mut kept = kept.into_iter();
    words.retain(|_| kept.next() == Some(true));
    let value = |word: String| {
        let word = word.split('|').next().unwrap_or_default().to_owned();
        let stands_for = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
        stands_for.map_or(word, |(_, value)| (*value).to_owned())
    };
    Some(words.into_iter().map(value).collect())
}

/// What is wrong with a command line.
fn problem(line: &Line) -> Option<String> {
    let Some(words) = words(&line.text) else { return Some("its quotes do not match".to_owned()) };
    let refused = match words.first().map(String::as_str) {
        Some("lanyard") => Cli::try_parse_from(&words).err(),
        _ => Arguments::command("a service", "").try_get_matches_from(&words).err(),
    }?;
    let is_short = matches!(
        refused.kind(),
        ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    (line.is_whole || !is_short).then(|| refused.to_string())
}

#[test]
fn every_command_of_the_documentation_is_one() {
    let lines: Vec<_> = pages().iter().flat_map(|(page, text)| lines(page, text)).collect();
    let whole = lines.iter().filter(|line| line.is_whole).count();
    assert!(whole > 20 && lines.len() > whole + 40, "{whole} of {} commands", lines.len());
    let wrong: Vec<_> = lines
        .iter()
        .filter_map(|line| Some(format!("{}: {}", line.place, problem(line)?)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_command_would_be_found() {
    let of = |text: &str| lines("page", text).iter().filter_map(problem).count();
    let right = "```console\n$ lanyard ceremony expel gate-3 --dir DIR   # a comment\n```\n`lanyard ceremony sign …`";
    assert_eq!(of(right), 0);
    for (part, wrong) in
        [("expel", "expell"), ("--dir", "--dyr"), ("--dir DIR", ""), ("sign", "seal"), ("…", "--x")]
    {
        assert_eq!(of(&right.replace(part, wrong)), 1, "{part}");
    }
}
