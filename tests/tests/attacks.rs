//! Attacks of parties that hold a lot: a whole folder of theirs, or an old copy of it.

#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use lanyard_authority::{Station, StationConfig};
use lanyard_core::audience_key::AudienceKey;
use lanyard_core::badge::{BadgeSecret, BadgeText};
use lanyard_core::ids::{Audience, Authority, EventId};
use lanyard_feed::{Lookup, Mirror, MirrorConfig, Recipient};
use lanyard_party::{Folder, ManifestStore, PartyConfig};
use lanyard_store::Schema;
use lanyard_tests::{Desk, TestEvent, copy_folder, eventually, run_together};
use lanyard_wire::common::v1::StatusAction;

const MAIN: &str = "sta-main";

/// An event with three people cleared and published; their badges' texts.
fn published() -> (TestEvent, Vec<String>) {
    let event = TestEvent::started();
    let badges = run_together(async {
        let desk = Desk::of(&event);
        desk.publish_people(3).await
    });
    (event, badges)
}

/// How many of these badges' records in the police's directory for gates open with one of these keys.
fn opened(
    police: &Mirror,
    event: &EventId,
    badges: &[BadgeSecret],
    keys: &[&AudienceKey],
) -> usize {
    let view = police.read();
    let head = view.signed().expect("the police have published").head();
    let epoch = head.live_epoch;
    let directory = view.directory(epoch, Audience::Gate).expect("a directory");
    let opens = |badge: &&BadgeSecret| {
        let seed = badge.seed(Authority::Police, Audience::Gate);
        let badge_key = seed.epoch_key(event, epoch);
        let handle = badge_key.handle();
        let Lookup::Found(sealed) = directory.lookup_signed(&handle) else {
            panic!("the directory has the badge")
        };
        keys.iter().any(|key| {
            sealed.open(&badge_key.record_key(key), police.origin(), epoch, &handle).is_ok()
        })
    };
    badges.iter().filter(opens).count()
}

/// Leaves in the committee's store the one step that all stores have.
async fn forget_schema(event: &TestEvent) {
    let rows = event.rows("committee").await;
    let forgotten = sqlx::query("DELETE FROM schema_version WHERE version > 1");
    forgotten.execute(&rows).await.unwrap();
    rows.close().await;
}

/// The committee issued the badges, so it finds their rows in the police's directory. What they say is sealed under the
/// gates' key, too, which it has not.
#[test]
fn the_committee_reads_no_police_record_with_all_it_holds() {
    let (mut event, texts) = published();
    event.stop("committee");
    event.stop("gate-1");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let env = event.env().clone();
    let config = event.folder("committee").join("config.toml");
    let config = PartyConfig::<StationConfig>::read(&*env.files, &config).unwrap();
    // Keys are what is looked for: the store is taken by a program that knows none of its tables.
    runtime.block_on(forget_schema(&event));
    let schema = Schema::new(&[]);
    let station = Station::open(Authority::Committee, config, env.clone(), &schema);
    let station = runtime.block_on(station).unwrap();
    let manifest = station.manifests().current();
    let parse = |text: &String| BadgeText::parse(text, &manifest.event).unwrap();
    let badges: Vec<_> = texts.iter().map(parse).collect();
    let own = station.own_audience_keys().unwrap();
    let live = station.own().read().signed().unwrap().head().live_epoch;
    let keys: Vec<_> =
        Audience::ALL.into_iter().filter_map(|audience| own.get(live, audience).unwrap()).collect();
    assert_eq!(keys.len(), 3, "the committee has a key for each of its audiences");
    let received = station.other().read();
    let received = received.directory(live, Audience::Gate).and_then(|one| one.audience_key());
    let keys: Vec<_> = keys.iter().chain(received).collect();
    assert_eq!(opened(station.other(), &manifest.event, &badges, &keys), 0);

    // A gate's key is what is missing.
    let folder = Folder::open(event.folder("gate-1"), &env);
    let id = "gate/gate-1".to_owned();
    let gate = MirrorConfig {
        authority: Authority::Police,
        audiences: vec![Audience::Gate],
        recipient: Some(Recipient { id, key: Arc::new(folder.hpke_key().unwrap()) }),
        publisher: false,
    };
    let manifests = Arc::new(ManifestStore::open(&folder).unwrap());
    let dir = folder.data_dir().join("mirror/police");
    let gate = Mirror::open(env, &dir, gate, manifests).unwrap();
    let view = gate.read();
    let key = view.directory(live, Audience::Gate).and_then(|one| one.audience_key()).unwrap();
    assert_eq!(opened(&gate, &manifest.event, &badges, &[key]), badges.len());
}

/// While no mirror can bring what the backup lacks, the one witness that remembers keeps the committee from signing a second
/// history; once a mirror is back, the committee goes on from where it was.
#[test]
fn an_authority_restored_from_an_old_backup_signs_nothing_before_it_caught_up() {
    let (mut event, badges) = published();
    event.stop("committee");
    let backup = tempfile::tempdir().unwrap();
    copy_folder(&event.folder("committee"), &backup.path().join("committee"));
    event.copy_rows("committee", backup.path());
    event.start("committee");
    let before = run_together(async {
        let desk = Desk::of(&event);
        desk.settle().await;
        desk.published().await.unwrap()[0].0
    });

    for name in ["committee", "sponsor", "police"] {
        event.stop(name);
    }
    event.restore("committee", backup.path());
    let held = |event: &TestEvent| {
        let signed = event.folder("committee").join("data/feeds/committee");
        let names = std::fs::read_dir(signed.join("ticks")).unwrap();
        names.map(|entry| entry.unwrap().file_name()).max()
    };
    let restored = held(&event);
    event.start("committee");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(held(&event), restored, "nothing is signed while a witness knows more");

    event.start("sponsor");
    event.start("police");
    run_together(async {
        let desk = Desk::of(&event);
        eventually("the committee goes on from where it was", async || {
            (desk.published().await.ok()?[0].0 > before).then_some(())
        })
        .await;
        desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
        eventually("a stop reaches the gate", async || {
            let checked = desk.check(&badges[1], MAIN).await.ok()?;
            (checked.verdict == "REFER").then_some(())
        })
        .await;
        let state = desk.sync_state().await.unwrap();
        assert!(state.authorities.iter().all(|one| one.evidence.is_empty()), "{state:?}");
    });
}
