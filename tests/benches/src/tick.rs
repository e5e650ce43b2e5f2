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
use crate::primitives::{Deriver, Sealed, TreeHashes};
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
}

#[derive(Default)]
struct Figures {
    tick: Rounds,
    derive: Rounds,
    aws_lc: Rounds,
    rust_crypto: Rounds,
    tree: Rounds,
    sign: Rounds,
}

pub(crate) fn measure(report: &mut Report, people: u32) {
    let mut last: Option<(u32, f64)> = None;
    for people in [people / 100, people / 10, people] {
        let (tick, parts) = one_size(people);
        let what = format!("tick of {RESEALS} re-seals, signed, {people} people");
        let ratio = tick.over(&parts).median();
        report.bar("5", what, time(tick.median()), time(parts.median()), (ratio, BAR));
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

fn one_size(people: u32) -> (Rounds, Rounds) {
    let publisher = Publisher::new(Authority::Police);
    let map = publisher.map(people);
    let rows = (0..people)
        .map(|number| {
            let seed = seed(publisher.authority, number);
            let handle = publisher.epoch_key(&seed).handle();
            (seed, handle, 1)
        })
        .collect();
    let signer = Signer::new(publisher.authority);
    let mut publication = Publication { publisher, rows, map, signer };
    let mut rng = StdRng::seed_from_u64(5);
    let mut figures = Figures::default();
    for _ in 0..ROUNDS {
        let mut chosen = BTreeSet::new();
        while chosen.len() < RESEALS.min(people as usize) {
            chosen.insert(rng.random_range(0..people));
        }
        let chosen: Vec<u32> = chosen.into_iter().collect();
        figures.tick.time(1, || publication.tick(&chosen));
        publication.primitives(&chosen, &mut figures);
    }
    let Figures { tick, derive, aws_lc, rust_crypto, tree, sign } = figures;
    let seal = aws_lc.fastest(rust_crypto);
    let parts = Rounds::sum(&[(&derive, 1.0), (&seal, 1.0), (&tree, 1.0), (&sign, 1.0)]);
    (tick, parts)
}

impl Publication {
    /// What the publisher computes in a tick; what it writes to its disk is not in here.
    fn tick(&mut self, chosen: &[u32]) {
        let Self { publisher, rows, map, signer } = self;
        let upserts = chosen
            .iter()
            .map(|&number| {
                let (seed, handle, version) = &mut rows[number as usize];
                *version += 1;
                let record = suspended(publisher.authority, number);
                let epoch_key = publisher.epoch_key(seed);
                let record = publisher.seal(&epoch_key, handle, *version, &record);
                Row { handle: *handle, record }
            })
            .collect();
        let delta = Delta::new(Vec::new(), upserts).expect("badges are distinct");
        let _ = map.apply(&delta).expect("the handles are there");
        black_box(signer.tick(&[(EPOCH, map.commitment())]));
    }

    fn primitives(&self, chosen: &[u32], figures: &mut Figures) {
        let Self { publisher, rows, map, .. } = self;
        let deriver = Deriver::new(publisher.event.as_str());
        let keys: Vec<[u8; 32]> = figures.derive.time(1, || {
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
        figures.aws_lc.time(1, || seal_all(Sealed::seal_aws_lc));
        figures.rust_crypto.time(1, || seal_all(Sealed::seal_rust_crypto));

        let handles: Vec<Handle> = chosen.iter().map(|&number| rows[number as usize].1).collect();
        let mut hashes = changed_hashes(map, &handles);
        figures.tree.time(1, || hashes.run());
        let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
        figures.sign.time(1, || black_box(key.sign(&[1; 120])));
    }
}

/// The hashes that change with these handles: all records of their buckets, the buckets, the nodes above.
fn changed_hashes(map: &Map, handles: &[Handle]) -> TreeHashes {
    let depth = map.depth();
    let under = |bits: u8| -> BTreeSet<u64> {
        handles.iter().map(|handle| Prefix::of(handle, bits).top()).collect()
    };
    let buckets = under(depth);
    let records = buckets
        .iter()
        .filter_map(|&top| Prefix::new(depth, top).ok())
        .map(|bucket| map.rows_under(bucket).count())
        .sum();
    let nodes = (0..depth).map(|bits| under(bits).len()).sum();
    TreeHashes::new(records, buckets.len(), nodes)
}

fn suspended(authority: Authority, number: u32) -> Record {
    Record { status: Status::NotGood, ..record(authority, number) }
}
