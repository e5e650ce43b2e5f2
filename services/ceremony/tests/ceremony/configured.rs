//! `config.toml` is its operators': what a later step changes in it, and that all else stays as it is.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::path::Path;

use lanyard_ceremony::{
    EventPlan, EventTree, Member, Reconfigured, Step, expel_gate, replace_trustee, withdraw_sponsor,
};
use lanyard_env::{DiskFiles, Env};
use tempfile::TempDir;

use crate::support::{addresses, copy, init, member, sample_plan, seat};

/// As an operator may have it: other addresses, a password, a second database host, comments in every place.
const COMMITTEE: &str = r#"# The committee's, edited.
name = "committee"
listen = "0.0.0.0:7001" # behind the balancer
advertise = "committee-1.internal:7001"
store = "postgres://lanyard:secret@db.internal/lanyard?sslmode=verify-full"
upstreams = [
    "sponsor", # the mirror
    "police",  # directly
]

[peers]
police = "police.internal:7002" # over the tunnel
# Their second site.
sponsor = "mirror.example:7003"
trustee = "trustee.example:7004"

[witnesses]
police = "police"
sponsor = "sponsor"
# In another country.
trustee = "trustee"

[objects]
store = "s3://games/archive"
archive = true
"#;

const POLICE: &str = r#"four_eyes = true
name = "police"
listen = "127.0.0.1:7002"
store = "sqlite://data/police.db"
upstreams = ["sponsor", "committee"]
telemetry = { listen = "10.0.0.2:9101", beyond_loopback = true }
peers = { committee = "127.0.0.1:7001", sponsor = "127.0.0.1:7003", trustee = "127.0.0.1:7004" }
witnesses = { committee = "committee", "sponsor" = "sponsor", trustee = "trustee" }

[audit_stream]
to = "files"
keep_days = 90
"#;

/// It follows the sponsor alone.
const GATE: &str = r#"name = "gate-1"
listen = "10.8.0.11:7005"
upstreams = ["sponsor"] # two would be better
access_points = ["sta-main"]

[peers]
sponsor = "mirror.example:7003"

[receipts]
keep_bodies_days = 7
"#;

fn config(dir: &Path, member: &str) -> String {
    fs::read_to_string(dir.join(member).join("config.toml")).unwrap()
}

/// Whose configuration changed; marked if it has other upstreams.
fn whose(changed: &[Reconfigured]) -> String {
    let name = |one: &Reconfigured| {
        one.member.to_string() + if one.has_other_upstreams { "!" } else { "" }
    };
    changed.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn edit(dir: &Path, configs: &[(&str, &str)]) {
    for (member, text) in configs {
        fs::write(dir.join(member).join("config.toml"), text).unwrap();
    }
}

fn edited() -> TempDir {
    let dir = copy();
    edit(dir.path(), &[("committee", COMMITTEE), ("police", POLICE), ("gate-1", GATE)]);
    dir
}

#[test]
fn without_the_sponsor_nothing_else_is_changed() {
    let (dir, env) = (edited(), Env::system());
    let trustee = config(dir.path(), "trustee").replace('\n', "\r\n");
    edit(dir.path(), &[("trustee", &trustee)]);
    let changed = withdraw_sponsor(&env, dir.path()).unwrap();
    assert_eq!(whose(&changed), "committee police gate-1!");

    let expected = COMMITTEE
        .replace("    \"sponsor\", # the mirror\n", "")
        .replace("# Their second site.\nsponsor = \"mirror.example:7003\"\n", "")
        .replace("sponsor = \"sponsor\"\n", "");
    // The comment of what stood first in the list goes with what follows it.
    let found = config(dir.path(), "committee").replace(" # the mirror\n", "\n");
    assert_eq!(found.replace("[\n\n", "[\n"), expected);
    let expected = POLICE
        .replace("[\"sponsor\", ", "[")
        .replace(" sponsor = \"127.0.0.1:7003\",", "")
        .replace(" \"sponsor\" = \"sponsor\",", "");
    assert_eq!(config(dir.path(), "police"), expected);
    let expected = GATE.replace("[\"sponsor\"]", "[\"committee\", \"police\"]").replace(
        "sponsor = \"mirror.example:7003\"\n",
        "committee = \"127.0.0.1:7001\"\npolice = \"127.0.0.1:7002\"\n",
    );
    assert_eq!(config(dir.path(), "gate-1"), expected);
    assert_eq!(config(dir.path(), "trustee"), trustee);
    assert_eq!(withdraw_sponsor(&env, dir.path()).unwrap(), []);
}

/// The list of a gate in `config.toml` may be another than the plan's: who is left there stays, in that order.
#[test]
fn a_list_that_was_edited_stays_as_far_as_it_can() {
    let (dir, env, mut plan) = (tempfile::tempdir().unwrap(), Env::system(), sample_plan());
    let mut second = plan.gates[0].clone();
    second.name = "gate-2".parse().unwrap();
    second.access_points = Vec::new();
    second.upstreams = vec![Member::Police];
    plan.gates.push(second);
    init(&env, dir.path(), &plan).unwrap();
    let lists = [
        (r#"["sponsor", "police"]"#, r#"["police"]"#),
        (r#"["sponsor", "gate-2"]"#, r#"["gate-2", "committee", "police"]"#),
        ("[]", "[]"),
    ];
    for (list, expected) in lists {
        let gate = GATE.replace("[\"sponsor\"]", list);
        edit(
            dir.path(),
            &[("gate-1", &gate.replace("[peers]", "[peers]\npolice = \"p.example:1\""))],
        );
        // Interrupted before the configurations were changed, and called again.
        withdraw_sponsor(&env, dir.path()).unwrap();
        let found = config(dir.path(), "gate-1");
        assert!(found.contains(&format!("upstreams = {expected} # two")), "{found}");
        assert!(found.contains("police = \"p.example:1\""), "{found}");
        assert!(!found.contains("mirror.example"), "{found}");
        assert_eq!(found.contains("committee = "), expected.contains("committee"), "{found}");
    }
}

/// A chain: the second gate follows the first, the third the second; and two that also follow each other.
fn chained() -> EventPlan {
    let mut plan = sample_plan();
    let gate = |name: &str, upstreams: &[&str]| {
        let mut gate = plan.gates[0].clone();
        gate.name = name.parse().unwrap();
        gate.access_points = Vec::new();
        gate.upstreams = upstreams.iter().map(|name| member(name)).collect();
        gate
    };
    let more = [
        gate("gate-2", &["sponsor", "gate-4", "police"]),
        gate("gate-3", &["gate-2"]),
        gate("gate-4", &["gate-5", "gate-2"]),
        gate("gate-5", &["gate-4"]),
        gate("gate-6", &["sponsor", "gate-2", "police"]),
        gate("gate-7", &["gate-3"]),
    ];
    plan.gates.extend(more);
    plan
}

#[test]
fn whoever_followed_an_expelled_gate_follows_somebody_else() {
    let (dir, env, plan) = (tempfile::tempdir().unwrap(), Env::system(), chained());
    init(&env, dir.path(), &plan).unwrap();
    let third = "# Behind a thin line.\n".to_owned() + &config(dir.path(), "gate-3");
    edit(dir.path(), &[("gate-3", &third)]);
    let before = config(dir.path(), "gate-7");

    let stolen = "gate-2".parse().unwrap();
    let (tree, changed) = expel_gate(&env, dir.path(), &stolen, env.now()).unwrap();
    assert_eq!(whose(&changed), "gate-3! gate-4! gate-6");
    assert!(!tree.services.contains_key(&member("gate-2")));
    let plan = EventTree::plan(&DiskFiles::new(), dir.path()).unwrap();
    plan.check().unwrap();
    let expected = [
        ("gate-3", r#"["sponsor", "gate-4", "police"]"#),
        ("gate-4", r#"["gate-5", "sponsor", "police"]"#),
        ("gate-5", r#"["gate-4"]"#),
        ("gate-6", r#"["sponsor", "police"]"#),
        ("gate-7", r#"["gate-3"]"#),
    ];
    for (name, upstreams) in expected {
        let gate = plan.gate(&name.parse().unwrap()).unwrap();
        let planned: Vec<_> = gate.upstreams.iter().map(Member::name).collect();
        assert_eq!(format!("{planned:?}"), upstreams, "{name}");
        let found = config(dir.path(), name);
        assert!(found.contains(&format!("upstreams = {upstreams}\n")), "{name}: {found}");
        assert!(!found.contains("gate-2"), "{name}: {found}");
        for upstream in gate.upstreams.iter().map(|one| format!("\n{one} = \"127.0.0.1:")) {
            assert!(found.contains(&upstream), "{name} has no address: {found}");
        }
    }
    assert!(config(dir.path(), "gate-3").starts_with("# Behind a thin line.\n"));
    assert_eq!(config(dir.path(), "gate-7"), before);
    assert_eq!(expel_gate(&env, dir.path(), &stolen, env.now()).unwrap(), (tree, Vec::new()));
}

#[test]
fn write_config_sets_what_it_is_told_and_keeps_the_rest() {
    let dir = edited();
    let mut plan = sample_plan();
    plan.gates[0].upstreams = vec![Member::Sponsor, Member::Police];
    plan.witnesses = vec![Member::Trustee, Member::Police];
    let addresses = addresses(&plan);
    let write = |name: &str| seat(dir.path(), name).write_config(&plan, &addresses).unwrap();
    for name in ["committee", "gate-1"] {
        assert_eq!((write(name), write(name)), (Step::Done, Step::AlreadyDone));
    }
    let expected = COMMITTEE
        .replace("0.0.0.0:7001", "127.0.0.1:7001")
        .replace("police.internal", "127.0.0.1")
        .replace("mirror.example", "127.0.0.1")
        .replace("trustee.example", "127.0.0.1")
        .replace("sponsor = \"sponsor\"\n", "");
    assert_eq!(config(dir.path(), "committee"), expected);
    let expected = GATE
        .replace("10.8.0.11:7005", "127.0.0.1:7005")
        .replace("[\"sponsor\"]", "[\"sponsor\", \"police\"]")
        .replace("mirror.example:7003\"\n", "127.0.0.1:7003\"\npolice = \"127.0.0.1:7002\"\n");
    let points = plan.gates[0].access_points.join("\", \"");
    assert_eq!(config(dir.path(), "gate-1"), expected.replace("sta-main", &points));

    // Where it is malformed is said, and what stands there is not.
    edit(dir.path(), &[("committee", "store = \"postgres://u:hunter2@db/x\nname = 1\n")]);
    let error = seat(dir.path(), "committee").write_config(&plan, &addresses).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("config.toml:1:") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_new_trustee_is_configured_as_the_old_one_was() {
    let (dir, env) = (copy(), Env::system());
    let edited = "# Ours.\n".to_owned()
        + &config(dir.path(), "trustee").replace("listen", "telemetry = \"127.0.0.1:9\"\nlisten");
    edit(dir.path(), &[("trustee", &edited)]);
    let (aside, _) = replace_trustee(&env, dir.path()).unwrap();
    assert_eq!(config(dir.path(), "trustee"), edited);
    assert_eq!(fs::read_to_string(aside.join("config.toml")).unwrap(), edited);
}
