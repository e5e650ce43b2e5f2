use lanyard_core::decision::{Cause, Verdict};
use lanyard_core::ids::{Audience, Epoch, Timestamp};
use lanyard_core::record::{Minutes, ProfileId, Record, Status};
use lanyard_core::{badge::BadgeText, badge::CodeEpochs, binding::Binding, ids::EventId};

use crate::test_event::{
    FRESH, LIMIT, ONE, TWO, TestEvent, badge_text, cleared, code, good, secret, with,
};

#[test]
fn two_fresh_positive_attestations_admit() {
    let event = TestEvent::new();
    assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
    assert_eq!(event.shown(&code(1, Audience::Gate, ONE)), "ADMIT Athlete");
    let checked = event.check(&badge_text(1));
    assert_eq!(checked.committee.epoch, ONE);
    assert_eq!((checked.committee.checkpoint_size, checked.police.checkpoint_size), (1, 1));
    assert!(
        checked.committee.handle.is_some() && checked.committee.handle != checked.police.handle
    );
}

#[test]
fn every_row_of_the_table_reaches_the_gate() {
    let event = TestEvent::new();
    let now = Minutes::from(event.env.now());
    let profile = |id| Record { profile: ProfileId::new(id), ..good() };
    let minutes = |minutes: u32| Minutes::new(minutes);
    let later = Record { not_before: minutes(now.get() + 1), ..good() };
    let before = Record { not_after: minutes(now.get() - 1), ..good() };
    let other_person = Record { binding: Binding::new([9; 20]), ..cleared() };
    for (badge, (committee, police, cause, shown)) in (10..).zip([
        (with(Status::Revoked, good()), cleared(), Cause::Revoked, "DENY REVOKED"),
        (with(Status::Reprinted, good()), cleared(), Cause::Reprinted, "DENY REVOKED"),
        (with(Status::Suspended, good()), cleared(), Cause::CommitteeSuspended, "REFER"),
        (good(), with(Status::NotGood, cleared()), Cause::PoliceNotGood, "REFER"),
        (good(), with(Status::NotYet, cleared()), Cause::PoliceNotYet, "REFER"),
        (good(), other_person, Cause::BindingsDiffer, "REFER"),
        (later, cleared(), Cause::NotYetValid, "DENY NOT_YET_VALID"),
        (before, cleared(), Cause::Expired, "DENY EXPIRED"),
        (profile(2), cleared(), Cause::WrongVenue, "DENY WRONG_VENUE"),
        (profile(3), cleared(), Cause::WrongZone, "DENY WRONG_ZONE"),
        (profile(4), cleared(), Cause::WrongTime, "DENY WRONG_TIME"),
    ]) {
        event.put(badge, committee, police);
        let checked = event.check(&badge_text(badge));
        assert_eq!(checked.decision.cause(), cause);
        assert_eq!(checked.decision.shown().to_string(), shown);
    }
    event.stage(&event.committee, ONE, 30, good());
    event.settle();
    assert_eq!(event.check(&badge_text(30)).decision.cause(), Cause::PoliceAbsent);
    assert_eq!(event.shown(&badge_text(31)), "DENY UNKNOWN");
}

#[test]
fn referrals_look_the_same_whatever_the_cause() {
    let event = TestEvent::new();
    event.put(2, with(Status::Suspended, good()), cleared());
    event.put(3, good(), with(Status::NotYet, cleared()));
    let [committee, police] = [2, 3].map(|badge| event.check(&badge_text(badge)).decision);
    assert_ne!(committee.cause(), police.cause());
    assert_eq!(committee.shown(), police.shown());
}

#[test]
fn what_is_no_badge_of_this_event_is_malformed() {
    let event = TestEvent::new();
    let other = EventId::parse("games-2032").unwrap();
    let foreign = BadgeText::new(&secret(1), &other);
    let sponsors = code(1, Audience::Sponsor, ONE);
    for text in ["", "LY1:", "hello", foreign.expose_str(), &sponsors, &badge_text(1)[1..]] {
        let checked = event.check(text);
        assert_eq!(checked.decision.cause(), Cause::Malformed);
        assert_eq!((checked.committee.handle, checked.police.handle), (None, None));
    }
}

#[test]
fn codes_are_good_in_their_epoch_only() {
    let event = TestEvent::new();
    assert_eq!(event.shown(&code(1, Audience::Gate, Epoch::new(0))), "DENY EXPIRED");
    assert_eq!(event.shown(&code(1, Audience::Gate, TWO)), "DENY NOT_YET_VALID");
}

#[test]
fn a_stop_counts_once_signed_and_its_end_once_cosigned() {
    let event = TestEvent::new();
    for (publisher, good) in [(&event.committee, good()), (&event.police, cleared())] {
        event.stage(publisher, ONE, 1, with(Status::Suspended, good));
        event.tick(publisher);
        assert_eq!(event.shown(&badge_text(1)), "REFER", "signed, without a quorum");
        event.cosign(publisher);
        assert_eq!(event.shown(&badge_text(1)), "REFER");
        event.stage(publisher, ONE, 1, good);
        event.tick(publisher);
        assert_eq!(event.shown(&badge_text(1)), "REFER", "better, but without a quorum");
        event.cosign(publisher);
        assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
    }
}

#[test]
fn the_receipt_names_the_state_that_decided() {
    let event = TestEvent::new();
    event.stage(&event.police, ONE, 1, with(Status::NotGood, cleared()));
    event.tick(&event.police);
    let checked = event.check(&badge_text(1));
    assert_eq!(checked.police.checkpoint_size, 2);
    event.cosign(&event.police);
    assert_eq!(event.check(&badge_text(1)).police.checkpoint_size, 2);
}

#[test]
fn knowledge_ages_from_fresh_to_marked_to_undetermined() {
    let event = TestEvent::new();
    event.clock.advance_millis(u64::from(FRESH) * 1_000);
    assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
    event.clock.advance_millis(1_000);
    assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete, knowledge is 11 s old");
    event.clock.advance_millis(u64::from(LIMIT - FRESH - 1) * 1_000);
    assert_eq!(event.check(&badge_text(1)).decision.verdict(), Verdict::Admit);
    event.clock.advance_millis(1_000);
    assert_eq!(event.shown(&badge_text(1)), "UNDETERMINED STALE, knowledge is 61 s old");
    // New heads without a quorum refresh nothing; one authority's quorum alone neither.
    event.tick(&event.committee);
    event.tick(&event.police);
    assert_eq!(event.check(&badge_text(1)).decision.verdict(), Verdict::Undetermined);
    event.cosign(&event.committee);
    assert_eq!(event.check(&badge_text(1)).decision.verdict(), Verdict::Undetermined);
    event.cosign(&event.police);
    assert_eq!(event.check(&badge_text(1)).decision.verdict(), Verdict::Admit);
}

#[test]
fn a_clock_set_back_makes_nothing_fresh() {
    let event = TestEvent::new();
    let day = with(Status::Valid, Record { not_after: Minutes::from(event.env.now()), ..good() });
    event.put(2, day, cleared());
    event.clock.advance_millis(120_000);
    event.settle();
    assert_eq!(event.shown(&badge_text(2)), "DENY EXPIRED");
    event.set_clock(ONE, 60);
    assert_eq!(event.shown(&badge_text(2)), "DENY EXPIRED");
    assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
}

#[test]
fn an_epoch_without_its_directory_is_undetermined() {
    let event = TestEvent::new();
    event.set_clock(TWO, 60);
    assert_eq!(event.check(&badge_text(1)).decision.cause(), Cause::Stale);
    // Fresh heads that do not bring the epoch.
    event.settle();
    assert_eq!(event.check(&badge_text(1)).decision.cause(), Cause::CommitteeMissing);
    assert_eq!(event.shown(&badge_text(1)), "UNDETERMINED NO_DIRECTORY, knowledge is 0 s old");
}

/// Both authorities have published epoch 2 ahead, as of now; the clock stands shortly before it.
fn frozen() -> TestEvent {
    let event = TestEvent::new();
    event.set_clock(TWO, 0);
    event.clock.set(event.env.now().minus_millis(5_000));
    for (publisher, good) in [(&event.committee, good()), (&event.police, cleared())] {
        event.stage(publisher, TWO, 1, good);
    }
    event.settle();
    event
}

#[test]
fn without_the_catch_up_both_epochs_count() {
    let event = frozen();
    // Stopped after the next epoch was frozen: only the old directory knows.
    event.stage(&event.committee, ONE, 1, with(Status::Suspended, good()));
    event.settle();
    assert_eq!(event.shown(&badge_text(1)), "REFER");
    event.set_clock(TWO, 1);
    let checked = event.check(&badge_text(1));
    assert_eq!(checked.decision.cause(), Cause::CommitteeSuspended);
    assert_eq!(checked.committee.epoch, ONE);
    // A code of the new epoch cannot be looked up in the old one.
    let code = code(1, Audience::Gate, TWO);
    assert_eq!(event.check(&code).decision.verdict(), Verdict::Undetermined);
    let both = self::code(1, Audience::Gate, CodeEpochs::both(ONE));
    assert_eq!(event.shown(&both), "REFER");
    // The catch-up brings the stop into the new directory; later it is lifted.
    for publisher in [&event.committee, &event.police] {
        event.begin(publisher, TWO);
    }
    event.stage(&event.committee, TWO, 1, with(Status::Suspended, good()));
    event.settle();
    assert_eq!(event.shown(&badge_text(1)), "REFER");
    assert_eq!(event.shown(&code), "REFER");
    event.stage(&event.committee, TWO, 1, good());
    event.settle();
    assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
    assert_eq!(event.shown(&code), "ADMIT Athlete");
}

#[test]
fn a_signed_catch_up_does_not_end_a_stop_before_its_quorum() {
    let event = frozen();
    event.stage(&event.committee, ONE, 1, with(Status::Suspended, good()));
    event.settle();
    event.set_clock(TWO, 1);
    for publisher in [&event.committee, &event.police] {
        event.begin(publisher, TWO);
        // The frozen record was good, and the catch-up leaves it so: what improves waits for the quorum.
        event.tick(publisher);
    }
    assert_eq!(event.shown(&badge_text(1)), "REFER");
    event.cosign(&event.committee);
    event.cosign(&event.police);
    assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
}

#[test]
fn the_frozen_directory_admits_until_the_catch_up_comes() {
    let event = frozen();
    event.set_clock(TWO, 1);
    assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
    // One authority is ahead of this clock.
    event.set_clock(TWO, 0);
    event.clock.set(event.env.now().minus_millis(1));
    event.begin(&event.committee, TWO);
    event.tick(&event.committee);
    event.cosign(&event.committee);
    assert_eq!(event.check(&badge_text(1)).committee.epoch, TWO);
    assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
}

#[test]
fn chance_refers_as_often_as_the_manifest_says() {
    let all = TestEvent::with_secondary_checks(10_000);
    assert_eq!(all.check(&badge_text(1)).decision.cause(), Cause::SecondaryCheck);
    let some = TestEvent::with_secondary_checks(2_500);
    let referred = (0..2_000)
        .filter(|_| some.check(&badge_text(1)).decision.verdict() == Verdict::Refer)
        .count();
    assert!((350..650).contains(&referred), "{referred} of 2,000");
    // Whoever is refused anyway is not referred by chance.
    assert_eq!(all.shown(&badge_text(9)), "DENY UNKNOWN");
}

/// A phone derives its code by the plan, and its clock may be off as much as the manifest allows. While authorities come into
/// the epoch one after the other, signed and with a quorum, the code is as good as the badge.
#[test]
fn a_code_that_a_phone_shows_is_good_through_a_change_of_epochs() {
    let event = frozen();
    let manifest = event.rules.load().manifest().clone();
    let allowed = manifest.allowed_millis();
    let start = manifest.epoch_start(TWO);
    let admits = |shown: Timestamp| {
        let code = self::code(1, Audience::Gate, manifest.code_epochs(Audience::Gate, shown));
        assert_eq!(event.shown(&code), "ADMIT Athlete", "shown at {shown:?}");
    };
    let phones_admit = || {
        let now = event.env.now();
        for phone in [now.minus_millis(allowed), now, now.plus_millis(allowed)] {
            admits(phone);
        }
    };
    phones_admit();
    event.clock.set(start.plus_millis(1_000));
    phones_admit();
    for publisher in [&event.police, &event.committee] {
        event.begin(publisher, TWO);
        event.tick(publisher);
        phones_admit();
        event.cosign(publisher);
        phones_admit();
    }
    // The keys of one epoch are all that is shown in the middle of one.
    let middle = start.plus_millis(3_600_000);
    assert_eq!(manifest.code_epochs(Audience::Gate, middle), CodeEpochs::from(TWO));
    assert_eq!(event.shown(&code(1, Audience::Gate, ONE)), "DENY EXPIRED");
}

/// A gate that never gets the first tick decides by what it has until that is too old, by a phone's code as by the badge.
#[test]
fn a_code_that_a_phone_shows_is_good_at_a_gate_that_is_cut_off() {
    let event = frozen();
    let manifest = event.rules.load().manifest().clone();
    let start = manifest.epoch_start(TWO);
    for seconds in [1, 16, LIMIT - 6] {
        event.clock.set(start.plus_millis(u64::from(seconds) * 1_000));
        let code = code(1, Audience::Gate, manifest.code_epochs(Audience::Gate, event.env.now()));
        assert!(event.shown(&code).starts_with("ADMIT Athlete"), "{}", event.shown(&code));
        assert_eq!(event.shown(&code), event.shown(&badge_text(1)));
    }
}

/// Since epoch 2 was frozen, badge 2 was issued, the stop of badge 3 was lifted, and badge 4 was stopped.
fn changed_since() -> TestEvent {
    let event = frozen();
    let stopped = with(Status::Suspended, good());
    // One that was issued and stopped before, so that both directories had it.
    for (badge, before, after) in [(3, stopped, good()), (4, good(), stopped)] {
        event.stage(&event.committee, TWO, badge, before);
        event.stage(&event.committee, ONE, badge, after);
    }
    event.stage(&event.committee, ONE, 2, good());
    for badge in [2, 3, 4] {
        event.stage(&event.police, ONE, badge, cleared());
    }
    for badge in [3, 4] {
        event.stage(&event.police, TWO, badge, cleared());
    }
    event.settle();
    event
}

#[test]
fn while_the_first_tick_is_on_its_way_nobody_is_answered_otherwise() {
    let event = changed_since();
    for seconds in [0, 1, 14] {
        event.set_clock(TWO, seconds);
        event.settle();
        let shown = [1, 2, 3, 4].map(|badge| event.shown(&badge_text(badge)));
        assert_eq!(&shown[..3], ["ADMIT Athlete"; 3], "{seconds} s");
        assert_eq!(shown[3], "REFER");
    }
}

#[test]
fn once_the_first_tick_is_missed_the_worse_of_both_epochs_counts() {
    let event = changed_since();
    event.set_clock(TWO, 30);
    event.settle();
    let shown = |badge| event.shown(&badge_text(badge));
    assert_eq!(shown(1), "ADMIT Athlete");
    assert_eq!(shown(2), "ADMIT Athlete", "not in the frozen directory, which says nothing");
    assert_eq!(shown(3), "REFER", "stopped when it was frozen");
    assert_eq!(shown(4), "REFER", "stopped since");
    assert_eq!(shown(9), "DENY UNKNOWN");
}

#[test]
fn an_authority_that_begins_an_epoch_out_of_turn_leaves_the_other_in_its_own() {
    let event = TestEvent::new();
    event.stage(&event.committee, TWO, 1, good());
    event.settle();
    event.begin(&event.committee, TWO);
    event.settle();
    let checked = event.check(&badge_text(1));
    assert_eq!((checked.committee.epoch, checked.police.epoch), (TWO, ONE));
    assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
    // A code of one epoch has no keys of the other.
    for epoch in [ONE, TWO] {
        let shown = event.shown(&code(1, Audience::Gate, epoch));
        assert_eq!(shown, "UNDETERMINED NO_DIRECTORY, knowledge is 0 s old");
    }
    assert_eq!(event.shown(&code(1, Audience::Gate, CodeEpochs::both(ONE))), "ADMIT Athlete");
    assert_eq!(event.shown(&code(1, Audience::Gate, Epoch::new(3))), "DENY NOT_YET_VALID");
}

#[test]
fn a_clock_behind_neither_stops_time_nor_the_gate() {
    let event = TestEvent::new();
    let now = Minutes::from(event.env.now());
    event.put(2, with(Status::Valid, Record { not_after: now, ..good() }), cleared());
    event.live_through(10);
    for seconds in [-120, -7_200, -86_400 * 3] {
        event.set_wrong_by(seconds);
        assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
        let error = event.checker.clock_error(&event.rules.load()).unwrap().to_string();
        assert!(error.contains(&format!("{} s behind", -seconds)), "{error}");
        event.live_through(10);
        assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
    }
    event.live_through(60);
    assert_eq!(event.shown(&badge_text(2)), "DENY EXPIRED");
    // Without network, time passes all the same.
    event.clock.advance_millis(70_000);
    assert_eq!(event.shown(&badge_text(1)), "UNDETERMINED CLOCK, knowledge is 70 s old");
    event.set_wrong_by(0);
    assert_eq!(event.shown(&badge_text(1)), "UNDETERMINED STALE, knowledge is 70 s old");
}

#[test]
fn a_clock_behind_from_the_beginning_is_named() {
    let event = TestEvent::new();
    event.live_through(2);
    // As after a start without memory: nothing that comes is believed.
    event.set_wrong_by(-7_200);
    event.clock.advance_millis(4_000_000);
    let error = event.checker.clock_error(&event.rules.load()).unwrap();
    assert!(error.to_string().starts_with("CLOCK: this machine's clock is 7"), "{error}");
    assert_eq!(event.check(&badge_text(1)).decision.cause(), Cause::ClockWrong);
}

#[test]
fn a_clock_ahead_locks_nobody_out_in_silence() {
    let event = TestEvent::new();
    event.live_through(10);
    for seconds in [120, 7_200, 86_400 * 3] {
        event.set_wrong_by(seconds);
        let shown = event.shown(&badge_text(1));
        assert!(shown.starts_with("UNDETERMINED CLOCK, knowledge is "), "{shown}");
        event.live_through(10);
        assert_eq!(event.check(&badge_text(1)).decision.cause(), Cause::ClockWrong);
        let error = event.checker.clock_error(&event.rules.load()).unwrap().to_string();
        assert!(error.contains("s ahead of the witnesses'"), "{error}");
        event.set_wrong_by(0);
        assert_eq!(event.shown(&badge_text(1)), "ADMIT Athlete");
    }
}
