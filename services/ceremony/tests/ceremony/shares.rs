//! Refreshing shares and repairing a lost one, over folders and files.

#![allow(clippy::disallowed_methods)] // tests damage files as an attacker would

use std::fs;
use std::path::Path;

use lanyard_ceremony::{CeremonyError, Member, Seat, Step, TakenOver, replace_trustee};
use lanyard_core::identity::{Document, DocumentKind, IdentityKey};
use lanyard_core::ids::{Authority, EventId};
use lanyard_core::manifest::Manifest;
use lanyard_core::oprf::{self, Pseudonym};
use lanyard_core::threshold::{KeyShare, ShareIndex, combine};
use lanyard_env::Env;
use lanyard_party::{Folder, Generation, HeldShare, ManifestStore, ShareStore};
use lanyard_shareholder::{Ledger, LedgerError, Purpose};

use crate::secrets::holds;
use crate::support::{copy, dying_env, files_under, sample_plan, seat, shared};

const HOLDERS: [&str; 3] = ["trustee", "committee", "police"];

type Take = fn(&Seat) -> Result<Step, CeremonyError>;

const REFRESH: [Take; 5] = [
    Seat::refresh_round1,
    Seat::refresh_round2,
    Seat::refresh_round3,
    Seat::refresh_switch,
    Seat::refresh_finish,
];

fn all(dir: &Path, take: Take) {
    for holder in HOLDERS {
        assert_eq!(take(&seat(dir, holder)).unwrap(), Step::Done, "{holder}");
    }
}

fn in_force(dir: &Path, holder: &str) -> HeldShare {
    let folder = seat(dir, holder).folder().clone();
    folder.held_share(folder.generation_in_force().unwrap()).unwrap()
}

/// The pseudonym of one document through two holders, whose shares are of one generation.
fn pseudonym(one: &HeldShare, other: &HeldShare) -> Pseudonym {
    let mut rng = Env::system().rng();
    let event = EventId::parse("harbour-games-2027").unwrap();
    let document = Document::new(DocumentKind::Passport, "UTO", "L898902C3").unwrap();
    let key = IdentityKey::document(&event, &document);
    let public = one.public();
    assert_eq!(public, other.public());
    let indices: Vec<ShareIndex> = [one, other].map(|held| held.share().index()).to_vec();
    let quorum = public.quorum(&indices).unwrap();
    let state = oprf::blind(&[key.as_bytes()], &mut rng).unwrap();
    let answers = [one, other]
        .map(|held| {
            let weighted = held.share().for_quorum(&quorum).unwrap();
            weighted.evaluate(state.blinded(), &mut rng).unwrap()
        })
        .to_vec();
    combine(state, public, &quorum, answers).unwrap().remove(0)
}

/// Every pair in force that is of one generation gives the same as before any refresh.
fn check_pairs(dir: &Path) -> usize {
    let [one, other] = ["trustee", "police"].map(|holder| in_force(shared(), holder));
    let expected = pseudonym(&one, &other);
    let held = HOLDERS.map(|holder| in_force(dir, holder));
    let mut pairs = 0;
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        if held[one].generation() == held[other].generation() {
            assert!(pseudonym(&held[one], &held[other]) == expected);
            pairs += 1;
        }
    }
    pairs
}

fn waiting(result: Result<Step, CeremonyError>, whom: &str, what: &str) {
    match result {
        Err(CeremonyError::Waiting { from, step, .. }) => {
            assert_eq!((from.name(), step.contains(what)), (whom, true), "{step}");
        }
        other => panic!("{other:?} instead of waiting for {whom}"),
    }
}

#[test]
fn a_refresh_gives_new_shares_and_the_same_pseudonyms() {
    let dir = copy();
    let at = |holder: &str| seat(dir.path(), holder);
    let [trustee, committee, police] = HOLDERS.map(at);
    let store = ShareStore::open(trustee.folder()).unwrap();
    let second = Generation::FIRST.next();

    assert!(matches!(trustee.refresh_switch(), Err(CeremonyError::OutOfOrder { .. })));
    assert!(matches!(trustee.refresh_round2(), Err(CeremonyError::OutOfOrder { .. })));
    assert_eq!(trustee.refresh_round1().unwrap(), Step::Done);
    assert_eq!(trustee.refresh_round1().unwrap(), Step::AlreadyDone);
    waiting(trustee.refresh_round2(), "committee", "refresh 1");
    committee.refresh_round1().unwrap();
    police.refresh_round1().unwrap();
    for seat in [&trustee, &committee] {
        assert_eq!(seat.refresh_round2().unwrap(), Step::Done);
        assert_eq!(seat.refresh_round2().unwrap(), Step::AlreadyDone);
    }
    waiting(trustee.refresh_round3(), "police", "refresh 2");
    police.refresh_round2().unwrap();
    for seat in [&trustee, &committee] {
        assert_eq!(seat.refresh_round3().unwrap(), Step::Done);
        assert_eq!(seat.refresh_round3().unwrap(), Step::AlreadyDone);
        assert!(matches!(seat.refresh_abandon(), Err(CeremonyError::OutOfOrder { .. })));
        assert!(matches!(seat.refresh_finish(), Err(CeremonyError::OutOfOrder { .. })));
    }
    // Half done: the old shares stay in force, whoever tries to switch.
    waiting(trustee.refresh_switch(), "police", "refresh 3");
    assert!(!store.reload().unwrap());
    assert_eq!((store.current().generation(), check_pairs(dir.path())), (Generation::FIRST, 3));
    assert!(store.of_generation(second).is_some(), "it answers before it switches");

    police.refresh_round3().unwrap();
    trustee.refresh_switch().unwrap();
    assert!(store.reload().unwrap());
    assert_eq!((store.current().generation(), check_pairs(dir.path())), (second, 1));
    assert!(store.of_generation(Generation::FIRST).is_some(), "it still answers the others");
    waiting(trustee.refresh_finish(), "committee", "refresh switch");
    committee.refresh_switch().unwrap();
    police.refresh_switch().unwrap();
    assert_eq!(police.refresh_switch().unwrap(), Step::AlreadyDone);
    assert_eq!(check_pairs(dir.path()), 3);

    all(dir.path(), Seat::refresh_finish);
    assert_eq!(trustee.refresh_finish().unwrap(), Step::AlreadyDone);
    store.reload().unwrap();
    assert!(store.of_generation(Generation::FIRST).is_none());
    for holder in HOLDERS {
        let (old, new) = (in_force(shared(), holder), in_force(dir.path(), holder));
        assert_eq!(old.public().group_key(), new.public().group_key());
        assert!(old.share().check(new.public()).is_err(), "the old share is worth nothing");
        assert!(!at(holder).folder().share_key_path(Generation::FIRST).exists());
        // Nothing that was secret on the way is left, here or in the exchange.
        for path in files_under(dir.path()) {
            let name = path.to_string_lossy().into_owned();
            assert!(!name.ends_with(".secret") && !name.contains("-value/"), "{name}");
            let content = fs::read(&path).unwrap();
            let own = path.starts_with(dir.path().join(holder));
            assert!(own || !holds(&content, &*new.share().to_bytes()), "a share is in {name}");
        }
    }

    // And once more.
    REFRESH.iter().for_each(|take| all(dir.path(), *take));
    assert_eq!(
        (check_pairs(dir.path()), in_force(dir.path(), "police").generation().get()),
        (3, 3)
    );
}

#[test]
fn the_manifest_goes_on_after_a_refresh() {
    let dir = copy();
    REFRESH.iter().for_each(|take| all(dir.path(), *take));
    let mut plan = sample_plan();
    plan.quotas[0].evaluations += 1;
    seat(dir.path(), "committee").draft_manifest(&plan).unwrap();
    for authority in ["committee", "police"] {
        seat(dir.path(), authority).sign_manifest(&plan).unwrap();
    }
    for holder in HOLDERS {
        assert_eq!(seat(dir.path(), holder).adopt().unwrap(), Step::Done);
    }
}

#[test]
fn an_interrupted_refresh_goes_on_and_shares_always_combine() {
    let dir = copy();
    assert_eq!(check_pairs(dir.path()), 3);
    let (mut runs, mut interrupted) = (0, 0);
    for take in REFRESH {
        for holder in HOLDERS {
            // Runs die at their first, second or third write.
            loop {
                runs += 1;
                assert!(runs < 200, "it does not get on");
                let env = dying_env(runs % 3);
                let folder = dir.path().join(holder);
                let seat = Seat::open(&env, &folder, &dir.path().join("exchange")).unwrap();
                let done = take(&seat);
                assert!(check_pairs(dir.path()) >= 1, "no two holders work together");
                match done {
                    Ok(_) => break,
                    Err(error) => assert!(error.to_string().contains("disk is full"), "{error}"),
                }
                interrupted += 1;
            }
        }
    }
    assert!(interrupted > 10, "only {interrupted} interruptions");
    assert_eq!(
        (check_pairs(dir.path()), in_force(dir.path(), "police").generation().get()),
        (3, 2)
    );
}

#[test]
fn a_holder_that_cheats_in_a_refresh_is_named_and_it_begins_again() {
    let dir = copy();
    all(dir.path(), Seat::refresh_round1);
    // The police go on with another polynomial than they committed to.
    let secret = |holder: &str| dir.path().join(holder).join("ceremony/refresh-2.secret");
    fs::copy(secret("committee"), secret("police")).unwrap();
    all(dir.path(), Seat::refresh_round2);
    let blamed = seat(dir.path(), "trustee").refresh_round3().unwrap_err();
    let text = blamed.to_string();
    assert!(
        matches!(&blamed, CeremonyError::Contribution { from, .. } if *from == Member::Police),
        "{text}"
    );
    assert!(text.contains("refresh-2-value/police-to-trustee.note"), "{text}");
    assert_eq!(
        (check_pairs(dir.path()), in_force(dir.path(), "trustee").generation().get()),
        (3, 1)
    );

    all(dir.path(), Seat::refresh_abandon);
    assert_eq!(seat(dir.path(), "police").refresh_abandon().unwrap(), Step::AlreadyDone);
    REFRESH.iter().for_each(|take| all(dir.path(), *take));
    assert_eq!(check_pairs(dir.path()), 3);
}

#[test]
fn different_confirmations_stop_the_switch() {
    let dir = copy();
    REFRESH[..3].iter().for_each(|take| all(dir.path(), *take));
    let other = copy();
    REFRESH[..3].iter().for_each(|take| all(other.path(), *take));
    let name = "exchange/refresh-2-confirmation/police.note";
    fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
    let error = seat(dir.path(), "trustee").refresh_switch().unwrap_err();
    assert!(matches!(&error, CeremonyError::Tampered { from: Member::Police, .. }), "{error}");
    assert_eq!(check_pairs(dir.path()), 3);
}

/// Takes the share of `holder` away, and the public shares unless `keep`.
fn lose(dir: &Path, holder: &str, keep: bool) -> KeyShare {
    let held = in_force(dir, holder);
    let folder = seat(dir, holder).folder().clone();
    fs::remove_file(folder.share_key_path(held.generation())).unwrap();
    if !keep {
        fs::remove_file(folder.public_shares_path(held.generation())).unwrap();
        let _ = fs::remove_file(folder.path().join("keys/generation"));
    }
    KeyShare::from_bytes(held.share().index(), &held.share().to_bytes()).unwrap()
}

fn help(dir: &Path, helpers: &[&str], lost: &Member) {
    for take in [Seat::repair_round1, Seat::repair_round2, Seat::repair_round3] {
        for helper in helpers {
            assert_eq!(take(&seat(dir, helper), lost).unwrap(), Step::Done, "{helper}");
            assert_eq!(take(&seat(dir, helper), lost).unwrap(), Step::AlreadyDone, "{helper}");
        }
    }
}

#[test]
fn a_lost_share_is_repaired_by_the_others() {
    let dir = copy();
    let (trustee, police) = (seat(dir.path(), "trustee"), seat(dir.path(), "police"));
    assert_eq!(trustee.repair_ask(&[]).unwrap(), Step::AlreadyDone, "nothing is lost");
    waiting(police.repair_round1(&Member::Trustee), "trustee", "repair ask");

    // Also after a refresh, and with the public shares or without.
    for (round, keep) in [(1, true), (2, false)] {
        let lost = lose(dir.path(), "trustee", keep);
        assert!(matches!(trustee.repair_finish(), Err(CeremonyError::OutOfOrder { .. })));
        assert_eq!(trustee.repair_ask(&[]).unwrap(), Step::Done);
        assert_eq!(trustee.repair_ask(&[]).unwrap(), Step::AlreadyDone);
        waiting(trustee.repair_finish(), "committee", "repair assist 3");
        help(dir.path(), &["committee", "police"], &Member::Trustee);
        for path in files_under(&dir.path().join("exchange")) {
            let content = fs::read(&path).unwrap();
            for holder in ["committee", "police"] {
                let share = in_force(dir.path(), holder).share().to_bytes();
                assert!(!holds(&content, &*share), "a share is in {}", path.display());
            }
            assert!(!holds(&content, &*lost.to_bytes()), "the share is in {}", path.display());
        }
        assert_eq!(trustee.repair_finish().unwrap(), Step::Done, "round {round}");
        assert_eq!(trustee.repair_finish().unwrap(), Step::AlreadyDone);
        let repaired = in_force(dir.path(), "trustee");
        assert!(*repaired.share().to_bytes() == *lost.to_bytes());
        assert_eq!(check_pairs(dir.path()), 3);
        for path in files_under(dir.path()) {
            assert!(path.extension().is_none_or(|extension| extension != "secret"), "{path:?}");
        }
        if round == 1 {
            REFRESH.iter().for_each(|take| all(dir.path(), *take));
        }
    }
}

#[test]
fn a_helper_that_cheats_is_named_and_too_few_are_refused() {
    let dir = copy();
    let trustee = seat(dir.path(), "trustee");
    lose(dir.path(), "trustee", false);
    assert!(trustee.repair_ask(&[Member::Police]).is_err(), "one helper does not suffice");
    assert!(trustee.repair_ask(&[Member::Police, Member::Trustee]).is_err());
    trustee.repair_ask(&[]).unwrap();
    for helper in ["committee", "police"] {
        seat(dir.path(), helper).repair_round1(&Member::Trustee).unwrap();
    }
    let secret = |holder: &str| {
        let files = files_under(&dir.path().join(holder).join("ceremony"));
        files.into_iter().find(|path| path.to_string_lossy().ends_with(".secret")).unwrap()
    };
    fs::copy(secret("committee"), secret("police")).unwrap();
    for helper in ["committee", "police"] {
        seat(dir.path(), helper).repair_round2(&Member::Trustee).unwrap();
    }
    let blamed = seat(dir.path(), "committee").repair_round3(&Member::Trustee).unwrap_err();
    let text = blamed.to_string();
    assert!(
        matches!(&blamed, CeremonyError::Contribution { from, .. } if *from == Member::Police),
        "{text}"
    );
    assert!(text.contains("police-to-committee.note"), "{text}");
}

#[test]
fn a_repaired_share_must_fit_what_all_holders_confirmed() {
    let dir = copy();
    lose(dir.path(), "trustee", false);
    // Both helpers come from another key generation: their shares fit each other, and nothing that was confirmed.
    let other = tempfile::tempdir().unwrap();
    crate::support::init(&Env::system(), other.path(), &sample_plan()).unwrap();
    for holder in ["committee", "police"] {
        for name in ["keys/share.key", "keys/public_shares.json"] {
            fs::copy(other.path().join(holder).join(name), dir.path().join(holder).join(name))
                .unwrap();
        }
    }
    let trustee = seat(dir.path(), "trustee");
    trustee.repair_ask(&[]).unwrap();
    help(dir.path(), &["committee", "police"], &Member::Trustee);
    let error = trustee.repair_finish().unwrap_err();
    assert!(matches!(&error, CeremonyError::Tampered { .. }), "{error}");
    assert!(trustee.folder().share_generations().unwrap().is_empty());
}

/// The trustee's folder is gone; another party prepares in a folder of its own. Its seat and its fingerprint.
fn successor(dir: &Path) -> (Seat, String) {
    fs::rename(dir.join("trustee"), dir.join("gone")).unwrap();
    let (folder, exchange) = (dir.join("trustee"), dir.join("exchange"));
    let (env, plan) = (Env::system(), sample_plan());
    let again = Seat::prepare(&env, &folder, &exchange, &Member::Trustee, &plan, None);
    assert!(matches!(again, Err(CeremonyError::Announced { .. })), "it must be said");
    let prepare =
        || Seat::prepare_successor(&env, &folder, &exchange, &Member::Trustee, &plan).unwrap();
    assert_eq!(prepare().1, Step::Done);
    let (seat, step) = prepare();
    assert_eq!(step, Step::AlreadyDone);
    let fingerprint = seat.fingerprint(&Member::Trustee).unwrap();
    (seat, fingerprint)
}

const OTHERS: [&str; 5] = ["committee", "police", "sponsor", "gate-ca", "gate-1"];

fn agree(dir: &Path) {
    seat(dir, "committee").draft_manifest(&sample_plan()).unwrap();
    for authority in ["committee", "police"] {
        seat(dir, authority).sign_manifest(&sample_plan()).unwrap();
    }
    for member in OTHERS.iter().chain(&["trustee"]) {
        assert_eq!(seat(dir, member).adopt().unwrap(), Step::Done, "{member}");
    }
}

#[test]
fn a_trustee_takes_the_place_of_another_and_the_old_share_is_worth_nothing() {
    let dir = copy();
    let old = in_force(dir.path(), "trustee");
    let (trustee, fingerprint) = successor(dir.path());
    // Nobody takes it without having compared fingerprints.
    let error = seat(dir.path(), "committee").draft_manifest(&sample_plan()).unwrap_err();
    assert!(error.to_string().contains("run: accept"), "{error}");
    for other in OTHERS {
        let seat = seat(dir.path(), other);
        let wrong = seat.accept_successor(&Member::Trustee, &fingerprint.replace('0', "1"));
        assert!(matches!(wrong, Err(CeremonyError::OtherFingerprint { .. })), "{other}");
        let accept = || seat.accept_successor(&Member::Trustee, &fingerprint).unwrap();
        assert_eq!((accept(), accept()), (Step::Done, Step::AlreadyDone));
    }
    agree(dir.path());
    let manifest = ManifestStore::open(trustee.folder()).unwrap().current();
    let before = ManifestStore::open(&Folder::open(dir.path().join("gone"), &Env::system()));
    let before = before.unwrap().current();
    let witness = |manifest: &Manifest| manifest.witness("trustee").unwrap().key.clone();
    assert_eq!((manifest.version, witness(&manifest) != witness(&before)), (2, true));
    assert!(manifest.end_of(&witness(&before)).is_some(), "the old witness counts no more");

    // It cannot serve before it knows what its predecessor counted.
    let ledger = || {
        let folder = trustee.folder().evaluations_dir();
        Ledger::open_in(&Env::system(), &folder, &manifest.event, "trustee")
    };
    assert!(matches!(ledger(), Err(LedgerError::NotTakenOver { .. })));
    assert_eq!(trustee.take_over_counts(&TakenOver::Spent).unwrap(), Step::Done);
    assert_eq!(trustee.take_over_counts(&TakenOver::Spent).unwrap(), Step::AlreadyDone);
    let quota = manifest.quota("trustee", "committee", "enrolment");
    let used = ledger().unwrap().used(Authority::Committee, Purpose::Enrolment);
    assert_eq!((used, quota > 0), (quota, true), "nothing is left of an unknown count");

    assert_eq!(trustee.repair_ask(&[]).unwrap(), Step::Done);
    help(dir.path(), &["committee", "police"], &Member::Trustee);
    assert_eq!(trustee.repair_finish().unwrap(), Step::Done);
    assert_eq!(check_pairs(dir.path()), 3);
    REFRESH.iter().for_each(|take| all(dir.path(), *take));
    assert_eq!(check_pairs(dir.path()), 3);
    let public = in_force(dir.path(), "police");
    assert!(old.share().check(public.public()).is_err(), "the old share fits nothing");
    assert_eq!(old.public().group_key(), public.public().group_key());
}

#[test]
fn a_helper_that_gives_a_successor_a_wrong_share_is_named() {
    let dir = copy();
    let (trustee, fingerprint) = successor(dir.path());
    for other in OTHERS {
        seat(dir.path(), other).accept_successor(&Member::Trustee, &fingerprint).unwrap();
    }
    agree(dir.path());
    trustee.repair_ask(&[]).unwrap();
    for take in [Seat::repair_round1, Seat::repair_round2] {
        for helper in ["committee", "police"] {
            take(&seat(dir.path(), helper), &Member::Trustee).unwrap();
        }
    }
    seat(dir.path(), "committee").repair_round3(&Member::Trustee).unwrap();
    // The police help with a share of another key, beside public shares that fit it.
    let other = tempfile::tempdir().unwrap();
    crate::support::init(&Env::system(), other.path(), &sample_plan()).unwrap();
    for name in ["keys/share.key", "keys/public_shares.json"] {
        let at = |dir: &Path| dir.join("police").join(name);
        fs::copy(at(other.path()), at(dir.path())).unwrap();
    }
    seat(dir.path(), "police").repair_round3(&Member::Trustee).unwrap();
    let error = trustee.repair_finish().unwrap_err();
    assert!(matches!(&error, CeremonyError::Tampered { from: Member::Police, .. }), "{error}");
    assert!(trustee.folder().share_generations().unwrap().is_empty(), "nothing was kept");
}

#[test]
fn a_replacement_that_is_interrupted_goes_on() {
    let dir = copy();
    let (mut runs, mut interrupted) = (0, 0);
    loop {
        runs += 1;
        assert!(runs < 200, "it does not get on");
        match replace_trustee(&dying_env(runs % 7 + 1), dir.path()) {
            Ok((aside, taken)) => {
                assert_eq!(taken, TakenOver::Spent, "the old trustee never served");
                assert!(aside.ends_with("trustee-before-2"));
                break;
            }
            Err(error) => assert!(error.to_string().contains("disk is full"), "{error}"),
        }
        interrupted += 1;
    }
    assert!(interrupted > 5, "only {interrupted} interruptions");
    assert_eq!(check_pairs(dir.path()), 3);
    assert_eq!(in_force(dir.path(), "trustee").generation().get(), 2);
    // It is over: another call replaces the new trustee.
    let (aside, _) = replace_trustee(&Env::system(), dir.path()).unwrap();
    assert!(aside.ends_with("trustee-before-3"));
    assert_eq!(check_pairs(dir.path()), 3);
}
