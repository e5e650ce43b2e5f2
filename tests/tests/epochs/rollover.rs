//! Epochs that end and begin while people are checked.

use std::time::Duration;

use lanyard_env::Env;
use lanyard_tests::{Desk, Load, WarpClock, run_together};
use lanyard_wire::common::v1::StatusAction;

use crate::{
    MAIN, epochs, epochs_in, epochs_of, minute_epochs, published, reach, refused, seconds,
};

const ROLLOVERS: u32 = 3;
const MINUTE: u64 = 60_000;

/// Milliseconds until the next full minute, when an epoch begins.
fn to_the_minute(env: &Env) -> u64 {
    MINUTE - env.now().millis() % MINUTE
}

/// Lets time pass until three seconds before an epoch ends: by less than makes knowledge old.
async fn shortly_before_the_end(env: &Env, warp: &WarpClock) {
    while to_the_minute(env) < 4_000 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    while to_the_minute(env) > 23_000 {
        warp.pass(20_000);
        seconds(2).await;
    }
    warp.pass(to_the_minute(env).saturating_sub(3_000));
}

/// No check of a badge or of a phone's code fails or is answered on old knowledge, and who is stopped in the last moments of an epoch, or the first of
/// the next, is refused from then on without a gap.
#[test]
fn epochs_roll_over_under_load_and_no_check_notices() {
    let warp = WarpClock::default();
    let env = Env::for_test(warp.clone());
    let (mut event, badges) = published(&minute_epochs(), &env, 8);
    run_together(async {
        let desk = Desk::of(&event);
        let load = Load::on(&badges, MAIN).with_phones(desk.registrar.manifest(), &env);
        let rolled = load.during(&desk.scanner, async {
            for round in 0..ROLLOVERS as usize {
                let (last, first) = (2 * round, 2 * round + 1);
                shortly_before_the_end(&env, &warp).await;
                let before = epochs(&desk).await.unwrap();
                load.stops(last);
                load.stops(first);
                let wait = to_the_minute(&env).saturating_sub(900);
                tokio::time::sleep(Duration::from_millis(wait)).await;
                let reference = format!("P-{last:04}");
                desk.committee_says(StatusAction::Suspend, &reference).await.unwrap();
                tokio::time::sleep(Duration::from_millis(to_the_minute(&env) % MINUTE)).await;
                desk.police_say(StatusAction::Suspend, &badges[first]).await.unwrap();
                refused(&desk, &badges[last]).await;
                refused(&desk, &badges[first]).await;
                reach(&desk, before.map(|epoch| epoch + 1)).await;
                seconds(3).await;
            }
            epochs(&desk).await.unwrap()
        });
        let live = rolled.await;
        println!("{} checks in {ROLLOVERS} rollovers", load.checks());
        assert!(load.checks() > 500, "{} checks are no load", load.checks());

        // What opened the past is gone.
        for (authority, live) in [("committee", live[0]), ("police", live[1])] {
            let own = epochs_of(event.kept(authority, "audience-keys"));
            let at_gate = event.folder("gate-1").join(format!("data/mirror/{authority}/keys"));
            for (holder, of) in [(authority, own), ("gate-1", epochs_in(&at_gate))] {
                assert!(of.contains(&live), "{authority} at {holder}: {of:?}");
                assert!(of.iter().all(|epoch| *epoch >= live), "{authority} at {holder}: {of:?}");
            }
        }
    });
    event.stop_all();
}
