//! The points at which processes die here, by name: who, in what kind of file, and how far it got.
//!
//! The load reaches every one of them; one that is missing fails the test, and so does one that is not listed. docs/DURABILITY.md
//! says what each leaves behind, and where those are tested that no load here reaches.

use std::collections::BTreeSet;
use std::path::Path;

use crate::points::died_at;

/// Whose process it is.
#[derive(Clone, Copy)]
enum Who {
    All,
    Authorities,
    Holders,
    Witnesses,
    Gate,
    /// Whoever hears of a manifest by the feeds.
    Hearers,
    /// Whoever has both feeds: each of them is a point of its own.
    Mirrors,
    /// Each authority, in its own feed.
    Publishers,
}

use Who::{All, Authorities, Gate, Hearers, Holders, Mirrors, Publishers, Witnesses};

/// A folder.
const MADE: &[&str] = &["made"];
/// A file that is replaced whole.
const WRITTEN: &[&str] = &["half written", "written"];
/// A file that grows.
const APPENDED: &[&str] = &["half appended", "appended, not synced", "synced"];
/// What the process that died before left at its end.
const CUT: &[&str] = &["cut"];
/// A file that gets its name once it is whole.
const RENAMED: &[&str] = &["to be renamed", "renamed"];
const REMOVED: &[&str] = &["to be removed", "removed"];

/// What is reached.
const LISTED: &[(&str, Who, &[&[&str]])] = &[
    ("audience-keys", Authorities, &[MADE]),
    ("audience-keys/*", Authorities, &[WRITTEN, REMOVED]),
    ("epoch-out-of-turn", Authorities, &[WRITTEN, REMOVED]),
    ("evaluations", Holders, &[MADE]),
    ("evaluations/evaluations.key", Holders, &[RENAMED]),
    ("evaluations/evaluations.key.new", Holders, &[WRITTEN]),
    ("evaluations/evaluations.note", Holders, &[WRITTEN, REMOVED]),
    ("feeds/AUTHORITY/base", Mirrors, &[WRITTEN]),
    ("feeds/AUTHORITY/draft", Publishers, &[WRITTEN, REMOVED]),
    ("feeds/AUTHORITY/evidence", Mirrors, &[MADE]),
    ("feeds/AUTHORITY/incoming", Mirrors, &[MADE]),
    ("feeds/AUTHORITY/incoming/*", Mirrors, &[APPENDED, REMOVED]),
    ("feeds/AUTHORITY/keys", Mirrors, &[MADE]),
    ("feeds/AUTHORITY/keys/*", Mirrors, &[WRITTEN, REMOVED]),
    ("feeds/AUTHORITY/leaves", Mirrors, &[APPENDED]),
    ("feeds/AUTHORITY/profiles", Mirrors, &[MADE]),
    ("feeds/AUTHORITY/profiles/*", Mirrors, &[WRITTEN, REMOVED]),
    ("feeds/AUTHORITY/quorum", Mirrors, &[WRITTEN]),
    ("feeds/AUTHORITY/snapshots", Mirrors, &[MADE]),
    ("feeds/AUTHORITY/snapshots/*", Mirrors, &[RENAMED, REMOVED]),
    ("feeds/AUTHORITY/ticks", Mirrors, &[MADE]),
    ("feeds/AUTHORITY/ticks/*", Mirrors, &[WRITTEN, REMOVED]),
    ("inspection.probe", All, &[WRITTEN, REMOVED]),
    ("manifest.note", Hearers, &[WRITTEN]),
    ("manifests/*", Hearers, &[WRITTEN]),
    ("receipts", Gate, &[MADE]),
    ("receipts/bodies", Gate, &[MADE]),
    ("receipts/bodies/*", Gate, &[APPENDED, CUT]),
    ("receipts/chain", Gate, &[APPENDED, CUT]),
    ("receipts/recent", Gate, &[MADE]),
    ("receipts/recent/*", Gate, &[APPENDED, CUT]),
    ("receipts/sessions", Gate, &[MADE]),
    ("receipts/sessions/*", Gate, &[WRITTEN]),
    ("signed", Authorities, &[WRITTEN]),
    ("witness", Witnesses, &[MADE]),
    ("witness/*", Witnesses, &[WRITTEN]),
];

/// What is reached if a death before left something to cut off, or if a service notices a manifest before the command that
/// brought it has copied it; and need not be.
const SOMETIMES: &[(&str, Who, &[&[&str]])] =
    &[("feeds/AUTHORITY/leaves", Mirrors, &[CUT]), ("manifest.note", All, &[WRITTEN])];

/// What stands in docs/DURABILITY.md and is not reached here: see there.
const ELSEWHERE: &[&str] =
    &["feeds/AUTHORITY/evidence/*", "restored.json", "manifests", "committee.db", "police.db"];

impl Who {
    /// The members, each with what is said of the feed.
    fn members(self) -> Vec<(&'static str, &'static str)> {
        const FEEDS: [&str; 2] = [" of committee", " of police"];
        let without_feed =
            |members: &[&'static str]| members.iter().map(|one| (*one, "")).collect();
        match self {
            All => without_feed(&["committee", "police", "sponsor", "trustee", "gate-1"]),
            Authorities => without_feed(&["committee", "police"]),
            Holders => without_feed(&["committee", "police", "trustee"]),
            Witnesses => without_feed(&["committee", "police", "sponsor", "trustee"]),
            Gate => without_feed(&["gate-1"]),
            Hearers => without_feed(&["police", "sponsor", "gate-1"]),
            Mirrors => ["committee", "police", "sponsor", "gate-1"]
                .into_iter()
                .flat_map(|member| FEEDS.map(|feed| (member, feed)))
                .collect(),
            Publishers => std::iter::zip(["committee", "police"], FEEDS).collect(),
        }
    }
}

/// Every point of a list: the member, and the point as its process writes it down.
fn points(list: &[(&str, Who, &[&[&str]])]) -> BTreeSet<(&'static str, String)> {
    let points = list.iter().flat_map(|(kind, who, done)| {
        let how_far = done.iter().copied().flatten();
        how_far.flat_map(move |how_far| {
            let members = who.members().into_iter();
            members.map(move |(member, feed)| (member, format!("{kind}: {how_far}{feed}")))
        })
    });
    points.collect()
}

fn reached(event: &Path) -> BTreeSet<(&'static str, String)> {
    let of = |(member, _)| died_at(event, member).into_iter().map(move |point| (member, point));
    All.members().into_iter().flat_map(of).collect()
}

/// The listed points that nobody has died at yet.
pub(crate) fn missing(event: &Path) -> BTreeSet<(&'static str, String)> {
    &points(LISTED) - &reached(event)
}

/// All that are listed were reached, and no others; and the documentation has them all, and where the rest is tested.
pub(crate) fn check(event: &Path) {
    let (listed, reached) = (points(LISTED), reached(event));
    let missing = &listed - &reached;
    assert!(missing.is_empty(), "nobody died at {missing:#?}");
    let unlisted = &(&reached - &listed) - &points(SOMETIMES);
    assert!(unlisted.is_empty(), "list and explain where somebody died: {unlisted:#?}");
    println!("{} crash points reached, {} of them listed", reached.len(), listed.len());
    let here = LISTED.iter().chain(SOMETIMES).map(|(kind, ..)| *kind);
    assert_eq!(documented(), here.chain(ELSEWHERE.iter().copied()).collect());
}

/// The kinds of files in the table of crash points.
fn documented() -> BTreeSet<&'static str> {
    let documentation = include_str!("../../../../docs/DURABILITY.md");
    let (_, table) = documentation.split_once("## Crash points").expect("crash points");
    let rows = table.lines().skip_while(|line| !line.starts_with("| --- |")).skip(1);
    let rows = rows.map_while(|line| line.strip_prefix("| `")?.split(" | ").next());
    rows.flat_map(|kinds| kinds.split("`, `").map(|kind| kind.trim_end_matches('`'))).collect()
}
