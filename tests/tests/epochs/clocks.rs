//! Clocks that are wrong by minutes, hours and days, at a gate, an authority and a witness.

use lanyard_env::{Env, SkewedClock};
use lanyard_party::{Finding, Found, PartyConfig, Report};
use lanyard_tests::{Desk, TestEvent, eventually, run_together, sample_plan};
use lanyard_wire::gate::v1::{AuthorityState, GetSyncStateResponse};

use crate::{MAIN, published, seconds};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// An event in which one member has a clock of its own.
fn with_own_clock(name: &str) -> (TestEvent, Vec<String>, SkewedClock) {
    let (mut event, badges) = published(&sample_plan(), &Env::system(), 2);
    event.stop(name);
    let clock = SkewedClock::default();
    event.start_in(name, Env::for_test(clock.clone()));
    (event, badges, clock)
}

async fn admits(desk: &Desk, badge: &str) {
    eventually("the gate admits on fresh knowledge", async || {
        let checked = desk.check(badge, MAIN).await.ok()?;
        (checked.verdict == "ADMIT" && !checked.response.stale).then_some(())
    })
    .await;
}

/// What a look at the gate finds that is not good.
fn inspected(event: &TestEvent, env: &Env, mut report: Report) -> Vec<Finding> {
    let config = event.folder("gate-1").join("config.toml");
    let config = PartyConfig::read(&*env.files, &config).unwrap();
    run_together(lanyard_gate::inspect(&config, env, &mut report));
    report.findings().iter().filter(|one| one.found != Found::Good).cloned().collect()
}

#[test]
fn a_gate_with_a_wrong_clock_says_so() {
    let (mut event, badges, clock) = with_own_clock("gate-1");
    run_together(async {
        let desk = Desk::of(&event);
        admits(&desk, &badges[0]).await;
        // It must have seen for a while that what comes is new.
        seconds(7).await;
        // By minutes, what it knows is old, and not too old to decide.
        for (ahead, answer) in [
            (10 * MINUTE, ("ADMIT", "GOOD")),
            (8 * HOUR, ("UNDETERMINED", "CLOCK")),
            (72 * HOUR, ("UNDETERMINED", "CLOCK")),
        ] {
            clock.set_wrong_by(ahead);
            let checked = desk.check(&badges[0], MAIN).await.unwrap();
            assert_eq!((checked.verdict, checked.reason), answer, "{ahead}");
            let state = desk.sync_state().await.unwrap();
            assert!(state.clock.contains("ahead of the witnesses'"), "{}", state.clock);
            clock.set_wrong_by(0);
            admits(&desk, &badges[0]).await;
        }
        // Behind, it goes on by the time that passes, and says so.
        for behind in [10 * MINUTE, 2 * HOUR, 72 * HOUR] {
            clock.set_wrong_by(-behind);
            seconds(2).await;
            admits(&desk, &badges[0]).await;
            let state = desk.sync_state().await.unwrap();
            assert!(state.clock.contains("behind the witnesses': set it right"), "{}", state.clock);
            assert!(state.authorities.iter().all(|one| one.age_millis.unwrap() < 30_000));
        }
    });
    // Over a restart too: the time was kept.
    event.stop("gate-1");
    event.start_in("gate-1", Env::for_test(clock));
    run_together(async {
        let desk = Desk::of(&event);
        admits(&desk, &badges[0]).await;
        assert!(desk.sync_state().await.unwrap().clock.contains("behind"));
    });
}

/// Hours ahead from its start on, a gate goes on following, knows what is wrong, and decides once it is set right.
#[test]
fn a_gate_that_starts_ahead_keeps_its_upstream_and_says_so() {
    let (mut event, badges, clock) = with_own_clock("gate-1");
    event.stop("gate-1");
    clock.set_wrong_by(8 * HOUR);
    event.start_in("gate-1", Env::for_test(clock.clone()));
    run_together(async {
        let desk = Desk::of(&event);
        let state = eventually("the clock is found out", async || {
            let state = desk.sync_state().await.ok()?;
            state.clock.contains("ahead of the witnesses'").then_some(state)
        })
        .await;
        let times_left = |state: &GetSyncStateResponse| {
            let upstreams = state.authorities.iter().flat_map(|one| &one.upstreams);
            upstreams.map(|one| one.times_left).sum::<u64>()
        };
        let checked = desk.check(&badges[0], MAIN).await.unwrap();
        assert_eq!((checked.verdict, checked.reason), ("UNDETERMINED", "CLOCK"));
        // Several times as long as an upstream is watched before it is judged.
        seconds(20).await;
        let later = desk.sync_state().await.unwrap();
        assert_eq!(times_left(&later), times_left(&state), "{later:?}");
        assert!(later.authorities[0].quorum_size > state.authorities[0].quorum_size);
        clock.set_wrong_by(0);
        admits(&desk, &badges[0]).await;
        assert_eq!(desk.sync_state().await.unwrap().clock, "");
    });
}

/// Certificates that are younger than the gate's clock is behind: their holders are let in by the time that passes, and the
/// gate itself starts by the time that it kept.
#[test]
fn a_gate_with_a_clock_behind_believes_certificates_made_since() {
    let mut event = TestEvent::make(&sample_plan());
    let clock = SkewedClock::default();
    for member in event.members() {
        let env =
            if member.name() == "gate-1" { Env::for_test(clock.clone()) } else { Env::system() };
        event.start_in(member.name(), env);
    }
    let badges = run_together(async {
        let badges = Desk::of(&event).publish_people(1).await;
        admits(&Desk::of(&event), &badges[0]).await;
        clock.set_wrong_by(-2 * HOUR);
        // Over new connections.
        let desk = Desk::of(&event);
        admits(&desk, &badges[0]).await;
        assert!(desk.sync_state().await.unwrap().clock.contains("behind"));
        badges
    });
    event.stop("gate-1");
    clock.set_wrong_by(-14 * DAY);
    let env = Env::for_test(clock);
    for report in [Report::before_start(), Report::default()] {
        let found = inspected(&event, &env, report);
        let [Finding { found: Found::Warning, detail, .. }] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert!(detail.contains("behind the witnesses': set it right"), "{detail}");
    }
    event.start_in("gate-1", env.clone());
    run_together(async {
        let desk = Desk::of(&event);
        admits(&desk, &badges[0]).await;
        let state = desk.sync_state().await.unwrap();
        assert!(state.clock.contains("behind"), "{}", state.clock);
        assert!(state.authorities.iter().all(|one| one.age_millis.unwrap() < 30_000));
    });
    event.stop("gate-1");
    // Nothing kept, nothing known.
    std::fs::remove_dir_all(event.folder("gate-1").join("data/mirror")).unwrap();
    let found = inspected(&event, &env, Report::before_start());
    let [Finding { found: Found::NotNow, detail, .. }] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!(detail.contains("not valid yet") && detail.contains("clock"), "{detail}");
}

/// By its clock every certificate has ended, and by the witnesses' time none has.
#[test]
fn a_gate_with_a_clock_far_ahead_believes_certificates_that_hold() {
    let (mut event, badges, clock) = with_own_clock("gate-1");
    run_together(async {
        admits(&Desk::of(&event), &badges[0]).await;
        // It must have seen for a while that what comes is new.
        seconds(7).await;
    });
    clock.set_wrong_by(500 * DAY);
    event.stop("sponsor");
    event.start("sponsor");
    run_together(async {
        // Over new connections, of people and to the upstream.
        let desk = Desk::of(&event);
        let before = desk.sync_state().await.unwrap();
        assert!(before.clock.contains("ahead of the witnesses'"), "{}", before.clock);
        let checked = desk.check(&badges[0], MAIN).await.unwrap();
        assert_eq!((checked.verdict, checked.reason), ("UNDETERMINED", "CLOCK"));
        eventually("the gate goes on following", async || {
            let state = desk.sync_state().await.ok()?;
            let grown = |(now, then): (&AuthorityState, &AuthorityState)| {
                now.quorum_size >= then.quorum_size + 3
            };
            state.authorities.iter().zip(&before.authorities).all(grown).then_some(())
        })
        .await;
        clock.set_wrong_by(0);
        admits(&desk, &badges[0]).await;
        assert_eq!(desk.sync_state().await.unwrap().clock, "");
    });
}

/// A gate that never knew the time finds all that it is sent ahead of its clock.
#[test]
fn a_new_gate_with_a_clock_behind_admits_nobody_and_says_so() {
    let (mut event, badges, clock) = with_own_clock("gate-1");
    event.stop("gate-1");
    std::fs::remove_dir_all(event.folder("gate-1").join("data/mirror")).unwrap();
    clock.set_wrong_by(-2 * HOUR);
    event.start_in("gate-1", Env::for_test(clock.clone()));
    run_together(async {
        let desk = Desk::of(&event);
        eventually("the clock is found out", async || {
            let state = desk.sync_state().await.ok()?;
            state.clock.contains("behind the witnesses': set it right").then_some(())
        })
        .await;
        let checked = desk.check(&badges[0], MAIN).await.unwrap();
        assert_eq!((checked.verdict, checked.reason), ("UNDETERMINED", "CLOCK"));
        clock.set_wrong_by(0);
        admits(&desk, &badges[0]).await;
        assert_eq!(desk.sync_state().await.unwrap().clock, "");
    });
}

#[test]
fn an_authority_or_a_witness_with_a_wrong_clock_stops_no_gate() {
    let (mut event, badges, clock) = with_own_clock("police");
    run_together(async {
        let desk = Desk::of(&event);
        admits(&desk, &badges[0]).await;
        seconds(7).await;
        for wrong_by in [2 * HOUR, 50 * HOUR, -2 * HOUR] {
            clock.set_wrong_by(wrong_by);
            let before = desk.sync_state().await.unwrap().authorities[1].quorum_size;
            let after = eventually("the police's log grows at the gate", async || {
                let state = desk.sync_state().await.ok()?;
                (state.authorities[1].quorum_size >= before + 4).then_some(state)
            });
            println!("police wrong by {wrong_by} ms");
            let after = after.await;
            assert_eq!(after.authorities[1].epoch, after.authorities[0].epoch, "{wrong_by}");
            assert!(after.authorities[1].age_millis.unwrap() < 10_000, "{wrong_by}: {after:?}");
            assert_eq!(after.clock, "");
            admits(&desk, &badges[0]).await;
        }
        clock.set_wrong_by(0);
    });
    event.stop("trustee");
    let witness = SkewedClock::default();
    event.start_in("trustee", Env::for_test(witness.clone()));
    run_together(async {
        let desk = Desk::of(&event);
        for wrong_by in [30 * HOUR, -30 * HOUR] {
            witness.set_wrong_by(wrong_by);
            let before = desk.sync_state().await.unwrap().authorities[0].quorum_size;
            eventually("the other witnesses are enough", async || {
                let state = desk.sync_state().await.ok()?;
                (state.authorities[0].quorum_size >= before + 3).then_some(())
            })
            .await;
            admits(&desk, &badges[0]).await;
        }
    });
}
