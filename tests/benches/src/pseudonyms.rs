//! Row 3: pseudonyms, two of three holders, verified, in batches: the CPU of all parties for a key.

use std::hint::black_box;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{MultiscalarMul as _, VartimeMultiscalarMul as _};
use lanyard_core::oprf::{BlindedElement, blind};
use lanyard_core::threshold::{
    KeyShare, PublicShares, ShareIndex, combine_verified, combine_with_own, verify_share,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::measure::Rounds;
use crate::report::{Report, time};

const BATCH: usize = 2_048;
const ROUNDS: usize = 3;
const BAR: f64 = 1.3;

pub(crate) fn measure(report: &mut Report) {
    let mut rng = StdRng::seed_from_u64(3);
    let shares = shares(&mut rng);
    let public = shares.iter().map(KeyShare::public_share).collect();
    let public = PublicShares::new(2, public).expect("three shares of one key");
    let holders = [shares[0].index(), shares[2].index()];
    let quorum = public.quorum(&holders).expect("two holders");
    let inputs: Vec<[u8; 60]> = (0..BATCH)
        .map(|_| {
            let mut input = [0; 60];
            rng.fill_bytes(&mut input);
            input
        })
        .collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(<[u8; 60]>::as_slice).collect();

    let (mut asked, mut own) = (Rounds::default(), Rounds::default());
    let mut bare = Multiplications::default();
    for _ in 0..ROUNDS {
        let ask = |holder: &KeyShare, blinded: &[BlindedElement], rng: &mut StdRng| {
            let weighted = holder.for_quorum(&quorum).expect("in the quorum");
            let evaluated = weighted.evaluate(blinded, rng).expect("a batch of fitting size");
            verify_share(&public, &quorum, blinded, evaluated).expect("an honest proof")
        };
        let first = asked.time(BATCH, || {
            let state = blind(&inputs, &mut rng).expect("inputs of fitting size");
            let answers = [&shares[0], &shares[2]].map(|one| ask(one, state.blinded(), &mut rng));
            combine_verified(state, &quorum, &answers).expect("answers of one batch")
        });
        let second = own.time(BATCH, || {
            let state = blind(&inputs, &mut rng).expect("inputs of fitting size");
            let answer = ask(&shares[2], state.blinded(), &mut rng);
            combine_with_own(state, &public, &quorum, &shares[0], &[answer])
                .expect("answers of one batch")
        });
        let same = std::iter::zip(&first, &second).all(|(a, b)| *a.to_bytes() == *b.to_bytes());
        assert!(same, "both ways give the same pseudonyms");
        bare.round(&mut rng);
    }
    // Blind; the holder evaluates, and proves by one composite; two composites verify; own share and unblinding.
    let with_own = [(&bare.single, 2.0), (&bare.composite, 3.0), (&bare.pair, 1.0)];
    // Blind, two evaluations, unblind; one composite a holder proves, two verify.
    let without = [(&bare.single, 4.0), (&bare.composite, 6.0)];
    for (what, figure, needed) in [
        ("a pseudonym, 2 of 3, verified: the caller holds a share", &own, with_own.as_slice()),
        ("  and the caller has two others' answers to verify", &asked, &without),
    ] {
        let needed = Rounds::sum(needed);
        let ratio = (figure.over(&needed).median(), BAR);
        report.bar("3", what, time(figure.median()), time(needed.median()), ratio);
    }
}

/// Nanoseconds of CPU of the bare scalar multiplications that a key needs, 2 of 3 with a share of one's own, verified; and
/// of one of them.
pub(crate) fn bare() -> (f64, f64) {
    let mut rng = StdRng::seed_from_u64(3);
    let mut bare = Multiplications::default();
    (0..ROUNDS).for_each(|_| bare.round(&mut rng));
    let needed = Rounds::sum(&[(&bare.single, 2.0), (&bare.composite, 3.0), (&bare.pair, 1.0)]);
    (needed.median(), bare.single.median())
}

/// Shares of a key at 1, 2 and 3, as a dealer would make them.
fn shares(rng: &mut StdRng) -> [KeyShare; 3] {
    let [constant, slope] = [(); 2].map(|()| random_scalar(rng));
    [1_u8, 2, 3].map(|index| {
        let secret = constant + slope * Scalar::from(index);
        let index = ShareIndex::new(index).expect("not zero");
        KeyShare::from_bytes(index, secret.as_bytes()).expect("a share")
    })
}

fn random_scalar(rng: &mut StdRng) -> Scalar {
    let mut wide = [0; 64];
    rng.fill_bytes(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// Bare scalar multiplications, each for a whole batch.
#[derive(Default)]
struct Multiplications {
    single: Rounds,
    /// Two points with one chain of doublings.
    pair: Rounds,
    /// A point's part in a sum over the batch, which proofs are made of and verified by.
    composite: Rounds,
}

impl Multiplications {
    fn round(&mut self, rng: &mut StdRng) {
        let scalars: Vec<Scalar> = (0..BATCH).map(|_| random_scalar(rng)).collect();
        let points: Vec<RistrettoPoint> = scalars.iter().map(RistrettoPoint::mul_base).collect();
        let pairs = || std::iter::zip(&points, &scalars);
        self.single.time(BATCH, || {
            for (point, scalar) in pairs() {
                black_box(point * scalar);
            }
        });
        self.pair.time(BATCH, || {
            for (point, scalar) in pairs() {
                black_box(RistrettoPoint::multiscalar_mul([scalar, scalar], [point, &points[0]]));
            }
        });
        self.composite
            .time(BATCH, || black_box(RistrettoPoint::vartime_multiscalar_mul(&scalars, &points)));
    }
}
