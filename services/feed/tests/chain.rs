//! Authority to mirror to mirror to gate: what is seen when, and what a restart leaves.
#![allow(clippy::disallowed_methods)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use lanyard_core::checkpoint::verify_checkpoint;
use lanyard_core::head::{MapHead, verify_head};
use lanyard_core::ids::{Audience, Epoch};
use lanyard_core::log::{ConsistencyProof, InclusionProof, verify_consistency};
use lanyard_core::map::{Delta, Prefix, PrefixProof, RecordHash};
use lanyard_core::note::Note;
use lanyard_feed::{Content, DirectoryDraft, Lookup, Mirror, held_by};
use lanyard_wire::feed::v1::feed_service_server::FeedService as _;
use lanyard_wire::feed::v1::{DirectoryId, LookupRequest};
use tonic::Request;

#[tokio::test]
async fn directories_keys_and_profiles_reach_a_gate_through_blind_mirrors() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(500);
    committee.settled(put(&[3], 2));
    let (sponsor, police) = (world.mirror("sponsor"), world.mirror("police"));
    let gate = world.gate("gate");
    pull(&committee.mirror, &sponsor).await;
    pull(&sponsor, &police).await;
    pull(&police, &gate).await;
    assert_eq!(versions(&gate, 3), (Some(2), Some(2)));
    assert_eq!(versions(&gate, 4), (Some(1), Some(1)));
    assert_eq!(versions(&gate, 9_999), (None, None));
    assert!(!gate.is_incomplete());
    let view = gate.read();
    assert!(view.directory(EPOCH, Audience::Police).is_none(), "a gate holds its own audience");
    let directory = view.directory(EPOCH, Audience::Gate).unwrap();
    let key = directory.audience_key().unwrap();
    assert!(*key == committee.audience_key(gate_key()));
    assert_eq!(**directory.profiles_signed().unwrap(), table("Athlete"));
    assert_eq!(**directory.profiles_quorum().unwrap(), table("Athlete"));
    assert_eq!(view.freshness(), view.quorum().map(|quorum| quorum.freshness().time()));
    assert!(view.freshness().unwrap() >= world.env.now().minus_millis(1_000));
    let blind = sponsor.read();
    assert!(blind.directory(EPOCH, Audience::Gate).unwrap().audience_key().is_none());
}

#[tokio::test]
async fn a_stop_is_seen_when_signed_and_what_it_replaced_until_the_quorum() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(300);
    committee.settled(put(&[1], 2));
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    let freshness = gate.read().freshness();
    let signed = committee.tick(put(&[1, 2], 3));
    let delta = Delta::new(vec![handle(5)], vec![row(1_000, 1)]).unwrap();
    let last = committee.tick(Content::Delta(delta));
    pull(&committee.mirror, &gate).await;
    assert_eq!(versions(&gate, 1), (Some(3), Some(2)));
    assert_eq!(versions(&gate, 2), (Some(3), Some(1)));
    assert_eq!(versions(&gate, 5), (None, Some(1)));
    assert_eq!(versions(&gate, 1_000), (Some(1), None));
    assert_eq!(gate.read().freshness(), freshness, "ticks alone refresh nothing");
    // The quorum of the tick in between: only its changes count.
    committee.cosign(&signed);
    pull(&committee.mirror, &gate).await;
    assert_eq!(versions(&gate, 1), (Some(3), Some(3)));
    assert_eq!(versions(&gate, 5), (None, Some(1)));
    committee.cosign(&last);
    pull(&committee.mirror, &gate).await;
    assert_eq!(versions(&gate, 5), (None, None));
    assert_eq!(versions(&gate, 1_000), (Some(1), Some(1)));
    assert!(gate.read().freshness() > freshness);
}

#[tokio::test]
async fn a_witness_hears_whether_the_mirror_beside_it_has_the_tick() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(50);
    let sponsor = world.gate("sponsor");
    pull(&committee.mirror, &sponsor).await;
    let origin = committee.mirror.origin().to_string();
    let holds = held_by([Arc::clone(&sponsor)]);
    assert!(holds(&origin, 1).await);
    committee.tick(put(&[1], 2));
    assert!(!holds(&origin, 2).await, "it is one tick behind, and the tick does not come");
    let (held, ()) = tokio::join!(holds(&origin, 2), pull(&committee.mirror, &sponsor));
    assert!(held, "waited for");
    committee.tick(put(&[1], 3));
    committee.tick(put(&[1], 4));
    assert!(holds(&origin, 4).await, "stuck: its party's witness still counts");
    assert!(holds("lanyard/games-2028/police", 9).await, "not mirrored");
}

#[tokio::test]
async fn cosigning_the_same_size_again_refreshes_nothing() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(50);
    let signed = committee.tick(put(&[1], 2));
    committee.cosign(&signed);
    let freshness = committee.mirror.read().freshness();
    world.clock.advance_millis(60_000);
    committee.cosign(&signed);
    assert_eq!(committee.mirror.read().freshness(), freshness);
    let floor = committee.mirror.read().clock_floor().proven(world.env.elapsed_millis());
    assert!(floor >= world.env.now().minus_millis(1_000), "but time has passed");
}

#[tokio::test]
async fn a_witness_whose_clock_is_behind_makes_nothing_older_than_it_was() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(50);
    let signed = committee.tick(put(&[1], 2));
    committee.cosign(&signed);
    let freshness = committee.mirror.read().freshness();
    world.clock.advance_millis(1_000);
    let now = world.env.now();
    let mut signed = committee.tick(put(&[1], 3));
    let cosign = |place: usize, time| world.witnesses[place].cosign(&signed, time).unwrap();
    let [honest, behind, last] =
        [cosign(0, now), cosign(2, now.minus_millis(90_000)), cosign(3, now)];
    // A quorum, for as long as the third is on its way.
    for (cosignature, is_newer) in [(honest, false), (behind, false), (last, true)] {
        signed.attach(&cosignature).unwrap();
        committee.mirror.cosigned(&signed.note().to_string(), "witness").unwrap();
        let view = committee.mirror.read();
        let expected = if is_newer { Some(now) } else { freshness };
        assert_eq!((view.freshness(), view.size()), (expected, signed.size()));
    }
    assert_eq!(committee.mirror.read().quorum().unwrap().size(), signed.size());
}

#[tokio::test]
async fn a_witness_that_lies_about_time_or_is_alone_makes_no_quorum() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(50);
    let signed = committee.tick(put(&[1], 2));
    let mut cosigned = signed.clone();
    let ahead = world.env.now().plus_millis(3_600_000);
    let honest = world.witnesses[0].cosign(&signed, world.env.now()).unwrap();
    let liar = world.witnesses[2].cosign(&signed, ahead).unwrap();
    cosigned.attach(&honest).unwrap();
    cosigned.attach(&liar).unwrap();
    committee.mirror.cosigned(&cosigned.note().to_string(), "witnesses").unwrap();
    assert!(committee.mirror.read().quorum().is_none());
    // The authority's own witness does not count for its own log.
    let own = world.witnesses[1].cosign(&signed, world.env.now()).unwrap();
    cosigned.attach(&own).unwrap();
    committee.mirror.cosigned(&cosigned.note().to_string(), "witnesses").unwrap();
    assert!(committee.mirror.read().quorum().is_none());
    let other = world.witnesses[3].cosign(&signed, world.env.now()).unwrap();
    cosigned.attach(&other).unwrap();
    committee.mirror.cosigned(&cosigned.note().to_string(), "witnesses").unwrap();
    assert_eq!(committee.mirror.read().quorum().unwrap().size(), signed.size());
    let floor = committee.mirror.read().clock_floor().proven(world.env.elapsed_millis());
    assert!(floor < ahead);
}

#[tokio::test]
async fn the_next_epoch_arrives_early_and_the_past_one_goes() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    // Published ahead, with its keys and table.
    let next = key(2, Audience::Gate);
    let mut directories = committee.unchanged(gate_key(), put(&[1], 2));
    directories.push(committee.directory(next, rows(120)));
    world.clock.advance_millis(TICK);
    let draft = committee.draft(directories);
    let signed = committee.publish(draft);
    committee.seal_keys(next);
    committee.cosign(&signed);
    pull(&committee.mirror, &gate).await;
    let ready = |gate: &Mirror| {
        let view = gate.read();
        let directory = view.directory(Epoch::new(2), Audience::Gate).unwrap();
        let found = matches!(directory.lookup_quorum(&handle(110)), Lookup::Found(_));
        found && directory.audience_key().is_some() && directory.profiles_quorum().is_some()
    };
    assert!(ready(&gate));
    // It begins: the old one stays until a quorum stands behind the new head.
    committee.live = Epoch::new(2);
    world.clock.advance_millis(TICK);
    let draft = DirectoryDraft { key: next, content: put(&[7], 2), profiles: None };
    let draft = committee.draft(vec![draft]);
    let signed = committee.publish(draft);
    pull(&committee.mirror, &gate).await;
    assert_eq!(versions(&gate, 1), (None, Some(2)));
    committee.cosign(&signed);
    pull(&committee.mirror, &gate).await;
    assert!(gate.read().directory(EPOCH, Audience::Gate).is_none());
    assert!(ready(&gate));
    drop(gate);
    // Its keys are gone from the disk, too, and a late mirror starts from what is live.
    let gate = world.gate("gate");
    assert!(ready(&gate));
    let names = world.env.files.list(&world.path("gate/keys")).unwrap();
    assert!(names.iter().all(|name| name.starts_with("2-gate")) && names.len() == 1, "{names:?}");
    let late = world.gate("late");
    pull(&gate, &late).await;
    assert!(ready(&late));
}

#[tokio::test]
async fn keys_of_an_epoch_that_ended_are_deleted_even_offline() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(20);
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    drop(gate);
    world.clock.advance_millis(26 * 3_600 * 1_000);
    let gate = world.gate("gate");
    let view = gate.read();
    assert!(view.directory(EPOCH, Audience::Gate).unwrap().audience_key().is_none());
    assert!(world.env.files.list(&world.path("gate/keys")).unwrap().is_empty());
}

#[tokio::test]
async fn a_changed_profile_table_is_seen_signed_first_and_with_a_quorum_later() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(20);
    committee.settled(put(&[1], 2));
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    world.clock.advance_millis(TICK);
    let mut directories = committee.unchanged(gate_key(), Content::Unchanged);
    for directory in directories.iter_mut().filter(|one| one.key == gate_key()) {
        directory.profiles = Some(committee.sealed_table(gate_key(), "Media"));
    }
    let draft = committee.draft(directories);
    let signed = committee.publish(draft);
    pull(&committee.mirror, &gate).await;
    let seen = |gate: &Mirror| {
        let view = gate.read();
        let directory = view.directory(EPOCH, Audience::Gate).unwrap();
        (
            *directory.profiles_signed().unwrap().as_ref() == table("Media"),
            *directory.profiles_quorum().unwrap().as_ref() == table("Media"),
        )
    };
    assert_eq!(seen(&gate), (true, false));
    committee.cosign(&signed);
    pull(&committee.mirror, &gate).await;
    assert_eq!(seen(&gate), (true, true));
}

#[tokio::test]
async fn a_newer_manifest_travels_ahead_of_the_heads_that_name_it() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(20);
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    let note = world.next_manifest();
    let update = lanyard_wire::feed::v1::ManifestUpdate { note };
    let response = lanyard_wire::feed::v1::FollowResponse {
        update: Some(lanyard_wire::feed::v1::follow_response::Update::Manifest(update)),
    };
    apply(&committee.mirror, vec![response]).unwrap();
    let request = gate.follow_request();
    assert_eq!(request.manifest_version, 1);
    pull(&committee.mirror, &gate).await;
    assert_eq!(gate.follow_request().manifest_version, 2);
}

#[tokio::test]
async fn lookups_and_proofs_convince_a_stranger() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(1_000);
    committee.settled(put(&[3], 2));
    let known = committee.mirror.read().log().clone();
    committee.settled(put(&[4], 2));
    let sponsor = world.mirror("sponsor");
    pull(&committee.mirror, &sponsor).await;
    let prefix = Prefix::of(&handle(3), 7);
    let request = LookupRequest {
        origin: sponsor.origin().as_str().to_owned(),
        directory: Some(DirectoryId::of(EPOCH, Audience::Gate)),
        prefix: prefix.top().to_be_bytes()[..1].to_vec(),
        prefix_bits: 7,
        known_size: known.size(),
    };
    let found = server(&sponsor).lookup(Request::new(request.clone())).await.unwrap().into_inner();
    let note = Note::parse(&found.checkpoint).unwrap();
    let checkpoint = verify_checkpoint(&note, world.log_key.verifying_key()).unwrap();
    let hashes = |bytes: &[Vec<u8>]| {
        let hash = |bytes: &Vec<u8>| lanyard_core::ids::Hash::new(bytes[..].try_into().unwrap());
        bytes.iter().map(hash).collect::<Vec<_>>()
    };
    let inclusion = InclusionProof::new(hashes(&found.inclusion)).unwrap();
    let head = verify_head(sponsor.origin(), &checkpoint, &found.head, &inclusion).unwrap();
    let consistency = ConsistencyProof::new(hashes(&found.consistency)).unwrap();
    let (old, root) = (known.size(), known.root());
    verify_consistency(old, &root, head.size, &checkpoint.root(), &consistency).unwrap();
    let commitment = head.directory(EPOCH, Audience::Gate).unwrap().commitment;
    let rows = PrefixProof::from_bytes(&found.proof).unwrap().verify(&commitment, prefix).unwrap();
    let expected = (0..1_000).filter(|number| prefix.contains(&handle(*number))).count();
    assert_eq!(rows.len(), expected);
    assert!(rows.iter().any(|row| row.handle == handle(3) && row.record.version() == 2));

    let proven = sponsor.prove(gate_key(), &handle(4), Duration::ZERO).await.unwrap();
    let head = MapHead::from_bytes(&proven.head).unwrap();
    let commitment = head.directory(EPOCH, Audience::Gate).unwrap().commitment;
    let hash = proven.map_proof.verify(&commitment, &handle(4)).unwrap();
    assert_eq!(hash, proven.record.as_ref().map(RecordHash::of));
    assert_eq!(proven.record.unwrap().version(), 2);

    // Not before the quorum; and nothing that was not asked for rightly.
    let signed = committee.tick(put(&[4], 3));
    pull(&committee.mirror, &sponsor).await;
    let refused = sponsor.prove(gate_key(), &handle(4), Duration::ZERO).await;
    assert!(matches!(refused, Err(lanyard_feed::FeedError::NotProvable { .. })), "{refused:?}");
    let changed = handle(4);
    let waiting = sponsor.prove(gate_key(), &changed, Duration::from_secs(10));
    let note = committee.cosigned(&signed).note().to_string();
    let arrives = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        sponsor.cosigned(&note, "upstream").unwrap();
    };
    let (proven, ()) = tokio::join!(waiting, arrives);
    assert_eq!(proven.unwrap().record.unwrap().version(), 3);
    for (bits, prefix, code) in [
        (65, vec![0; 8], tonic::Code::InvalidArgument),
        (7, vec![0; 2], tonic::Code::InvalidArgument),
        (7, vec![1], tonic::Code::InvalidArgument),
    ] {
        let request = LookupRequest { prefix_bits: bits, prefix, ..request.clone() };
        let refused = server(&sponsor).lookup(Request::new(request)).await.unwrap_err();
        assert_eq!(refused.code(), code);
    }
    let ahead = LookupRequest { known_size: 99, ..request };
    let refused = server(&sponsor).lookup(Request::new(ahead)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
}

#[tokio::test]
async fn a_prefix_that_is_too_short_is_refused() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(5_000);
    committee.settled(put(&[3], 2));
    let request = LookupRequest {
        origin: committee.mirror.origin().as_str().to_owned(),
        directory: Some(DirectoryId::of(EPOCH, Audience::Gate)),
        ..LookupRequest::default()
    };
    let refused = server(&committee.mirror).lookup(Request::new(request)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange);
}

#[tokio::test]
async fn a_long_stall_of_the_witnesses_costs_bounded_memory_and_heals() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(200);
    committee.settled(put(&[1], 2));
    for version in 3..400 {
        committee.tick(put(&[1, 2 + version % 190], version));
    }
    assert_eq!(versions(&committee.mirror, 1).1, Some(2), "the quorum's state is still there");
    let view = committee.mirror.read();
    assert!(view.memory_bytes() < 4 * 200 * 68 + 200 * 64 * 3 * 8, "{}", view.memory_bytes());
    drop(view);
    committee.settled(put(&[1], 400));
    assert_eq!(versions(&committee.mirror, 1), (Some(400), Some(400)));
}

#[tokio::test]
async fn a_start_with_a_clock_set_back_goes_on_from_the_time_that_was_kept() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(50);
    let signed = committee.tick(put(&[1], 2));
    committee.cosign(&signed);
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    let last = world.env.now();
    // An hour without network, during which the clock is set back by a day.
    world.clock.advance_millis(3_600_000);
    world.clock.set(last.minus_millis(86_400_000));
    gate.keep_time().unwrap();
    let before = gate.now();
    assert!(before >= last.plus_millis(3_590_000), "{before:?}");
    drop(gate);
    let gate = world.gate("gate");
    assert!(gate.now() >= before, "time went back over a restart");
    assert!(gate.clock_error().is_some());
}

/// A new base makes a new snapshot of a directory; the ticks before it stay, and need the one that they brought.
#[tokio::test]
async fn a_follower_from_before_a_directory_gets_it_also_after_a_new_base() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    committee.settled(put(&[1], 2));
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    let next = key(2, Audience::Gate);
    let mut directories = committee.unchanged(gate_key(), put(&[1], 3));
    directories.push(committee.directory(next, rows(120)));
    world.clock.advance_millis(TICK);
    let draft = committee.draft(directories);
    let signed = committee.publish(draft);
    committee.seal_keys(next);
    committee.cosign(&signed);
    committee.live = Epoch::new(2);
    world.clock.advance_millis(TICK);
    let draft = DirectoryDraft { key: next, content: put(&[7], 2), profiles: None };
    let draft = committee.draft(vec![draft]);
    let signed = committee.publish(draft);
    committee.cosign(&signed);
    pull(&committee.mirror, &gate).await;
    assert!(gate.read().directory(Epoch::new(2), Audience::Gate).is_some());
}
