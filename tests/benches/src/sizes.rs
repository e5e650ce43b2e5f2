//! Rows 7, 8 and 9: bytes of a snapshot, memory of a gate, characters of a badge.

use lanyard_core::badge::{BadgeText, CodeEpochs, ScopedCode};
use lanyard_core::ids::{Audience, Authority, Handle};
use lanyard_core::map::{Delta, Map, Row, depth_for, snapshot};
use lanyard_core::record::SealedRecord;

use crate::event::{EPOCH, Publisher, badge, event};
use crate::measure::resident_bytes;
use crate::report::{Report, megabytes};

const SNAPSHOT_BAR: f64 = 70.0;
const MEMORY_BAR: f64 = 2.5;
const TEXT_BAR: f64 = 80.0;

/// Ticks that no quorum stands behind yet, of 256 rows each: a minute without witnesses.
const TICKS_WAITING: usize = 30;
const ROWS_A_TICK: usize = 256;

pub(crate) fn snapshots_and_memory(report: &mut Report, people: u32) {
    let publisher = Publisher::new(Authority::Committee);
    let mut rows = publisher.rows(people);
    rows.sort_unstable_by_key(|row| row.handle);
    let count = rows.len() as f64;
    let before = resident_bytes();
    let map = Map::build(depth_for(people), rows.iter().copied()).expect("uniform handles");
    let resident = before.zip(resident_bytes()).map(|(before, after)| after.saturating_sub(before));
    let snapshot = snapshot_bytes(&map);
    let each = snapshot / count;
    let limit = format!("{SNAPSHOT_BAR} bytes");
    let what = format!("snapshot of {people} records, bytes each");
    report.bar("7", what, format!("{each:.2} bytes"), limit, (each, SNAPSHOT_BAR));

    // A gate keeps each row that a tick changed as it was, until a quorum stands behind the tick.
    let overlay = TICKS_WAITING * ROWS_A_TICK * size_of::<(Handle, Option<SealedRecord>)>();
    let held = (map.memory_bytes() + overlay) as f64;
    memory_line(report, &format!("memory of a directory of {people}, as loaded"), held, snapshot);
    if let Some(resident) = resident {
        memory_line(report, "  the same, as the system counts", resident as f64, snapshot);
    }

    let grown = grown(map, people / 5);
    let snapshot = snapshot_bytes(&grown);
    let held = (grown.memory_bytes() + overlay) as f64;
    memory_line(report, "  after a fifth more was added in ticks", held, snapshot);
}

fn memory_line(report: &mut Report, what: &str, held: f64, snapshot: f64) {
    let limit = format!("snapshot {}", megabytes(snapshot));
    report.bar("8", what, megabytes(held), limit, (held / snapshot, MEMORY_BAR));
}

fn snapshot_bytes(map: &Map) -> f64 {
    let chunks = snapshot::encode(map, Authority::Committee, Audience::Gate, EPOCH, 1 << 20);
    chunks.map(|chunk| chunk.len()).sum::<usize>() as f64
}

/// The map with this many rows more, of another directory, added as ticks do.
fn grown(mut map: Map, more: u32) -> Map {
    let mut others: Vec<Row> = Publisher::new(Authority::Police).rows(more);
    while !others.is_empty() {
        let rest = others.split_off(others.len().min(4_096));
        let delta = Delta::new(Vec::new(), std::mem::replace(&mut others, rest));
        let _ = map.apply(&delta.expect("distinct")).expect("uniform handles");
    }
    map
}

pub(crate) fn texts(report: &mut Report) {
    let text = BadgeText::new(&badge(1), &event());
    let characters = text.expose_str().chars().count() as f64;
    let alphanumeric = text.expose_str().chars().all(is_qr_alphanumeric);
    assert!(alphanumeric, "the badge text fits the QR alphanumeric mode");
    let limit = format!("{TEXT_BAR}");
    report.bar(
        "9",
        "badge text, characters",
        format!("{characters}"),
        limit,
        (characters, TEXT_BAR),
    );
    for audience in Audience::ALL {
        let characters = |epochs| {
            ScopedCode::derive(&badge(1), &event(), audience, epochs).to_text(&event()).len()
        };
        let (one, two) = (characters(EPOCH.into()), characters(CodeEpochs::both(EPOCH)));
        let what = format!("  scoped code for {audience}, characters");
        report.note("9", what, format!("{one}, of two epochs {two}"));
    }
}

/// ISO/IEC 18004, 7.4.4.
fn is_qr_alphanumeric(character: char) -> bool {
    character.is_ascii_digit() || character.is_ascii_uppercase() || " $%*+-./:".contains(character)
}
