//! Row 4: a whole epoch of one authority's directory, from the seeds to the signed checkpoint.

use std::hint::black_box;

use ed25519_dalek::Signer as _;
use lanyard_core::badge::Seed;
use lanyard_core::ids::Authority;
use lanyard_core::map::{Map, Row, depth_for};
use lanyard_core::record::Record;

use crate::event::{EPOCH, Publisher, record, seed, sorted_map};
use crate::measure::Rounds;
use crate::primitives::{BucketHashes, Deriver, ManyHashes, Sealed};
use crate::report::{Report, time};
use crate::signer::Signer;

const ROUNDS: usize = 3;
/// Records that the primitives are measured on; their cost does not depend on how many there are.
const SAMPLE: usize = 50_000;
const BAR: f64 = 2.0;

#[derive(Default)]
struct Figures {
    rows: Rounds,
    build: Rounds,
    unsorted: Rounds,
    sign: Rounds,
    derive: Rounds,
    aws_lc: Rounds,
    rust_crypto: Rounds,
    tree: Rounds,
    bare_sign: Rounds,
}

pub(crate) fn measure(report: &mut Report, people: u32) {
    let publisher = Publisher::new(Authority::Committee);
    let entries: Vec<(Seed, Record)> = (0..people)
        .map(|number| (seed(publisher.authority, number), record(publisher.authority, number)))
        .collect();
    let count = entries.len();
    let mut figures = Figures::default();
    for _ in 0..ROUNDS {
        let rows = figures.rows.time(count, || {
            entries.iter().map(|(seed, record)| publisher.row(seed, record)).collect::<Vec<_>>()
        });
        primitives(&publisher, &entries, &rows, &mut figures);
        let unsorted = rows.clone();
        figures.unsorted.time(count, || {
            Map::build(depth_for(people), unsorted).expect("handles are distinct and uniform")
        });
        let map = figures.build.time(count, || sorted_map(rows));
        let mut signer = Signer::new(publisher.authority);
        figures.sign.time(1, || signer.tick(&[(EPOCH, map.commitment())]));
        figures
            .bare_sign
            .time(1, || black_box(ed25519_dalek::SigningKey::from_bytes(&[3; 32]).sign(&[1; 120])));
    }

    let Figures { rows, build, unsorted, sign, derive, aws_lc, rust_crypto, tree, bare_sign } =
        figures;
    let per_person = 1.0 / f64::from(people);
    let whole = Rounds::sum(&[(&rows, 1.0), (&build, 1.0), (&sign, per_person)]);
    let seal = aws_lc.fastest(rust_crypto);
    let parts =
        Rounds::sum(&[(&derive, 1.0), (&seal, 1.0), (&tree, 1.0), (&bare_sign, per_person)]);
    let total = |rounds: &Rounds| time(rounds.median() * f64::from(people));
    let what = format!("epoch of {people} people, one directory: derive, seal, build, sign");
    let ratio = whole.over(&parts).median();
    report.bar("4", what, total(&whole), total(&parts), (ratio, BAR));
    let derive_and_seal = Rounds::sum(&[(&derive, 1.0), (&seal, 1.0)]);
    let rows_beside = format!("{}, bare {}", total(&rows), total(&derive_and_seal));
    report.note("4", "  of it: derive and seal", rows_beside);
    let build_beside = format!("{}, bare hashes {}", total(&build), total(&tree));
    report.note("4", "  of it: sort and build", build_beside);
    report.note("4", "  (build without sorting first)", total(&unsorted));
}

/// The primitives of the same rows.
fn primitives(
    publisher: &Publisher,
    entries: &[(Seed, Record)],
    rows: &[Row],
    figures: &mut Figures,
) {
    let deriver = Deriver::new(publisher.event.as_str());
    let sample = entries.len().min(SAMPLE);
    let mut keys = Vec::with_capacity(sample);
    figures.derive.time(sample, || {
        for (seed, _) in &entries[..sample] {
            let epoch_key = deriver.epoch_key(seed.expose_bytes());
            let key = Deriver::record_key(&epoch_key, publisher.key.expose_bytes());
            keys.push((Deriver::handle(&epoch_key), key));
        }
    });
    let sealed: Vec<Sealed> = std::iter::zip(&keys, std::iter::zip(entries, rows))
        .map(|((handle, key), ((_, record), row))| {
            assert_eq!(row.handle.as_bytes(), handle, "the primitives derive what Lanyard derives");
            let mut plain = [0; 48];
            plain[..32].copy_from_slice(&record.to_bytes());
            Sealed::new(*key, publisher.origin.as_str(), EPOCH, &row.handle, 1, plain)
        })
        .collect();
    let agree = std::iter::zip(&sealed, rows).take(100).all(|(sealed, row)| {
        sealed.seal_aws_lc() == Some(*row.record.bytes())
            && sealed.seal_rust_crypto() == Some(*row.record.bytes())
    });
    assert!(agree, "the primitives seal what Lanyard seals");
    let seal_all = |seal: fn(&Sealed) -> Option<[u8; 48]>| {
        for one in &sealed {
            black_box(seal(one));
        }
    };
    figures.aws_lc.time(sample, || seal_all(Sealed::seal_aws_lc));
    figures.rust_crypto.time(sample, || seal_all(Sealed::seal_rust_crypto));
    let buckets = 1_usize << depth_for(u32::try_from(entries.len()).unwrap_or(u32::MAX));
    let mut hashes = BucketHashes::new(entries.len(), buckets);
    let mut nodes = ManyHashes::<64>::new(buckets - 1);
    figures.tree.time(entries.len(), || {
        hashes.run();
        nodes.run();
    });
}
