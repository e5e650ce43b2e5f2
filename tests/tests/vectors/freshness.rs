use lanyard_core::checkpoint::verify_checkpoint;
use lanyard_core::cosignature::verify_cosignatures;
use lanyard_core::freshness::{ClockFloor, Freshness};
use lanyard_core::note::{Note, VerifyingKey};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, run, with};
use crate::world::Published;

pub(crate) const FILE: FileOf = FileOf {
    description: "Freshness: the older of the authority's own time and the quorum's, the q-th newest cosignature; times ahead of the clock by \
        more than the skew are not believed. And the floor that keeps a clock from running behind the highest quorum time seen. Times in \
        milliseconds; cosignatures carry seconds.",
    shared: || Value::Null,
    cases,
    run: operate,
};

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    match operation {
        "assess" => {
            let key = run(VerifyingKey::parse(input.text("log_key")))?;
            let checkpoint = run(verify_checkpoint(&run(Note::parse(input.text("checkpoint")))?, &key))?;
            let keys = input.texts("witness_keys").into_iter();
            let keys = keys.map(|key| run(VerifyingKey::parse(key))).collect::<Result<Vec<_>, _>>()?;
            let cosignatures = run(verify_cosignatures(&checkpoint, &keys))?;
            let assessed = Freshness::assess(
                input.time("leaf_time"),
                &cosignatures,
                input.u8("quorum"),
                input.time("now"),
                input.u32("skew"),
            );
            let freshness = run(assessed)?;
            Ok(json!({ "time": freshness.time().millis(), "quorum_time": freshness.quorum_time().millis() }))
        }
        "clock" => {
            let mut floor = ClockFloor::new(input.time("highest"));
            floor.observe(input.time("quorum_time"));
            Ok(json!({ "highest": floor.highest().millis(), "now": floor.now(input.time("wall")).millis() }))
        }
        other => panic!("no operation {other}"),
    }
}

fn cases(cases: &mut Cases) {
    let published = Published::new();
    let world = &published.world;
    let witness_keys: Vec<_> = world.witnesses.iter().map(|key| key.verifying_key().to_string()).collect();
    let cosigned = |by: &[(usize, u64)]| world.checkpoint(&published.log, by).note().to_string();
    let good = json!({
        "log_key": world.logs[0].verifying_key().to_string(), "witness_keys": witness_keys, "quorum": 2, "skew": 5_000,
        "checkpoint": cosigned(&[(0, 100), (2, 102)]), "leaf_time": 99_500, "now": 103_000,
    });
    for (name, description, change) in [
        ("leaf-older", "The authority's time is the older", json!({})),
        ("quorum-older", "The quorum's is the older", json!({ "leaf_time": 101_000 })),
        ("leaf-ahead-within-skew", "Clocks may differ a little", json!({ "leaf_time": 108_000 })),
        ("lying-witness", "One far ahead is left out, two others remain", json!({ "checkpoint": cosigned(&[(0, 100), (2, 101), (3, 9_999)]) })),
        ("long-ago", "Old knowledge has its age", json!({ "now": 500_000_000 })),
    ] {
        cases.good(&format!("freshness-{name}"), description, "assess", with(&good, change));
    }
    for (name, description, change, kind) in [
        ("leaf-ahead", "One millisecond beyond the skew", json!({ "leaf_time": 108_001 }), "ahead-of-clock"),
        ("quorum-ahead", "The quorum itself is ahead: the clock here is wrong", json!({ "leaf_time": 90_000, "now": 90_000 }), "ahead-of-clock"),
        ("one-witness", "One is not enough", json!({ "checkpoint": cosigned(&[(0, 100)]) }), "no-quorum"),
        ("no-quorum-but-for-liar", "One honest, one far ahead", json!({ "checkpoint": cosigned(&[(0, 100), (2, 9_999)]) }), "ahead-of-clock"),
    ] {
        cases.bad(&format!("freshness-refuses-{name}"), description, "assess", with(&good, change), kind);
    }
    for (name, description, highest, quorum_time, wall) in [
        ("ahead-of-floor", "The clock is used as it is", 100, 200, 300),
        ("set-back", "The clock was set back: the floor counts", 100, 200, 50),
        ("floor-never-falls", "An older quorum changes nothing", 200, 100, 50),
    ] {
        let input = json!({ "highest": highest, "quorum_time": quorum_time, "wall": wall });
        cases.good(&format!("clock-{name}"), description, "clock", input);
    }
}
