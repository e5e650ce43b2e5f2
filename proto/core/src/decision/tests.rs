use proptest::prelude::*;

use super::*;
use crate::binding::Binding;
use crate::profile::{Profile, Session};

const NOW: Timestamp = Timestamp::from_seconds(1_846_000_000);
const TIER: StalenessTier = StalenessTier { fresh_seconds: 30, limit_seconds: 600 };

struct Scene {
    access_point: AccessPoint,
    time_zone: EventTimeZone,
    profiles: ProfileTable,
}

impl Scene {
    fn new() -> Self {
        let athlete = Profile {
            id: ProfileId::new(1),
            category: "Athlete".into(),
            venues: ["STA".to_owned()].into(),
            zones: ["FOP".to_owned()].into(),
            sessions: Vec::new(),
        };
        Self {
            access_point: AccessPoint { id: "n".into(), venue: "STA".into(), zone: "FOP".into() },
            time_zone: EventTimeZone::parse("Europe/Paris").unwrap(),
            profiles: ProfileTable::new(vec![athlete]).unwrap(),
        }
    }

    fn question(&self) -> Question<'_> {
        Question {
            access_point: &self.access_point,
            now: NOW,
            time_zone: &self.time_zone,
            tier: TIER,
            profiles: &self.profiles,
            secondary_check: false,
        }
    }
}

fn committee() -> Record {
    Record {
        status: Status::Valid,
        profile: ProfileId::new(1),
        not_before: Minutes::new(NOW.minutes() - 10),
        not_after: Minutes::new(NOW.minutes() + 10),
        binding: Binding::new([7; 20]),
    }
}

fn police() -> Record {
    Record {
        profile: ProfileId::UNRESTRICTED,
        not_before: Minutes::MIN,
        not_after: Minutes::MAX,
        ..committee()
    }
}

fn known(finding: Finding) -> Knowledge {
    Knowledge { finding, freshness: Some(NOW.minus_millis(1_500)) }
}

fn found(record: Record) -> Knowledge {
    known(Finding::Found(record))
}

/// Decides in a scene where all else is good.
fn decided(committee: Knowledge, police: Knowledge) -> Decision {
    decide(&Scene::new().question(), &committee, &police)
}

fn cause(committee: Knowledge, police: Knowledge) -> Cause {
    decided(committee, police).cause()
}

#[test]
fn two_fresh_positive_attestations_admit() {
    let decision = decided(found(committee()), found(police()));
    assert_eq!(decision.verdict(), Verdict::Admit);
    assert_eq!(decision.shown().to_string(), "ADMIT Athlete");
    assert_eq!((decision.age_seconds(), decision.marked_stale()), (Some(2), false));
    let unrestricted = Record { profile: ProfileId::UNRESTRICTED, ..committee() };
    let decision = decided(found(unrestricted), found(police()));
    assert_eq!((decision.verdict(), decision.category()), (Verdict::Admit, None));
}

#[test]
fn each_row_of_the_table() {
    let with = |status| found(Record { status, ..committee() });
    let (good, cleared) = (found(committee()), found(police()));
    assert_eq!(Decision::malformed().shown().to_string(), "DENY MALFORMED");
    for (committee, police, expected) in [
        (known(Finding::Missing), cleared, Cause::CommitteeMissing),
        (good, known(Finding::Missing), Cause::PoliceMissing),
        (known(Finding::Unreadable), cleared, Cause::CommitteeUnreadable),
        (good, known(Finding::Unreadable), Cause::PoliceUnreadable),
        (known(Finding::Absent), cleared, Cause::Unknown),
        (with(Status::Revoked), cleared, Cause::Revoked),
        (with(Status::Reprinted), cleared, Cause::Reprinted),
        (with(Status::Suspended), cleared, Cause::CommitteeSuspended),
        (with(Status::NotYet), cleared, Cause::CommitteeNotGood),
        (with(Status::NotGood), cleared, Cause::CommitteeNotGood),
        (with(Status::Invalid), cleared, Cause::CommitteeNotGood),
        (good, known(Finding::Absent), Cause::PoliceAbsent),
        (good, with(Status::NotYet), Cause::PoliceNotYet),
        (good, with(Status::NotGood), Cause::PoliceNotGood),
        (good, with(Status::Suspended), Cause::PoliceNotGood),
        (good, with(Status::Revoked), Cause::PoliceNotGood),
        (good, with(Status::Reprinted), Cause::PoliceNotGood),
        (good, with(Status::Invalid), Cause::PoliceNotGood),
    ] {
        assert_eq!(cause(committee, police), expected);
    }
}

#[test]
fn verdicts_and_reasons_are_those_of_the_table() {
    let shown = |cause: Cause| (cause.verdict().name(), cause.reason().map_or("", Reason::name));
    for &cause in Cause::ALL {
        let expected = match cause {
            Cause::Admitted => ("ADMIT", ""),
            Cause::Malformed => ("DENY", "MALFORMED"),
            Cause::Stale
            | Cause::CommitteeUnreadable
            | Cause::PoliceUnreadable
            | Cause::ProfileMissing => ("UNDETERMINED", "STALE"),
            Cause::CommitteeMissing | Cause::PoliceMissing => ("UNDETERMINED", "NO_DIRECTORY"),
            Cause::ClockWrong => ("UNDETERMINED", "CLOCK"),
            Cause::Unknown => ("DENY", "UNKNOWN"),
            Cause::Revoked | Cause::Reprinted => ("DENY", "REVOKED"),
            Cause::CommitteeSuspended
            | Cause::CommitteeNotGood
            | Cause::PoliceNotGood
            | Cause::PoliceNotYet
            | Cause::PoliceAbsent
            | Cause::BindingsDiffer
            | Cause::SecondaryCheck => ("REFER", "REFER"),
            Cause::NotYetValid => ("DENY", "NOT_YET_VALID"),
            Cause::Expired => ("DENY", "EXPIRED"),
            Cause::WrongVenue => ("DENY", "WRONG_VENUE"),
            Cause::WrongZone => ("DENY", "WRONG_ZONE"),
            Cause::WrongTime => ("DENY", "WRONG_TIME"),
            Cause::LetIn => ("ADMIT", ""),
            Cause::KeptOut => ("DENY", "REFER"),
        };
        assert_eq!(shown(cause), expected, "{cause}");
        assert_eq!(Cause::from_byte(cause.byte()), Some(cause));
    }
    assert_eq!(Cause::from_byte(0), None);
    assert_eq!(Cause::ALL.len(), 26);
}

#[test]
fn different_or_missing_bindings_refer() {
    let other = Record { binding: Binding::new([8; 20]), ..police() };
    assert_eq!(cause(found(committee()), found(other)), Cause::BindingsDiffer);
    let none = |record: Record| found(Record { binding: Binding::NONE, ..record });
    assert_eq!(cause(none(committee()), none(police())), Cause::BindingsDiffer);
}

#[test]
fn chance_refers_a_good_badge() {
    let scene = Scene::new();
    let question = Question { secondary_check: true, ..scene.question() };
    let decision = decide(&question, &found(committee()), &found(police()));
    assert_eq!(decision.cause(), Cause::SecondaryCheck);
}

#[test]
fn knowledge_ages_by_the_older_authority() {
    let aged = |millis, record| Knowledge {
        finding: Finding::Found(record),
        freshness: Some(NOW.minus_millis(millis)),
    };
    let verdict = |committee_age, police_age| {
        let decision = decided(aged(committee_age, committee()), aged(police_age, police()));
        (decision.cause(), decision.marked_stale(), decision.age_seconds())
    };
    assert_eq!(verdict(30_000, 0), (Cause::Admitted, false, Some(30)));
    assert_eq!(verdict(0, 30_001), (Cause::Admitted, true, Some(31)));
    assert_eq!(verdict(600_000, 0), (Cause::Admitted, true, Some(600)));
    assert_eq!(verdict(600_001, 0), (Cause::Stale, false, Some(601)));
    assert_eq!(verdict(0, 600_001), (Cause::Stale, false, Some(601)));
    let decision = decided(aged(31_000, committee()), aged(0, police()));
    assert_eq!(decision.shown().to_string(), "ADMIT Athlete, knowledge is 31 s old");
    let decision = decided(aged(700_000, committee()), aged(0, police()));
    let expected = "UNDETERMINED STALE, knowledge is 700 s old";
    assert_eq!(decision.shown().to_string(), expected);
}

#[test]
fn what_no_quorum_vouched_for_is_undetermined_at_any_limit() {
    let scene = Scene::new();
    let never = |record| Knowledge { finding: Finding::Found(record), freshness: None };
    let tier = StalenessTier { fresh_seconds: u32::MAX, limit_seconds: u32::MAX };
    let question = Question { tier, ..scene.question() };
    for (committee, police) in
        [(never(committee()), found(police())), (found(committee()), never(police()))]
    {
        let decision = decide(&question, &committee, &police);
        assert_eq!((decision.cause(), decision.age_seconds()), (Cause::Stale, None));
    }
}

#[test]
fn freshness_ahead_of_the_clock_is_age_zero() {
    let ahead = |record| Knowledge {
        finding: Finding::Found(record),
        freshness: Some(NOW.plus_millis(900)),
    };
    assert_eq!(decided(ahead(committee()), ahead(police())).age_seconds(), Some(0));
}

#[test]
fn the_first_and_the_last_minute_are_inside() {
    let now = NOW.minutes();
    let valid = |from: u32, to: u32| {
        let (not_before, not_after) = (Minutes::new(from), Minutes::new(to));
        let ours = cause(found(Record { not_before, not_after, ..committee() }), found(police()));
        let theirs = cause(found(committee()), found(Record { not_before, not_after, ..police() }));
        assert_eq!(ours, theirs, "either authority's bounds hold");
        ours
    };
    assert_eq!(valid(now, now), Cause::Admitted);
    assert_eq!(valid(now + 1, now + 9), Cause::NotYetValid);
    assert_eq!(valid(now - 9, now - 1), Cause::Expired);
}

#[test]
fn a_profile_restricts_place_and_time() {
    let mut scene = Scene::new();
    let decided = |scene: &Scene| {
        decide(&scene.question(), &found(committee()), &found(police())).shown().to_string()
    };
    scene.access_point.venue = "POOL".into();
    assert_eq!(decided(&scene), "DENY WRONG_VENUE");
    scene.access_point = AccessPoint { zone: "VIP".into(), ..Scene::new().access_point };
    assert_eq!(decided(&scene), "DENY WRONG_ZONE");
    scene = Scene::new();
    let local = scene.time_zone.local(NOW);
    let elsewhere = if local.hour() < 12 { "daily 12:00-13:00" } else { "daily 10:00-11:00" };
    let mut athlete = scene.profiles.get(ProfileId::new(1)).unwrap().clone();
    athlete.sessions = vec![Session::parse(elsewhere).unwrap()];
    scene.profiles = ProfileTable::new(vec![athlete]).unwrap();
    assert_eq!(decided(&scene), "DENY WRONG_TIME");
}

#[test]
fn a_profile_that_is_in_no_table_never_admits() {
    let strange = Record { profile: ProfileId::new(9), ..committee() };
    assert_eq!(cause(found(strange), found(police())), Cause::ProfileMissing);
    let strange = Record { profile: ProfileId::new(1), ..police() };
    assert_eq!(cause(found(committee()), found(strange)), Cause::ProfileMissing);
}

#[test]
fn earlier_rows_win() {
    let expired = Record { not_after: Minutes::MIN, ..committee() };
    let bad = |status| Record { status, ..expired };
    let absent = known(Finding::Absent);
    let old = |finding| Knowledge { finding, freshness: None };
    // Stale before unknown, unknown before referral, revoked before referral, referral before expiry.
    assert_eq!(cause(old(Finding::Absent), absent), Cause::Stale);
    assert_eq!(cause(known(Finding::Absent), known(Finding::Missing)), Cause::PoliceMissing);
    assert_eq!(cause(absent, absent), Cause::Unknown);
    assert_eq!(cause(found(bad(Status::Revoked)), absent), Cause::Revoked);
    assert_eq!(cause(found(bad(Status::Suspended)), absent), Cause::CommitteeSuspended);
    assert_eq!(cause(found(expired), absent), Cause::PoliceAbsent);
    let elsewhere = Record { profile: ProfileId::new(9), ..expired };
    assert_eq!(cause(found(elsewhere), found(police())), Cause::Expired);
}

#[test]
fn the_causes_of_a_referral_look_the_same() {
    let scene = Scene::new();
    let chance = Question { secondary_check: true, ..scene.question() };
    let with = |status| found(Record { status, ..committee() });
    let cleared = found(police());
    let other = Record { binding: Binding::new([8; 20]), ..police() };
    let long_ago = Knowledge { freshness: Some(NOW.minus_millis(400_000)), ..with(Status::NotYet) };
    let decisions = [
        decided(with(Status::Suspended), cleared),
        decided(found(committee()), with(Status::NotGood)),
        decided(found(committee()), with(Status::NotYet)),
        decided(found(committee()), long_ago),
        decided(found(committee()), known(Finding::Absent)),
        decided(found(committee()), found(other)),
        decide(&chance, &found(committee()), &cleared),
    ];
    for decision in decisions {
        assert_eq!(decision.shown().to_string(), "REFER");
        let expected = Shown {
            verdict: Verdict::Refer,
            reason: Some(Reason::Refer),
            category: None,
            age_seconds: None,
            marked_stale: false,
        };
        assert_eq!(decision.shown(), expected);
    }
}

#[test]
fn a_scoped_code_is_good_in_its_epoch_only() {
    let [two, three, four, five] = [2, 3, 4, 5].map(Epoch::new);
    let on = |code, live| Decision::on_code_of(code, &live).map(|decision| decision.cause());
    assert_eq!(on(three.into(), three..=three), None);
    assert_eq!(on(two.into(), three..=three), Some(Cause::Expired));
    assert_eq!(on(four.into(), three..=three), Some(Cause::NotYetValid));
    // Who lives in two epochs takes a code of either, and a code of two is good in either.
    assert_eq!(on(two.into(), two..=three), None);
    assert_eq!(on(three.into(), two..=three), None);
    assert_eq!(on(CodeEpochs::both(two), three..=three), None);
    assert_eq!(on(CodeEpochs::both(three), three..=three), None);
    assert_eq!(on(CodeEpochs::both(two), four..=five), Some(Cause::Expired));
    assert_eq!(on(CodeEpochs::both(four), two..=three), Some(Cause::NotYetValid));
}

#[test]
fn anything_but_an_admission_and_a_malformed_text_may_be_overridden() {
    for &cause in Cause::ALL {
        let expected = cause != Cause::Admitted && cause != Cause::Malformed;
        assert_eq!(Decision::new(cause, None).may_be_overridden(), expected, "{cause}");
    }
}

#[test]
fn the_worse_of_two_is_the_stop() {
    let old = Knowledge { freshness: Some(NOW.minus_millis(60_000)), ..found(committee()) };
    let ascending = [
        decided(found(committee()), found(police())),
        decided(old, found(police())),
        decided(known(Finding::Missing), found(police())),
        decided(found(committee()), known(Finding::Absent)),
        decided(known(Finding::Absent), found(police())),
    ];
    for (index, worse) in ascending.iter().enumerate() {
        for better in &ascending[..=index] {
            assert_eq!(worse.clone().worse(better.clone()), *worse);
            assert_eq!(better.clone().worse(worse.clone()), *worse);
        }
    }
}

fn findings() -> impl Strategy<Value = Finding> {
    // Mostly good, so that single faults are met often.
    let status = prop_oneof![4 => Just(Status::Valid), 1 => prop::sample::select(&Status::ALL[..])];
    let minutes = |usual| {
        let around = NOW.minutes() - 1..=NOW.minutes() + 1;
        prop_oneof![3 => Just(usual), 1 => around, 1 => any::<u32>()].prop_map(Minutes::new)
    };
    let binding = prop_oneof![4 => Just([7; 20]), 1 => Just([0; 20]), 1 => any::<[u8; 20]>()];
    let profile = prop_oneof![2 => Just(0), 2 => Just(1), 1 => any::<u16>()];
    let record = (status, profile, minutes(0), minutes(u32::MAX), binding).prop_map(
        |(status, profile, not_before, not_after, binding)| Record {
            status,
            profile: ProfileId::new(profile),
            not_before,
            not_after,
            binding: Binding::new(binding),
        },
    );
    prop_oneof![
        12 => record.prop_map(Finding::Found),
        1 => Just(Finding::Missing),
        1 => Just(Finding::Absent),
        1 => Just(Finding::Unreadable),
    ]
}

fn knowledge() -> impl Strategy<Value = Knowledge> {
    let age = prop_oneof![3 => 0_u64..40_000, 1 => 590_000_u64..610_000, 1 => any::<u64>()];
    let freshness = prop_oneof![
        6 => age.prop_map(|age| Some(NOW.minus_millis(age))),
        1 => Just(None),
    ];
    (findings(), freshness).prop_map(|(finding, freshness)| Knowledge { finding, freshness })
}

/// Whether this alone would let someone in.
fn is_positive(knowledge: &Knowledge) -> bool {
    let fresh = knowledge.freshness.is_some_and(|time| NOW.millis_since(time) <= 600_000);
    let now = Minutes::from(NOW);
    matches!(knowledge.finding, Finding::Found(record)
        if record.status == Status::Valid && record.not_before <= now && now <= record.not_after)
        && fresh
}

fn binding_of(knowledge: &Knowledge) -> Option<[u8; 20]> {
    match knowledge.finding {
        Finding::Found(record) => Some(*record.binding.as_bytes()),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn never_admits_without_two_fresh_positive_attestations(
        committee in knowledge(),
        police in knowledge(),
        secondary_check in prop::bool::weighted(0.1),
        at_venue in prop::bool::weighted(0.9),
    ) {
        let mut scene = Scene::new();
        if !at_venue {
            scene.access_point.venue = "POOL".into();
        }
        let question = Question { secondary_check, ..scene.question() };
        let decision = decide(&question, &committee, &police);
        let restricted = matches!(committee.finding, Finding::Found(record)
            if record.profile != ProfileId::UNRESTRICTED);
        let known_profiles = matches!(committee.finding, Finding::Found(record)
            if record.profile.get() <= 1)
            && matches!(police.finding, Finding::Found(record) if record.profile.get() == 0);
        let bound = binding_of(&committee) == binding_of(&police)
            && binding_of(&committee).is_some_and(|binding| binding != [0; 20]);
        let expected = is_positive(&committee)
            && is_positive(&police)
            && bound
            && known_profiles
            && !secondary_check
            && (at_venue || !restricted);
        prop_assert_eq!(decision.verdict() == Verdict::Admit, expected, "{:?}", decision);
    }

    #[test]
    fn a_referral_shows_nothing_but_that_it_is_one(
        committee in knowledge(), police in knowledge(), secondary_check in any::<bool>(),
    ) {
        let scene = Scene::new();
        let question = Question { secondary_check, ..scene.question() };
        let decision = decide(&question, &committee, &police);
        if decision.verdict() == Verdict::Refer {
            prop_assert_eq!(decision.shown().to_string(), "REFER");
        }
        if decision.verdict() != Verdict::Admit {
            prop_assert!(decision.category().is_none() && !decision.marked_stale());
        }
    }

    #[test]
    fn worse_is_never_better_than_either(
        states in (knowledge(), knowledge(), knowledge(), knowledge()),
    ) {
        let scene = Scene::new();
        let first = decide(&scene.question(), &states.0, &states.1);
        let second = decide(&scene.question(), &states.2, &states.3);
        let worse = first.clone().worse(second.clone());
        prop_assert_eq!(worse.verdict(), first.verdict().max(second.verdict()));
        prop_assert!(worse == first || worse == second);
        let swapped = second.worse(first);
        prop_assert_eq!(worse.verdict(), swapped.verdict());
    }
}
