//! The ceremony step by step: order, repetition, interruption.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lanyard_ceremony::{CeremonyError, Member, Seat, Step};
use lanyard_env::{Env, Loss, LossyDisk};
use lanyard_party::Generation;

use crate::support::{
    EVENT, PASSPHRASE, addresses, copy, env_on, files_under, init, member, sample_plan, seat,
    shared,
};

#[test]
fn a_second_init_is_refused() {
    let again = init(&Env::system(), shared(), &sample_plan());
    assert!(matches!(again, Err(CeremonyError::AlreadyInitialised { .. })));
}

#[test]
fn an_interrupted_init_is_resumed_wherever_it_stopped() {
    let (disk, dir) = (LossyDisk::new(), Path::new(EVENT));
    let (env, plan) = (env_on(&disk), sample_plan());
    // Each run dies in the course of its third file, with or without what was not synced.
    let mut runs = 0;
    loop {
        runs += 1;
        disk.stop_after(11 + runs % 5);
        let made = init(&env, dir, &plan);
        assert_eq!(made.is_ok(), !disk.is_stopped());
        disk.restart([Loss::All, Loss::None, Loss::Some(runs)][runs as usize % 3]);
        if made.is_ok() {
            break;
        }
        assert!(runs < 200, "it does not get on");
    }
    assert!(runs > 20, "only {runs} runs: nothing was interrupted");
    let names = |paths: &[PathBuf], dir: &Path| -> BTreeSet<_> {
        let kept = paths.iter().filter(|path| path.extension().is_none_or(|kind| kind != "tmp"));
        kept.map(|path| path.strip_prefix(dir).unwrap().to_owned()).collect()
    };
    assert_eq!(names(&disk.paths(), dir), names(&files_under(shared()), shared()));
    for holder in ["trustee", "committee", "police"] {
        let seat = Seat::open(&env, &dir.join(holder), &dir.join("exchange")).unwrap();
        seat.folder().held_share(Generation::FIRST).unwrap();
    }
}

#[test]
fn an_interrupted_init_goes_on_with_its_own_plan_only() {
    let (disk, dir) = (LossyDisk::new(), Path::new(EVENT));
    disk.stop_after(60);
    assert!(init(&env_on(&disk), dir, &sample_plan()).is_err());
    disk.restart(Loss::All);
    let mut other = sample_plan();
    other.title = "Another".to_owned();
    let refused = init(&env_on(&disk), dir, &other);
    assert!(matches!(refused, Err(CeremonyError::OtherPlan { .. })));
}

#[test]
fn steps_wait_for_each_other_and_say_for_whom() {
    let dir = tempfile::tempdir().unwrap();
    let (env, plan) = (Env::system(), sample_plan());
    let exchange = dir.path().join("exchange");
    let prepare = |name: &str| {
        let passphrase = member(name).is_authority().then_some(PASSPHRASE);
        let folder = dir.path().join(name);
        Seat::prepare(&env, &folder, &exchange, &member(name), &plan, passphrase).unwrap().0
    };
    let unprepared = Seat::open(&env, &dir.path().join("police"), &exchange);
    assert!(matches!(unprepared, Err(CeremonyError::NotPrepared { .. })));
    let no_passphrase =
        Seat::prepare(&env, &dir.path().join("c"), &exchange, &Member::Committee, &plan, None);
    assert!(matches!(no_passphrase, Err(CeremonyError::PassphraseNeeded)));

    let trustee = prepare("trustee");
    let waiting = |result: Result<Step, CeremonyError>, whom: &str| match result {
        Err(CeremonyError::Waiting { from, path, .. }) => {
            assert_eq!(from.name(), whom);
            assert!(path.starts_with(&exchange));
        }
        other => panic!("{other:?} instead of waiting for {whom}"),
    };
    waiting(trustee.dkg_round1(&plan), "committee");
    assert!(trustee.dkg_round3().is_err());
    let (committee, police) = (prepare("committee"), prepare("police"));
    assert_eq!(trustee.dkg_round1(&plan).unwrap(), Step::Done);
    assert_eq!(trustee.dkg_round1(&plan).unwrap(), Step::AlreadyDone);
    waiting(trustee.dkg_round2(), "committee");
    committee.dkg_round1(&plan).unwrap();
    waiting(trustee.dkg_round2(), "police");
    police.dkg_round1(&plan).unwrap();
    trustee.dkg_round2().unwrap();
    assert_eq!(trustee.dkg_round2().unwrap(), Step::AlreadyDone);
    waiting(trustee.dkg_round3(), "committee");
    committee.dkg_round2().unwrap();
    police.dkg_round2().unwrap();
    for holder in [&trustee, &committee, &police] {
        assert_eq!(holder.dkg_round3().unwrap(), Step::Done);
        assert_eq!(holder.dkg_round3().unwrap(), Step::AlreadyDone);
        assert_eq!(holder.dkg_round1(&plan).unwrap(), Step::AlreadyDone);
    }

    waiting(committee.draft_manifest(&plan), "sponsor");
    prepare("sponsor");
    let gates = prepare("gate-ca");
    let gate = prepare("gate-1");
    waiting(police.sign_manifest(&plan), "committee");
    assert_eq!(committee.draft_manifest(&plan).unwrap(), Step::Done);
    assert_eq!(committee.draft_manifest(&plan).unwrap(), Step::AlreadyDone);
    waiting(gate.adopt(), "committee");
    committee.sign_manifest(&plan).unwrap();
    waiting(gate.adopt(), "police");
    police.sign_manifest(&plan).unwrap();
    assert_eq!(police.sign_manifest(&plan).unwrap(), Step::AlreadyDone);
    waiting(gate.adopt(), "gate-ca");
    assert_eq!(gates.certify_gate(gate.member()).unwrap(), Step::Done);
    assert_eq!(gates.certify_gate(gate.member()).unwrap(), Step::AlreadyDone);
    assert_eq!(gate.adopt().unwrap(), Step::Done);
    assert_eq!(gate.adopt().unwrap(), Step::AlreadyDone);
    assert!(matches!(trustee.sign_manifest(&plan), Err(CeremonyError::NotForMember { .. })));
    assert!(matches!(gate.dkg_round1(&plan), Err(CeremonyError::NotForMember { .. })));
    gate.write_config(&plan, &addresses(&plan)).unwrap();
}

#[test]
fn a_folder_keeps_its_owner() {
    let dir = copy();
    let prepare = |folder: &str, name: &str, plan| {
        let (folder, exchange) = (dir.path().join(folder), dir.path().join("exchange"));
        Seat::prepare(&Env::system(), &folder, &exchange, &member(name), plan, None).map(|(_, s)| s)
    };
    let plan = sample_plan();
    assert_eq!(prepare("sponsor", "sponsor", &plan).unwrap(), Step::AlreadyDone);
    let other = prepare("sponsor", "trustee", &plan);
    assert!(matches!(other, Err(CeremonyError::OtherFolder { .. })));
    let mut elsewhere = plan.clone();
    elsewhere.event = lanyard_core::ids::EventId::parse("other-games").unwrap();
    let other = prepare("sponsor", "sponsor", &elsewhere);
    assert!(matches!(other, Err(CeremonyError::OtherFolder { .. })));
}

#[test]
fn fingerprints_agree_between_author_and_reader() {
    let (police, trustee) = (seat(shared(), "police"), seat(shared(), "trustee"));
    let own = police.fingerprint(&Member::Police).unwrap();
    assert_eq!(own, trustee.fingerprint(&Member::Police).unwrap());
    assert_ne!(own, trustee.fingerprint(&Member::Trustee).unwrap());
}
