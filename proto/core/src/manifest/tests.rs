use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use super::fixture::fixture;
use super::*;
use crate::badge::CodeEpochs;
use crate::ids::{Authority, Epoch, Origin, Timestamp};
use crate::note::{Algorithm, KeyName, NoteError, SigningKey};

fn successor(current: &VerifiedManifest) -> Manifest {
    let mut next = current.manifest().clone();
    next.version += 1;
    next.previous = Some(current.hash());
    next
}

#[test]
fn a_signed_manifest_reads_back() {
    let fixture = fixture();
    let verified = fixture.verified();
    assert_eq!(*verified.manifest(), fixture.manifest);
    assert_eq!(verified.hash(), Manifest::hash_text(verified.note().text()));
    assert_eq!(verified.trust(), fixture.trust());
    assert!(verified.note().text().starts_with("lanyard manifest v1\n{\n  \"version\": 1,\n"));
    let pinned = serde_json::to_string(&fixture.trust()).unwrap();
    assert_eq!(serde_json::from_str::<ManifestTrust>(&pinned).unwrap(), fixture.trust());
}

#[test]
fn both_signatures_are_needed() {
    let fixture = fixture();
    let text = fixture.manifest.to_text().unwrap();
    for signers in [vec![&fixture.committee], vec![&fixture.police]] {
        let note = sign_manifest(&text, &signers).unwrap().to_string();
        let refused = verify_manifest(&note, &fixture.trust()).unwrap_err();
        assert!(matches!(refused, ManifestError::Note(NoteError::Unsigned { .. })), "{refused}");
    }
    let good = fixture.sign(&fixture.manifest);
    let changed = good.replace("\"quorum\": 2", "\"quorum\": 3");
    let refused = verify_manifest(&changed, &fixture.trust()).unwrap_err();
    assert!(matches!(refused, ManifestError::Note(NoteError::BadSignature { .. })));
    let one =
        ManifestTrust { police: fixture.committee.verifying_key().clone(), ..fixture.trust() };
    assert!(matches!(verify_manifest(&good, &one), Err(ManifestError::OneTrustedKey)));
}

#[test]
fn the_chain_goes_forward_only() {
    let fixture = fixture();
    let first = fixture.verified();
    let accept = |held: &VerifiedManifest, next: &Manifest| {
        held.accept_successor(&fixture.sign(next)).map(|accepted| accepted.version)
    };
    let second = successor(&first);
    assert_eq!(accept(&first, &second), Ok(2));
    assert_eq!(accept(&first, &fixture.manifest), Ok(1));
    let held = first.accept_successor(&fixture.sign(&second)).unwrap();

    let rollback = ManifestError::Rollback { held: 2, given: 1 };
    assert_eq!(accept(&held, &fixture.manifest), Err(rollback));

    let fork = Manifest { title: "Other".into(), ..second.clone() };
    assert_eq!(accept(&held, &fork), Err(ManifestError::Forked { version: 2 }));

    let wrong = Hash::new([1; 32]);
    let other = Manifest { previous: Some(wrong), ..second.clone() };
    let refused =
        ManifestError::OtherPrevious { version: 2, held: first.hash(), found: Some(wrong) };
    assert_eq!(accept(&first, &other), Err(refused));

    let third = successor(&held);
    assert_eq!(accept(&first, &third), Ok(3), "a party may have missed a version");

    let mut back = successor(&held);
    back.epochs.first = Epoch::new(0);
    assert_eq!(accept(&held, &back), Err(ManifestError::EpochsRunBack { held: 1, given: 0 }));
}

#[test]
fn a_manifest_of_another_event_is_refused_whoever_signed_it() {
    let fixture = fixture();
    let mut other = successor(&fixture.verified());
    other.event = EventId::parse("games-2032").unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for (authority, keys) in Authority::ALL
        .into_iter()
        .zip([&mut other.authorities.committee, &mut other.authorities.police])
    {
        let name = KeyName::parse(Origin::new(&other.event, authority).as_str()).unwrap();
        keys.log = SigningKey::generate(name, &mut rng).verifying_key().clone();
    }
    let refused = fixture.verified().accept_successor(&fixture.sign(&other)).unwrap_err();
    assert!(matches!(refused, ManifestError::OtherEvent { .. }), "{refused}");
}

#[test]
fn rotated_manifest_keys_are_signed_in_by_the_old_ones() {
    let fixture = fixture();
    let first = fixture.verified();
    let name = KeyName::parse("police/manifest/2").unwrap();
    let new_key = SigningKey::generate(name, &mut ChaCha20Rng::seed_from_u64(3));
    let mut next = successor(&first);
    next.authorities.police.manifest = new_key.verifying_key().clone();
    let text = next.to_text().unwrap();
    let early = sign_manifest(&text, &[&fixture.committee, &new_key]).unwrap().to_string();
    assert!(first.accept_successor(&early).is_err());
    let second = first.accept_successor(&fixture.sign(&next)).unwrap();
    let third = successor(&second);
    assert!(second.accept_successor(&fixture.sign(&third)).is_err());
    let text = third.to_text().unwrap();
    let note = sign_manifest(&text, &[&fixture.committee, &new_key]).unwrap().to_string();
    assert_eq!(second.accept_successor(&note).unwrap().version, 3);
}

#[test]
fn text_with_anything_unknown_or_rewritten_is_refused() {
    let text = fixture().manifest.to_text().unwrap();
    assert!(Manifest::parse_text(&text).is_ok());
    let refused = |text: &str| Manifest::parse_text(text).unwrap_err();
    assert_eq!(refused(&text.replacen("v1", "v2", 1)), ManifestError::Header);
    let unknown = text.replacen("  \"title\"", "  \"colour\": \"red\",\n  \"title\"", 1);
    match refused(&unknown) {
        ManifestError::Json { line: 6, problem, .. } => assert!(problem.contains("colour")),
        other => panic!("{other}"),
    }
    let nested = text.replacen("\"fresh_seconds\"", "\"old_seconds\"", 1);
    assert!(matches!(refused(&nested), ManifestError::Json { .. }));
    let zone = text.replace("America/Los_Angeles", "America/Atlantis");
    assert!(matches!(refused(&zone), ManifestError::Json { .. }));
    let blank = text.replacen("\"version\": 1", "\"version\":  1", 1);
    assert_eq!(refused(&blank), ManifestError::NotCanonical);
    let repeated = text.replacen("\"inner\": {", "\"outer\": {", 1);
    assert!(matches!(refused(&repeated), ManifestError::Invalid { .. }));
    assert_eq!(refused(&format!("{text}\n")), ManifestError::NotCanonical);
    assert!(matches!(refused(&text[..text.len() / 2]), ManifestError::Json { .. }));
    let long = "x".repeat(MAX_MANIFEST_BYTES + 1);
    assert!(matches!(refused(&long), ManifestError::TooLong { .. }));
}

/// Breaks one field of a good manifest and returns the path that the error names.
fn broken(change: impl FnOnce(&mut Manifest)) -> String {
    let mut manifest = fixture().manifest;
    change(&mut manifest);
    match manifest.to_text() {
        Err(ManifestError::Invalid { field, .. }) => field,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn numbers_outside_their_range_are_named() {
    assert_eq!(broken(|m| m.version = 0), "version");
    assert_eq!(broken(|m| m.version = 2), "previous");
    assert_eq!(broken(|m| m.previous = Some(Hash::new([0; 32]))), "previous");
    assert_eq!(broken(|m| m.title = String::new()), "title");
    assert_eq!(broken(|m| m.title = "a\u{7}b".into()), "title");
    assert_eq!(broken(|m| m.epochs.length_minutes = 0), "epochs.length_minutes");
    assert_eq!(broken(|m| m.epochs.publish_lead_minutes = 1_441), "epochs.publish_lead_minutes");
    assert_eq!(broken(|m| m.tick_millis = 0), "tick_millis");
    assert_eq!(broken(|m| m.skew_millis = 0), "skew_millis");
    assert_eq!(broken(|m| m.padding.reseals = [256, 256, 512]), "padding.reseals");
    assert_eq!(broken(|m| m.padding.catch_up_percent = 0), "padding.catch_up_percent");
    assert_eq!(broken(|m| m.padding.sponsor_reseal_seconds = 0), "padding.sponsor_reseal_seconds");
    assert_eq!(
        broken(|m| m.screening.secondary_check_per_10k = 10_001),
        "screening.secondary_check_per_10k"
    );
}

#[test]
fn a_quorum_of_half_or_of_more_than_all_is_refused() {
    // Each log has three witnesses: its own authority's does not count.
    for quorum in [0, 1, 4, 255] {
        assert_eq!(broken(|m| m.quorum = quorum), "quorum");
    }
    // Without the sponsor each has two, and one of two is half.
    assert_eq!(
        broken(|m| {
            m.witnesses.retain(|witness| witness.name != "sponsor");
            m.quorum = 1;
        }),
        "quorum"
    );
    let mut manifest = fixture().manifest;
    manifest.quorum = 3;
    assert!(manifest.to_text().is_ok());
    let names: Vec<_> =
        manifest.witnesses_of(Authority::Police).map(|witness| witness.name.as_str()).collect();
    assert_eq!(names, ["trustee", "committee", "sponsor"]);
}

#[test]
fn keys_of_the_wrong_kind_or_in_two_roles_are_refused() {
    let f = fixture();
    let log = f.logs[0].verifying_key().clone();
    let witness = f.witnesses[0].verifying_key().clone();
    assert_eq!(
        broken(|m| m.authorities.committee.manifest = log.clone()),
        "authorities.committee.manifest"
    );
    assert_eq!(broken(|m| m.authorities.police.log = witness.clone()), "authorities.police.log");
    assert_eq!(broken(|m| m.witnesses[1].key = witness.clone()), "witnesses[1].key");
    assert_eq!(broken(|m| m.witnesses[1].key = log.clone()), "witnesses[1].key");
    assert_eq!(broken(|m| m.gates[0].receipts = log.clone()), "gates[0].receipts");
    // The same public key under another name and algorithm is still the same key.
    let name = KeyName::parse("witness/log").unwrap();
    let disguised =
        VerifyingKey::from_bytes(name, Algorithm::CosignatureV1, log.public_key()).unwrap();
    assert_eq!(broken(|m| m.witnesses[0].key = disguised), "witnesses[0].key");
    assert_eq!(broken(|m| m.event = EventId::parse("x").unwrap()), "authorities.committee.log");
    assert_eq!(broken(|m| m.verifiers[0].key = m.audit_key.clone()), "verifiers[0].key");
}

#[test]
fn parties_and_references_must_exist_once() {
    assert_eq!(broken(|m| m.parties[2].name = "vendor".into()), "parties[2].name");
    assert_eq!(broken(|m| m.parties[2].name = "trustee".into()), "parties[3].name");
    assert_eq!(broken(|m| m.parties.retain(|party| party.name != "police")), "parties");
    assert_eq!(
        broken(|m| m.parties[0].certificate_authority_pem = "x".into()),
        "parties[0].certificate_authority_pem"
    );
    assert_eq!(broken(|m| m.zones[1].tier = "none".into()), "zones[1].tier");
    assert_eq!(broken(|m| m.zones[1].code = "BLUE".into()), "zones[1].code");
    assert_eq!(broken(|m| m.zones[1].code = "A B".into()), "zones[1].code");
    assert_eq!(broken(|m| m.categories[1] = "Athlete".into()), "categories[1]");
    assert_eq!(broken(|m| m.access_points[0].venue = "X".into()), "access_points[0].venue");
    assert_eq!(broken(|m| m.access_points[1].zone = "X".into()), "access_points[1].zone");
    assert_eq!(broken(|m| m.access_points[1].id = "north-1".into()), "access_points[1].id");
    assert_eq!(
        broken(|m| m.staleness_tiers.get_mut("inner").unwrap().limit_seconds = 9),
        "staleness_tiers.inner.limit_seconds"
    );
    assert_eq!(broken(|m| m.gates[0].access_points[1] = "x".into()), "gates[0].access_points[1]");
    assert_eq!(
        broken(|m| m.gates[0].access_points[1] = "north-1".into()),
        "gates[0].access_points[1]"
    );
}

#[test]
fn share_holders_quotas_and_verifiers_must_fit() {
    assert_eq!(broken(|m| m.share_holders.threshold = 1), "share_holders.threshold");
    assert_eq!(broken(|m| m.share_holders.threshold = 4), "share_holders.threshold");
    assert_eq!(broken(|m| m.share_holders.holders[1].index = 1), "share_holders.holders[1].index");
    assert_eq!(broken(|m| m.share_holders.holders[1].index = 0), "share_holders.holders[1].index");
    assert_eq!(broken(|m| m.quotas[0].holder = "sponsor".into()), "quotas[0].holder");
    assert_eq!(broken(|m| m.quotas.push(m.quotas[0].clone())), "quotas[1]");
    assert_eq!(broken(|m| m.verifiers[0].id = "gate-1".into()), "verifiers[0].id");
    assert_eq!(
        broken(|m| m.verifiers[2].audiences = vec![Audience::Gate]),
        "verifiers[2].audiences",
        "the sponsor must never hold a gate's audience key"
    );
    assert_eq!(
        broken(|m| m.verifiers[0].audiences = vec![Audience::Gate, Audience::Gate]),
        "verifiers[0].audiences[1]"
    );
}

#[test]
fn replaced_keys_stand_once_and_have_fitting_ends() {
    let fixture = fixture();
    let entry = |key: &VerifyingKey, log| {
        let until = Some(KeyEnd { time: Timestamp::from_seconds(9), log });
        ReplacedKey { key: key.clone(), until }
    };
    let position = LogPosition { size: 3, root: Hash::new([3; 32]) };
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let log = fixture.logs[0].verifying_key();
    let old = SigningKey::generate(log.name().clone(), &mut rng).verifying_key().clone();
    let other = KeyName::parse("gate/gate-9/receipts").unwrap();
    let other = SigningKey::generate(other, &mut rng).verifying_key().clone();
    let with = |one: ReplacedKey| {
        Manifest { replaced: vec![one], ..fixture.manifest.clone() }.to_text().map(drop)
    };
    let field = |one: ReplacedKey| match with(one) {
        Err(ManifestError::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(with(entry(&old, Some(position))), Ok(()));
    assert_eq!(with(entry(&other, None)), Ok(()));
    assert_eq!(field(entry(log, Some(position))), "replaced[0].key", "it is in force");
    assert_eq!(field(entry(&old, None)), "replaced[0].until", "a log ends at a size");
    assert_eq!(field(entry(&other, Some(position))), "replaced[0].until.log");
}

#[test]
fn a_log_key_counts_alone_up_to_its_end() {
    let fixture = fixture();
    let authority = Authority::Committee;
    let (old, origin) = (&fixture.logs[0], fixture.manifest.origin(authority));
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let new = SigningKey::generate(old.verifying_key().name().clone(), &mut rng);
    let root = Hash::new([4; 32]);
    let mut manifest = fixture.manifest.clone();
    manifest.authorities.committee.log = new.verifying_key().clone();
    manifest.replaced = vec![ReplacedKey { key: old.verifying_key().clone(), until: None }];
    let verify = |manifest: &Manifest, size, root, keys: &[&SigningKey]| {
        let checkpoint = crate::checkpoint::Checkpoint::new(&origin, size, root);
        manifest.log_keys(authority).verify(checkpoint.sign_all(keys).unwrap().note()).is_ok()
    };
    for keys in [vec![old], vec![&new], vec![old, &new]] {
        assert!(verify(&manifest, 99, root, &keys), "beside each other");
    }
    let log = Some(LogPosition { size: 4, root });
    manifest.replaced[0].until = Some(KeyEnd { time: Timestamp::from_seconds(9), log });
    assert!(verify(&manifest, 3, Hash::new([3; 32]), &[old]));
    assert!(verify(&manifest, 4, root, &[old]));
    assert!(!verify(&manifest, 4, Hash::new([5; 32]), &[old]), "another root of that size");
    assert!(!verify(&manifest, 5, root, &[old]));
    assert!(verify(&manifest, 5, root, &[old, &new]) && verify(&manifest, 5, root, &[&new]));
    let stranger = SigningKey::generate(old.verifying_key().name().clone(), &mut rng);
    assert!(!verify(&manifest, 3, root, &[&stranger]));
}

#[test]
fn lookups_find_by_name() {
    let manifest = fixture().manifest;
    assert_eq!(manifest.tier_for_zone("BLUE").unwrap().limit_seconds, 60);
    assert_eq!(manifest.tier_for_zone("RED"), None);
    assert_eq!(manifest.quota("trustee", "police", "watchlist"), 100_000);
    assert_eq!(manifest.quota("trustee", "police", "curiosity"), 0);
    assert_eq!(manifest.verifier("gate/gate-1").unwrap().party(), "gate");
    assert_eq!(manifest.verifiers_for(Audience::Sponsor).count(), 1);
    assert_eq!(manifest.share_holder("trustee").unwrap().index, 3);
}

#[test]
fn epochs_follow_the_plan() {
    let manifest = fixture().manifest;
    let start = manifest.epochs.starts_at;
    let day = 86_400_000;
    assert_eq!(manifest.epoch_at(Timestamp::from_millis(0)), Epoch::new(1));
    assert_eq!(manifest.epoch_at(start), Epoch::new(1));
    assert_eq!(manifest.epoch_at(start.plus_millis(day - 1)), Epoch::new(1));
    assert_eq!(manifest.epoch_at(start.plus_millis(day)), Epoch::new(2));
    assert_eq!(manifest.epoch_at(Timestamp::from_millis(u64::MAX)).get(), u32::MAX);
    assert_eq!(manifest.epoch_start(Epoch::new(3)), start.plus_millis(2 * day));
    assert_eq!(manifest.epoch_end(Epoch::new(3)), start.plus_millis(3 * day));
    assert_eq!(manifest.epoch_end(Epoch::new(0)), start);

    let allowed = manifest.allowed_millis();
    let two = manifest.epoch_start(Epoch::new(2));
    let misses =
        |live, after| manifest.has_missed_first_tick(Epoch::new(live), two.plus_millis(after));
    assert!(!misses(1, allowed) && misses(1, allowed + 1));
    assert!(misses(0, 0) && !misses(2, allowed + 1) && !misses(3, allowed + 1));

    let one = |epoch| CodeEpochs::from(Epoch::new(epoch));
    let both = CodeEpochs::both(Epoch::new(1));
    let cut_off = allowed + 1_000 * manifest.longest_limit_seconds();
    for (time, expected) in [
        (two.minus_millis(allowed + 1), one(1)),
        (two.minus_millis(allowed), both),
        (two, both),
        (two.plus_millis(cut_off - 1), both),
        (two.plus_millis(cut_off), one(2)),
        (start, one(1)),
        (Timestamp::from_millis(0), one(1)),
    ] {
        assert_eq!(manifest.code_epochs(Audience::Gate, time), expected, "{time:?}");
    }
    // Only gates decide by what they have for so long; nobody else is to link two epochs.
    for audience in [Audience::Police, Audience::Sponsor] {
        for (time, expected) in [
            (two.minus_millis(allowed + 1), one(1)),
            (two.minus_millis(allowed), both),
            (two.plus_millis(allowed - 1), both),
            (two.plus_millis(allowed), one(2)),
        ] {
            assert_eq!(manifest.code_epochs(audience, time), expected, "{audience} {time:?}");
        }
    }
    let lead = manifest.epochs.publish_at(Epoch::new(2));
    assert_eq!(lead, start.plus_millis(day - 7_200_000));
}

proptest! {
    #[test]
    fn an_epoch_holds_exactly_its_own_times(millis in 0u64..40_000_000_000_000) {
        let manifest = fixture_plan();
        let time = Timestamp::from_millis(millis);
        let epoch = manifest.epoch_at(time);
        prop_assert!(time < manifest.epoch_end(epoch));
        prop_assert!(epoch == manifest.first || manifest.epoch_start(epoch) <= time);
    }

    #[test]
    fn garbage_after_the_header_never_panics(text in "\\PC{0,200}") {
        let with_header = format!("{HEADER}{text}");
        prop_assert!(Manifest::parse_text(&with_header).is_err());
        prop_assert!(Manifest::parse_text(&text).is_err());
    }

    #[test]
    fn a_changed_character_is_refused(at in any::<prop::sample::Index>(), to in "[ -~\n]") {
        let good = signed();
        let starts: Vec<usize> = good.char_indices().map(|(start, _)| start).collect();
        let start = starts[at.index(starts.len())];
        let length = good[start..].chars().next().unwrap().len_utf8();
        prop_assume!(good[start..start + length] != to);
        let changed = format!("{}{to}{}", &good[..start], &good[start + length..]);
        prop_assert!(verify_manifest(&changed, &TRUST).is_err());
    }
}

fn fixture_plan() -> EpochPlan {
    EpochPlan {
        first: Epoch::new(7),
        starts_at: Timestamp::from_seconds(1_847_000_000),
        length_minutes: 37,
        publish_lead_minutes: 5,
    }
}

static TRUST: std::sync::LazyLock<ManifestTrust> = std::sync::LazyLock::new(|| fixture().trust());

fn signed() -> &'static str {
    static SIGNED: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let fixture = fixture();
        fixture.sign(&fixture.manifest)
    });
    &SIGNED
}
