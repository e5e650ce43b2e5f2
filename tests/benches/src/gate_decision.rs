//! Row 1: a gate's decision, from the badge to the verdict, on both authorities' directories.

use std::hint::black_box;

use lanyard_core::badge::{BadgeSecret, BadgeText, EpochKey, Presented};
use lanyard_core::decision::{
    AccessPoint, Finding, Knowledge, Question, StalenessTier, Verdict, decide,
};
use lanyard_core::ids::{Audience, Authority, EventId, Handle, Timestamp};
use lanyard_core::map::Map;
use lanyard_core::profile::{EventTimeZone, Profile, ProfileTable, Session};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::event::{EPOCH, PROFILE, Publisher, badge, event};
use crate::measure::Rounds;
use crate::primitives::{BareTable, Deriver, Sealed, bare_table};
use crate::report::{Report, time};

const ROUNDS: usize = 9;
/// Badges of a round.
const BADGES: usize = 20_000;
const BAR: f64 = 2.0;
/// A Wednesday, at noon in Paris.
const NOON: Timestamp = Timestamp::from_seconds(1_846_922_400);

struct Directory {
    publisher: Publisher,
    map: Map,
    bare: BareTable,
}

impl Directory {
    fn new(authority: Authority, people: u32) -> Self {
        let publisher = Publisher::new(authority);
        let map = publisher.map(people);
        let bare = bare_table(&map);
        Self { publisher, map, bare }
    }
}

struct Gate {
    event: EventId,
    directories: [Directory; 2],
    point: AccessPoint,
    time_zone: EventTimeZone,
    profiles: ProfileTable,
}

impl Gate {
    fn new(people: u32) -> Self {
        let profile = Profile {
            id: PROFILE,
            category: "Athlete".into(),
            venues: ["STA".to_owned()].into(),
            zones: ["BLUE".to_owned(), "RED".to_owned()].into(),
            sessions: vec![Session::parse("daily 06:00-23:30").expect("a session")],
        };
        Self {
            event: event(),
            directories: Authority::ALL.map(|authority| Directory::new(authority, people)),
            point: AccessPoint { id: "north-1".into(), venue: "STA".into(), zone: "BLUE".into() },
            time_zone: EventTimeZone::parse("Europe/Paris").expect("a time zone"),
            profiles: ProfileTable::new(vec![profile]).expect("a table"),
        }
    }

    /// What a gate does with one badge.
    fn verdict(&self, presented: &Presented) -> Verdict {
        let question = Question {
            access_point: &self.point,
            now: NOON,
            time_zone: &self.time_zone,
            tier: StalenessTier { fresh_seconds: 10, limit_seconds: 60 },
            profiles: &self.profiles,
            secondary_check: false,
        };
        // As in the gate: both keys, both lookups, then both records, so that the lookups wait for memory together.
        let keys = self.directories.each_ref().map(|Directory { publisher, .. }| {
            presented.epoch_key(&self.event, publisher.authority, Audience::Gate, EPOCH)
        });
        let handles = keys.each_ref().map(|key| key.as_ref().map(EpochKey::handle));
        let sealed: [_; 2] = std::array::from_fn(|index| {
            handles[index].and_then(|handle| self.directories[index].map.get(&handle))
        });
        let [committee, police] = std::array::from_fn(|index| {
            let Publisher { origin, key: audience_key, .. } = &self.directories[index].publisher;
            let finding = match (&keys[index], handles[index], sealed[index]) {
                (Some(key), Some(handle), Some(sealed)) => {
                    let record_key = key.record_key(audience_key);
                    let opened = sealed.open(&record_key, origin, EPOCH, &handle);
                    opened.map_or(Finding::Unreadable, Finding::Found)
                }
                (Some(_), Some(_), None) => Finding::Absent,
                _ => Finding::Missing,
            };
            Knowledge { finding, freshness: Some(NOON) }
        });
        decide(&question, &committee, &police).verdict()
    }
}

#[derive(Default)]
struct Figures {
    from_text: Rounds,
    from_secret: Rounds,
    derive: Rounds,
    lookup: Rounds,
    map_lookup: Rounds,
    aws_lc: Rounds,
    rust_crypto: Rounds,
}

pub(crate) fn measure(report: &mut Report, people: u32) {
    let gate = Gate::new(people);
    let deriver = Deriver::new(gate.event.as_str());
    let mut rng = StdRng::seed_from_u64(1);
    let mut figures = Figures::default();
    for _ in 0..ROUNDS {
        // Others each time: what one figure left in the cache must not help the next.
        let mut draw = || (0..BADGES).map(|_| rng.random_range(0..people)).collect::<Vec<u32>>();
        decisions(&gate, &draw(), &draw(), &mut figures);
        primitives(&gate, &deriver, &draw(), &mut figures);
    }

    let Figures { from_text, from_secret, derive, lookup, map_lookup, aws_lc, rust_crypto } =
        figures;
    let unseals =
        format!("AWS-LC {}, RustCrypto {}", time(aws_lc.median()), time(rust_crypto.median()));
    let map_lookups = format!("{}, bare {}", time(map_lookup.median()), time(lookup.median()));
    let parts = Rounds::sum(&[(&derive, 1.0), (&lookup, 1.0), (&aws_lc.fastest(rust_crypto), 1.0)]);
    // A text has two hashes more: the event's tag and the checksum.
    let text_parts = Rounds::sum(&[(&parts, 1.0), (&derive, 0.25)]);
    for (what, figure, parts) in [
        ("from the badge's secret", &from_secret, &parts),
        ("from the badge's text", &from_text, &text_parts),
    ] {
        let what = format!("gate decision, both authorities, {people} people, {what}");
        let ratio = figure.over(parts).median();
        report.bar("1", what, time(figure.median()), time(parts.median()), (ratio, BAR));
    }
    report.note("1", "  of the limit: eight hashes", time(derive.median()));
    report.note("1", "  of the limit: two lookups (the map's, bare)", map_lookups);
    report.note("1", "  of the limit: two unseals (the faster counts)", unseals);
}

fn decisions(gate: &Gate, from_text: &[u32], from_secret: &[u32], figures: &mut Figures) {
    let texts: Vec<String> = from_text
        .iter()
        .map(|&number| BadgeText::new(&badge(number), &gate.event).expose_str().to_owned())
        .collect();
    let admitted = figures.from_text.time(BADGES, || {
        let parse = |text: &String| Presented::parse(text, &gate.event).ok();
        texts.iter().filter_map(parse).filter(|presented| admits(gate, presented)).count()
    });
    assert_eq!(admitted, BADGES, "everybody is admitted");
    let presented: Vec<Presented> =
        from_secret.iter().map(|&number| Presented::Badge(badge(number))).collect();
    let admitted = figures
        .from_secret
        .time(BADGES, || presented.iter().filter(|presented| admits(gate, presented)).count());
    assert_eq!(admitted, BADGES, "everybody is admitted");
}

fn primitives(gate: &Gate, deriver: &Deriver, numbers: &[u32], figures: &mut Figures) {
    let badges: Vec<BadgeSecret> = numbers.iter().map(|&number| badge(number)).collect();
    let mut derived = Vec::with_capacity(2 * BADGES);
    figures.derive.time(BADGES, || {
        for secret in &badges {
            for Directory { publisher, .. } in &gate.directories {
                let seed = deriver.seed(secret.expose_bytes(), publisher.authority);
                let epoch_key = deriver.epoch_key(&seed);
                let key = Deriver::record_key(&epoch_key, publisher.key.expose_bytes());
                derived.push((Deriver::handle(&epoch_key), key));
            }
        }
    });
    let per_authority = |index: usize| derived.iter().skip(index).step_by(2);
    figures.lookup.time(BADGES, || {
        for (committee, police) in std::iter::zip(per_authority(0), per_authority(1)) {
            black_box(gate.directories[0].bare.get(&committee.0).copied());
            black_box(gate.directories[1].bare.get(&police.0).copied());
        }
    });
    figures.map_lookup.time(BADGES, || {
        for (committee, police) in std::iter::zip(per_authority(0), per_authority(1)) {
            black_box(gate.directories[0].map.get(&Handle::new(committee.0)));
            black_box(gate.directories[1].map.get(&Handle::new(police.0)));
        }
    });

    let mut sealed = Vec::with_capacity(2 * BADGES);
    for (index, (handle, key)) in derived.iter().enumerate() {
        let Directory { publisher, map, .. } = &gate.directories[index % 2];
        let handle = Handle::new(*handle);
        let record = map.get(&handle).expect("the primitives derive what Lanyard derives");
        let (version, bytes) = (record.version(), *record.bytes());
        let origin = publisher.origin.as_str();
        sealed.push(Sealed::new(*key, origin, EPOCH, &handle, version, bytes));
    }
    let open_all = |open: fn(&Sealed) -> Option<[u8; 32]>| {
        let opened = sealed.iter().filter(|sealed| black_box(open(sealed)).is_some()).count();
        assert_eq!(opened, sealed.len(), "all records open");
    };
    figures.aws_lc.time(BADGES, || open_all(Sealed::open_aws_lc));
    figures.rust_crypto.time(BADGES, || open_all(Sealed::open_rust_crypto));
}

fn admits(gate: &Gate, presented: &Presented) -> bool {
    gate.verdict(presented) == Verdict::Admit
}
