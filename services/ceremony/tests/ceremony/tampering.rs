//! Whoever carries the exchange folder alters it: each alteration is found, and the file named.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};

use lanyard_ceremony::{CeremonyError, EventPlan, Member, Seat, Step};
use lanyard_env::Env;
use lanyard_party::Generation;
use tempfile::TempDir;

use crate::support::{PASSPHRASE, member, sample_plan};

struct Ceremony {
    dir: TempDir,
    plan: EventPlan,
    seats: Vec<Seat>,
}

impl Ceremony {
    /// Everyone prepared and gates certified; nothing else.
    fn prepared() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plan = sample_plan();
        let seats = plan
            .members()
            .iter()
            .map(|member| prepare(dir.path(), member.name(), member, &plan))
            .collect();
        let ceremony = Self { dir, plan, seats };
        ceremony.at("gate-ca").certify_gate(&member("gate-1")).unwrap();
        ceremony
    }

    fn at(&self, name: &str) -> &Seat {
        self.seats.iter().find(|seat| seat.member().name() == name).unwrap()
    }

    fn holders(&self) -> impl Iterator<Item = &Seat> {
        self.plan.holders().iter().map(|holder| self.at(holder.name()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("exchange").join(name)
    }

    /// Alters a file in several ways; each time, the step must fail and name it. Then puts it back.
    fn alter(&self, name: &str, step: impl Fn() -> Result<Step, CeremonyError>) {
        let path = self.file(name);
        let good = fs::read(&path).unwrap();
        let middle = good.len() / 2;
        let mut flipped = good.clone();
        flipped[middle] ^= 1;
        let last = good.len() - 10;
        let mut signature = good.clone();
        signature[last] = if signature[last] == b'A' { b'B' } else { b'A' };
        let longer = [good.as_slice(), b"more\n"].concat();
        for bad in [&flipped, &signature, &longer, &good[..middle].to_vec(), &Vec::new()] {
            fs::write(&path, bad).unwrap();
            let error = step().unwrap_err();
            let text = error.to_string();
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            assert!(
                matches!(error, CeremonyError::Tampered { .. } | CeremonyError::OtherDraft { .. }),
                "{text}"
            );
        }
        fs::write(&path, good).unwrap();
    }
}

fn prepare(dir: &Path, folder: &str, member: &Member, plan: &EventPlan) -> Seat {
    let passphrase = member.is_authority().then_some(PASSPHRASE);
    let (folder, exchange) = (dir.join(folder), dir.join("exchange"));
    Seat::prepare(&Env::system(), &folder, &exchange, member, plan, passphrase).unwrap().0
}

#[test]
fn altered_files_are_named_and_the_originals_go_through() {
    let ceremony = Ceremony::prepared();
    let (committee, police) = (ceremony.at("committee"), ceremony.at("police"));
    let (trustee, gate) = (ceremony.at("trustee"), ceremony.at("gate-1"));
    let plan = &ceremony.plan;
    ceremony.alter("announcements/trustee.note", || committee.dkg_round1(plan));
    for holder in ceremony.holders() {
        holder.dkg_round1(plan).unwrap();
    }
    ceremony.alter("dkg-round-1/police-to-committee.note", || committee.dkg_round2());
    // A good file in another's place.
    let (own, other) = (
        ceremony.file("dkg-round-1/police-to-committee.note"),
        ceremony.file("dkg-round-1/police-to-trustee.note"),
    );
    let good = fs::read(&own).unwrap();
    fs::copy(&other, &own).unwrap();
    let swapped = committee.dkg_round2().unwrap_err().to_string();
    assert!(swapped.contains("police-to-committee") && swapped.contains("something else"));
    fs::write(&own, good).unwrap();

    for holder in ceremony.holders() {
        holder.dkg_round2().unwrap();
    }
    ceremony.alter("dkg-round-2/committee-to-trustee.note", || trustee.dkg_round3());
    for holder in ceremony.holders() {
        holder.dkg_round3().unwrap();
    }
    committee.draft_manifest(plan).unwrap();
    ceremony.alter("manifests/1/draft.txt", || police.sign_manifest(plan));
    committee.sign_manifest(plan).unwrap();
    police.sign_manifest(plan).unwrap();
    ceremony.alter("manifests/1/committee.note", || trustee.adopt());
    ceremony.alter("manifests/1/police.note", || trustee.adopt());
    ceremony.alter("dkg-confirmation/police.note", || trustee.adopt());
    ceremony.alter("certificates/gate-ca-to-gate-1.note", || gate.adopt());
    ceremony.alter("announcements/gate-1.note", || gate.adopt());
    for seat in &ceremony.seats {
        assert_eq!(seat.adopt().unwrap(), Step::Done, "{}", seat.member());
    }
}

#[test]
fn an_authority_signs_only_what_its_own_plan_gives() {
    let ceremony = Ceremony::prepared();
    let mut generous = ceremony.plan.clone();
    generous.quotas[0].evaluations *= 1_000;
    ceremony.at("committee").draft_manifest(&generous).unwrap();
    let refused = ceremony.at("police").sign_manifest(&ceremony.plan);
    assert!(matches!(refused, Err(CeremonyError::OtherDraft { line, .. }) if line > 1));
    // An epoch that started at no midnight would let one side choose when handles change.
    let path = ceremony.file("manifests/1/draft.txt");
    ceremony.at("committee").draft_manifest(&ceremony.plan).unwrap();
    let draft = fs::read_to_string(&path).unwrap();
    let line = draft.lines().find(|line| line.contains("\"starts_at\"")).unwrap();
    let start: u64 = line.trim().trim_end_matches(',').rsplit(' ').next().unwrap().parse().unwrap();
    for moved in [start + 60_000, start + 7 * 86_400_000] {
        let moved = line.replace(&start.to_string(), &moved.to_string());
        fs::write(&path, draft.replace(line, &moved)).unwrap();
        let refused = ceremony.at("police").sign_manifest(&ceremony.plan);
        assert!(matches!(refused, Err(CeremonyError::EpochStart { .. })));
    }
}

#[test]
fn a_swapped_member_is_found_by_whoever_knew_it_and_by_itself() {
    let ceremony = Ceremony::prepared();
    let (committee, trustee) = (ceremony.at("committee"), ceremony.at("trustee"));
    let before = committee.fingerprint(&Member::Trustee).unwrap();
    // Someone else prepares as the trustee; the announcement is whole and well signed.
    let elsewhere = tempfile::tempdir().unwrap();
    prepare(elsewhere.path(), "trustee", &Member::Trustee, &ceremony.plan);
    let path = ceremony.file("announcements/trustee.note");
    fs::copy(elsewhere.path().join("exchange/announcements/trustee.note"), &path).unwrap();

    let known = committee.dkg_round1(&ceremony.plan).unwrap_err();
    assert!(matches!(known, CeremonyError::Tampered { .. }), "{known}");
    let own = trustee.adopt().unwrap_err();
    assert!(matches!(own, CeremonyError::Tampered { .. }), "{own}");
    // Who has not seen it before cannot know; the fingerprint tells.
    let police = ceremony.at("police");
    assert_ne!(police.fingerprint(&Member::Trustee).unwrap(), before);
}

#[test]
fn a_manifest_without_a_members_own_keys_is_not_adopted_by_it() {
    let ceremony = Ceremony::prepared();
    // Both authorities are deceived about the sponsor before they have seen it.
    let elsewhere = tempfile::tempdir().unwrap();
    prepare(elsewhere.path(), "sponsor", &Member::Sponsor, &ceremony.plan);
    let path = ceremony.file("announcements/sponsor.note");
    let good = fs::read(&path).unwrap();
    fs::copy(elsewhere.path().join("exchange/announcements/sponsor.note"), &path).unwrap();
    ceremony.at("committee").draft_manifest(&ceremony.plan).unwrap();
    for authority in ["committee", "police"] {
        ceremony.at(authority).sign_manifest(&ceremony.plan).unwrap();
    }
    fs::write(&path, good).unwrap();
    let refused = ceremony.at("sponsor").adopt();
    assert!(matches!(refused, Err(CeremonyError::NotOurs { .. })), "{refused:?}");
    assert!(!ceremony.dir.path().join("sponsor/manifest.note").exists());
}

#[test]
fn a_holder_that_goes_on_with_another_polynomial_is_blamed() {
    let ceremony = Ceremony::prepared();
    for holder in ceremony.holders() {
        holder.dkg_round1(&ceremony.plan).unwrap();
    }
    // As after a restored backup, or in bad faith: a second polynomial under the first commitment.
    let police = ceremony.at("police");
    fs::remove_file(ceremony.dir.path().join("police/ceremony/dkg.secret")).unwrap();
    police.dkg_round1(&ceremony.plan).unwrap();
    for holder in ceremony.holders() {
        holder.dkg_round2().unwrap();
    }
    let blamed = ceremony.at("trustee").dkg_round3().unwrap_err();
    let text = blamed.to_string();
    assert!(matches!(blamed, CeremonyError::KeyGeneration { .. }), "{text}");
    assert!(text.contains("dkg-round-2/police-to-trustee.note"), "{text}");
    assert!(ceremony.at("trustee").folder().held_share(Generation::FIRST).is_err());
}
