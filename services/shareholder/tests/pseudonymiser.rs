//! Pseudonyms through honest, lying, silent and missing holders.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lanyard_core::threshold::ThresholdError;
use lanyard_party::{Generation, HeldShare};
use lanyard_shareholder::{
    Batch, FaultKind, PADDING, PseudonymError, Pseudonymiser, Purpose, Settings,
};
use lanyard_transport::PartyName;
use support::{Cheat, Committee, Dealer, TestHolder, TestShares, assert_same, people};

const ENROLMENT: Purpose = Purpose::Enrolment;

#[tokio::test(flavor = "multi_thread")]
async fn every_pair_of_shares_gives_what_the_whole_key_would() {
    let mut committee = Committee::new();
    let keys = people(70);
    let expected = committee.dealer.expected(&keys);
    for _ in 0..2 {
        let computed = committee.pseudonymiser().pseudonyms(ENROLMENT, &keys).await.unwrap();
        assert_same(&computed, &expected);
        committee.holders.reverse();
    }
    // The third pair: police and trustee, without the committee.
    let dealer = &committee.dealer;
    let trustee = committee.holders.iter().find(|(holder, _)| holder.index == 3).unwrap();
    let net = support::Net::serve(
        support::Wrapped::honest(trustee.0.server(dealer)),
        support::service(PartyName::Police),
    );
    let holder = lanyard_shareholder::Holder {
        index: lanyard_core::threshold::ShareIndex::new(3).unwrap(),
        name: "trustee".to_owned(),
        channel: net.channel(),
    };
    let settings = Settings::default();
    let police = Pseudonymiser::new(dealer.env.clone(), dealer.held(2), vec![holder], settings);
    let computed = police.unwrap().pseudonyms(Purpose::Watchlist, &keys).await.unwrap();
    assert_same(&computed, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preferred_holder_alone_is_asked_for_padded_batches() {
    let committee = Committee::new();
    let keys = people(65);
    committee.pseudonymiser().pseudonyms(ENROLMENT, &keys).await.unwrap();
    let [trustee, police] = &committee.holders[..] else { unreachable!() };
    assert_eq!(trustee.0.used(ENROLMENT), 128);
    assert_eq!(police.0.used(ENROLMENT), 0);
    assert!(committee.pseudonymiser().pseudonyms(ENROLMENT, &[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cheat_is_named_left_out_and_replaced() {
    let keys = people(3);
    let other = Dealer::new(2, 3);
    let elsewhere = TestHolder::new(3, PartyName::Trustee);
    let cheats = [
        ("other share", Cheat::OtherShare(elsewhere.server(&other))),
        ("wrong index", Cheat::WrongIndex),
        ("identity", Cheat::Identity),
        ("non-canonical", Cheat::NonCanonical),
        ("truncated", Cheat::Truncated),
        ("one less", Cheat::OneLess),
        ("one more", Cheat::OneMore),
        ("swapped", Cheat::Swapped),
        ("empty", Cheat::Empty),
        ("proof truncated", Cheat::ProofTruncated),
        ("proof of other", Cheat::ProofOfOther),
    ];
    for (name, cheat) in cheats {
        let mut committee = Committee::new();
        let expected = committee.dealer.expected(&keys);
        let calls = committee.corrupt(0, cheat);
        let pseudonymiser = committee.pseudonymiser();
        for _ in 0..2 {
            let computed = pseudonymiser.pseudonyms(ENROLMENT, &keys).await;
            assert_same(&computed.unwrap_or_else(|error| panic!("{name}: {error}")), &expected);
        }
        assert_eq!(*calls.lock().unwrap(), 1, "{name}: it is not asked again");
        let faults = pseudonymiser.faults();
        assert_eq!(faults.len(), 1, "{name}");
        assert_eq!((faults[0].holder.as_str(), faults[0].index.get()), ("trustee", 3), "{name}");
        assert!(faults[0].is_misbehaviour(), "{name}: {}", faults[0]);
        let counted = pseudonymiser.faults_since(&[]);
        assert_eq!((counted.len(), counted[0].count, &counted[0].last), (1, 1, &faults[0]));
        let told = counted[0].to_wire();
        assert_eq!((&*told.holder, told.share, told.misbehaves), ("trustee", 3, true), "{name}");
        assert!(pseudonymiser.faults_since(&counted).is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nobody_left_every_fault_is_named() {
    let mut committee = Committee::new();
    committee.corrupt(0, Cheat::WrongIndex);
    committee.holders[1].1.set_down(true);
    let pseudonymiser = committee.pseudonymiser();
    for _ in 0..2 {
        let error = pseudonymiser.pseudonyms(ENROLMENT, &people(1)).await.err().unwrap();
        let text = error.to_string();
        let PseudonymError::NotEnoughHolders { needed: 1, faults } = error else {
            panic!("{text}")
        };
        let kinds: Vec<_> = faults.iter().map(|fault| (&*fault.holder, &fault.kind)).collect();
        assert_eq!(kinds.len(), 2, "{text}");
        assert!(text.contains("trustee (share 3): misbehaves"), "{text}");
        assert!(text.contains("police (share 2): not reached"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_down_is_replaced_and_used_again_later() {
    let mut committee = Committee::new();
    committee.settings.unreachable_pause = Duration::from_millis(50);
    committee.holders[0].1.set_down(true);
    let keys = people(2);
    let expected = committee.dealer.expected(&keys);
    let pseudonymiser = committee.pseudonymiser();
    assert_same(&pseudonymiser.pseudonyms(ENROLMENT, &keys).await.unwrap(), &expected);
    let [(trustee, net), (police, _)] = &committee.holders[..] else { unreachable!() };
    assert_eq!((trustee.used(ENROLMENT), police.used(ENROLMENT)), (0, 64));
    assert!(!pseudonymiser.faults()[0].is_misbehaviour());

    net.set_down(false);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_same(&pseudonymiser.pseudonyms(ENROLMENT, &keys).await.unwrap(), &expected);
    assert_eq!((trustee.used(ENROLMENT), police.used(ENROLMENT)), (64, 64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_holder_is_replaced_after_the_timeout() {
    let mut committee = Committee::new();
    committee.settings.timeout = Duration::from_millis(300);
    committee.corrupt(0, Cheat::Silent);
    let keys = people(2);
    let pseudonymiser = committee.pseudonymiser();
    let computed = pseudonymiser.pseudonyms(ENROLMENT, &keys).await.unwrap();
    assert_same(&computed, &committee.dealer.expected(&keys));
    assert!(matches!(pseudonymiser.faults()[0].kind, FaultKind::Unreachable { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_with_a_full_disk_answers_nothing_and_is_replaced() {
    let committee = Committee::new();
    let (trustee, _) = &committee.holders[0];
    trustee.disk.set_space(Some(0));
    let keys = people(2);
    let computed = committee.pseudonymiser().pseudonyms(ENROLMENT, &keys).await.unwrap();
    assert_same(&computed, &committee.dealer.expected(&keys));
    assert_eq!(trustee.used(ENROLMENT), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_ends_the_job_and_a_kept_batch_goes_on_later() {
    let committee = Committee::new();
    let [(trustee, _), (police, _)] = &committee.holders[..] else { unreachable!() };
    let keys = people(65);
    let batch = Batch::draw(&keys, &mut committee.dealer.env.rng());
    let again = Batch::parse(&batch.to_bytes()).unwrap();
    trustee.quota.store(2 * PADDING as u64 - 1, Ordering::SeqCst);
    let pseudonymiser = committee.pseudonymiser();
    let error = pseudonymiser.evaluate(ENROLMENT, batch).await.err().unwrap();
    assert!(
        matches!(
            &error,
            PseudonymError::QuotaExceeded { holder, purpose: ENROLMENT, remaining: 127 }
                if holder == "trustee"
        ),
        "{error}"
    );
    // Another holder is not asked instead.
    assert_eq!((trustee.used(ENROLMENT), police.used(ENROLMENT)), (0, 0));
    trustee.quota.fetch_add(1, Ordering::SeqCst);
    let computed = pseudonymiser.evaluate(ENROLMENT, again).await.unwrap();
    assert_same(&computed, &committee.dealer.expected(&keys));
    assert_eq!(trustee.used(ENROLMENT), 128);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_batch_is_counted_once_by_each_holder() {
    let mut committee = Committee::new();
    committee.settings.unreachable_pause = Duration::ZERO;
    let keys = people(3);
    let expected = committee.dealer.expected(&keys);
    let kept = Batch::draw(&keys, &mut committee.dealer.env.rng()).to_bytes();
    let ask = async |committee: &Committee| {
        let batch = Batch::parse(&kept).unwrap();
        let computed = committee.pseudonymiser().evaluate(ENROLMENT, batch).await.unwrap();
        assert_same(&computed, &expected);
        [0, 1].map(|place| committee.holders[place].0.used(ENROLMENT))
    };
    assert_eq!(ask(&committee).await, [64, 0]);
    assert_eq!(ask(&committee).await, [64, 0]);
    // The other holder counts for itself: it has evaluated, too.
    committee.holders[0].1.set_down(true);
    assert_eq!(ask(&committee).await, [64, 64]);
    assert_eq!(ask(&committee).await, [64, 64]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_batches_come_back_in_their_order() {
    let mut committee = Committee::new();
    committee.settings.batch = 64;
    let keys = people(650);
    let pseudonymiser = committee.pseudonymiser();
    let computed = pseudonymiser.pseudonyms(ENROLMENT, &keys).await.unwrap();
    assert_same(&computed, &committee.dealer.expected(&keys));
    assert_eq!(committee.holders[0].0.used(ENROLMENT), 704);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_five_go_on_when_one_cheats_and_one_is_down() {
    let holders = [
        TestHolder::new(2, PartyName::Police),
        TestHolder::new(3, PartyName::Trustee),
        TestHolder::new(4, PartyName::Sponsor),
        TestHolder::new(5, PartyName::Gate),
    ];
    let mut committee = Committee::of(Dealer::new(3, 5), holders);
    committee.corrupt(0, Cheat::Swapped);
    committee.holders[2].1.set_down(true);
    let keys = people(2);
    let pseudonymiser = committee.pseudonymiser();
    let computed = pseudonymiser.pseudonyms(ENROLMENT, &keys).await.unwrap();
    assert_same(&computed, &committee.dealer.expected(&keys));
    let blamed: Vec<_> = pseudonymiser.faults().iter().map(|fault| fault.index.get()).collect();
    assert_eq!(blamed, [2, 4]);
    // Asked with each quorum, counted once: the batch keeps its name.
    assert_eq!(committee.holders[1].0.used(ENROLMENT), 64);
}

fn held_of(dealer: &Dealer, generation: u32, index: u8) -> HeldShare {
    let generation = Generation::new(generation).unwrap();
    HeldShare::new(generation, dealer.share(index), dealer.public()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_changes_no_pseudonym_whoever_switches_first() {
    let mut committee = Committee::new();
    let second = committee.dealer.refreshed();
    let both = |dealer: &Dealer, index| {
        Arc::new(TestShares::from([held_of(dealer, 1, index), held_of(&second, 2, index)]))
    };
    let trustee = both(&committee.dealer, 3);
    committee.serve(0, Arc::clone(&trustee) as _);
    let own = both(&committee.dealer, 1);
    let pseudonymiser = committee.pseudonymiser_of(Arc::clone(&own) as _);
    let keys = people(2);
    let expected = committee.dealer.expected(&keys);
    for (of_trustee, of_committee) in [(1, 1), (2, 1), (2, 2), (1, 2)] {
        trustee.put_in_force(of_trustee);
        own.put_in_force(of_committee);
        let computed = pseudonymiser.pseudonyms(ENROLMENT, &keys).await.unwrap();
        assert_same(&computed, &expected);
    }
    assert!(pseudonymiser.faults().is_empty());

    // The others have destroyed the old share before this service has seen that its own folder has switched.
    own.put_in_force(1);
    trustee.put_in_force(2);
    trustee.destroy(1);
    assert_same(&pseudonymiser.pseudonyms(ENROLMENT, &keys).await.unwrap(), &expected);
    assert!(pseudonymiser.faults().is_empty());

    // A holder without the new share is no cheat: another one is asked.
    let trustee = Arc::new(TestShares::from([held_of(&committee.dealer, 1, 3)]));
    committee.serve(0, trustee as _);
    let police = both(&committee.dealer, 2);
    committee.serve(1, police as _);
    let pseudonymiser = committee.pseudonymiser_of(own as _);
    assert_same(&pseudonymiser.pseudonyms(ENROLMENT, &keys).await.unwrap(), &expected);
    let faults = pseudonymiser.faults();
    assert!(matches!(&faults[0].kind, FaultKind::OtherGeneration { .. }), "{}", faults[0]);
    assert!(faults[0].to_string().contains("generation 2"), "{}", faults[0]);
}

#[tokio::test]
async fn shares_and_holders_that_do_not_fit_are_refused() {
    let committee = Committee::new();
    let dealer = &committee.dealer;
    let make = |holders: &[usize]| {
        let channel = committee.holders[0].1.channel();
        let holders = holders.iter().map(|index| lanyard_shareholder::Holder {
            index: lanyard_core::threshold::ShareIndex::new(*index as u8).unwrap(),
            name: "x".to_owned(),
            channel: channel.clone(),
        });
        let (env, own) = (dealer.env.clone(), dealer.held(1));
        match Pseudonymiser::new(env, own, holders.collect(), Settings::default()) {
            Err(PseudonymError::Setup(error)) => Some(error),
            _ => None,
        }
    };
    let foreign = HeldShare::new(Generation::FIRST, Dealer::new(2, 3).share(1), dealer.public());
    assert!(matches!(foreign.err(), Some(ThresholdError::Mismatch { .. })));
    assert!(matches!(make(&[1]), Some(ThresholdError::Duplicate { .. })));
    assert!(matches!(make(&[2, 2]), Some(ThresholdError::Duplicate { .. })));
    assert!(matches!(make(&[4]), Some(ThresholdError::Unknown { .. })));
    assert!(make(&[3, 2]).is_none());
}
