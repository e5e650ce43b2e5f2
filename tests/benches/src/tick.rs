//! Row 5: one tick. It grows with k log n, not with n.

use std::collections::BTreeSet;
use std::hint::black_box;

use ed25519_dalek::Signer as _;
use lanyard_core::badge::Seed;
use lanyard_core::ids::{Authority, Handle};
use lanyard_core::map::{Delta, Map, Prefix, Row};
use lanyard_core::record::{Record, Status};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::event::{EPOCH, Publisher, record, seed};
use crate::measure::Rounds;
use crate::primitives::{BareTable, BareTree, BucketHashes, Deriver, Sealed, bare_table};
use crate::report::{Report, time};
use crate::signer::Signer;

/// Records that a tick re-seals.
const RESEALS: usize = 256;
const ROUNDS: usize = 31;
const BAR: f64 = 2.0;

struct Publication {
    publisher: Publisher,
    /// Seed, handle and version of each badge.
    rows: Vec<(Seed, Handle, u32)>,
    map: Map,
    signer: Signer,
    bare: BareTable,
    bare_tree: BareTree,
}

#[derive(Default)]
struct Figures {
    seal: Rounds,
    apply: Rounds,
    sign: Rounds,
    bare_derive: Rounds,
    bare_aws_lc: Rounds,
    bare_rust_crypto: Rounds,
    bare_map: Rounds,
    bare_sign: Rounds,
}

/// A tick and its primitives, in nanoseconds, whole and of it the map's part.
struct Measured {
    tick: Rounds,
    limit: Rounds,
    apply: f64,
    bare_map: f64,
}

pub(crate) fn measure(report: &mut Report, people: u32) {
    let mut last: Option<(u32, f64)> = None;
    for people in [people / 100, people / 10, people] {
        let Measured { tick, limit, apply, bare_map } = one_size(people);
        let what = format!("tick of {RESEALS} re-seals, signed, {people} people");
        let ratio = tick.over(&limit).median();
        report.bar("5", what, time(tick.median()), time(limit.median()), (ratio, BAR));
        let parts = format!("{}, bare {}", time(apply), time(bare_map));
        report.note("5", "  of it: the map", parts);
        if let Some((fewer, before)) = last.replace((people, tick.median())) {
            // Twice the growth of log n leaves room for caches that no longer hold the map.
            let logarithms = f64::from(people).log2() / f64::from(fewer).log2();
            let what = format!("  growth from {fewer} to {people} people");
            let growth = tick.median() / before;
            let figure = format!("{growth:.2}-fold");
            let limit = format!("log n: {logarithms:.2}-fold");
            report.bar("5", what, figure, limit, (growth / logarithms, BAR));
        }
    }
}

fn one_size(people: u32) -> Measured {
    let mut publication = Publication::new(people);
    let mut rng = StdRng::seed_from_u64(5);
    let mut figures = Figures::default();
    for _ in 0..ROUNDS {
        // Others each time: what one figure left in the cache must not help the next.
        let mut draw = || {
            let mut chosen = BTreeSet::new();
            while chosen.len() < RESEALS {
                chosen.insert(rng.random_range(0..people));
            }
            chosen.into_iter().collect::<Vec<u32>>()
        };
        publication.tick(&draw(), &mut figures);
        publication.primitives(&draw(), &mut figures);
    }
    let Figures { seal, apply, sign, .. } = &figures;
    let tick = Rounds::sum(&[(seal, 1.0), (apply, 1.0), (sign, 1.0)]);
    let (apply, bare_map) = (apply.median(), figures.bare_map.median());
    let bare_seal = figures.bare_aws_lc.fastest(figures.bare_rust_crypto);
    let limit = Rounds::sum(&[
        (&figures.bare_derive, 1.0),
        (&bare_seal, 1.0),
        (&figures.bare_map, 1.0),
        (&figures.bare_sign, 1.0),
    ]);
    Measured { tick, limit, apply, bare_map }
}

impl Publication {
    fn new(people: u32) -> Self {
        let publisher = Publisher::new(Authority::Police);
        let map = publisher.map(people);
        let row = |number| {
            let seed = seed(publisher.authority, number);
            let handle = publisher.epoch_key(&seed).handle();
            (seed, handle, 1)
        };
        Self {
            rows: (0..people).map(row).collect(),
            signer: Signer::new(publisher.authority),
            bare: bare_table(&map),
            bare_tree: BareTree::new(map.depth()),
            publisher,
            map,
        }
    }

    /// What the publisher computes in a tick; what it writes to its disk is not in here.
    fn tick(&mut self, chosen: &[u32], figures: &mut Figures) {
        let Self { publisher, rows, map, signer, .. } = self;
        let wanted: Vec<Record> =
            chosen.iter().map(|&number| suspended(publisher.authority, number)).collect();
        let upserts: Vec<Row> = figures.seal.time(1, || {
            let reseal = |(&number, record): (&u32, &Record)| {
                let (seed, handle, version) = &mut rows[number as usize];
                *version += 1;
                let epoch_key = publisher.epoch_key(seed);
                let record = publisher.seal(&epoch_key, handle, *version, record);
                Row { handle: *handle, record }
            };
            std::iter::zip(chosen, &wanted).map(reseal).collect()
        });
        figures.apply.time(1, || {
            let delta = Delta::new(Vec::new(), upserts).expect("badges are distinct");
            let _ = map.apply(&delta).expect("the handles are there");
        });
        figures.sign.time(1, || black_box(signer.tick(&[(EPOCH, map.commitment())])));
    }

    fn primitives(&mut self, chosen: &[u32], figures: &mut Figures) {
        let Self { publisher, rows, map, bare, bare_tree, .. } = self;
        let deriver = Deriver::new(publisher.event.as_str());
        let keys: Vec<[u8; 32]> = figures.bare_derive.time(1, || {
            let key = |&number: &u32| {
                let (seed, ..) = &rows[number as usize];
                let epoch_key = deriver.epoch_key(seed.expose_bytes());
                Deriver::record_key(&epoch_key, publisher.key.expose_bytes())
            };
            chosen.iter().map(key).collect()
        });
        let sealed: Vec<Sealed> = std::iter::zip(chosen, keys)
            .map(|(&number, key)| {
                let (_, handle, version) = &rows[number as usize];
                let mut plain = [0; 48];
                plain[..32].copy_from_slice(&suspended(publisher.authority, number).to_bytes());
                Sealed::new(key, publisher.origin.as_str(), EPOCH, handle, *version, plain)
            })
            .collect();
        let seal_all = |seal: fn(&Sealed) -> Option<[u8; 48]>| {
            for one in &sealed {
                black_box(seal(one));
            }
        };
        figures.bare_aws_lc.time(1, || seal_all(Sealed::seal_aws_lc));
        figures.bare_rust_crypto.time(1, || seal_all(Sealed::seal_rust_crypto));

        let handles: Vec<Handle> = chosen.iter().map(|&number| rows[number as usize].1).collect();
        let prefixes = handles.iter().map(|handle| Prefix::of(handle, map.depth()));
        let buckets: BTreeSet<u64> = prefixes.map(Prefix::top).collect();
        let under = |&top: &u64| Prefix::new(map.depth(), top).ok();
        let records = buckets.iter().filter_map(under).map(|bucket| map.rows_under(bucket).count());
        let mut hashes = BucketHashes::new(records.sum(), buckets.len());
        let leaves: Vec<usize> =
            buckets.iter().map(|top| (top >> (64 - u32::from(map.depth()))) as usize).collect();
        figures.bare_map.time(1, || {
            for handle in &handles {
                if let Some(value) = bare.get_mut(handle.as_bytes()) {
                    value[4..].copy_from_slice(&[9; 48]);
                }
            }
            hashes.run();
            bare_tree.update(&leaves);
        });
        let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
        figures.bare_sign.time(1, || black_box(key.sign(&[1; 120])));
    }
}

fn suspended(authority: Authority, number: u32) -> Record {
    Record { status: Status::NotGood, ..record(authority, number) }
}
