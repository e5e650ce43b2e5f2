//! Keys are replaced, with overlap and at once.

use std::sync::Arc;
use std::time::Duration;

use lanyard_ceremony::{
    EventPlan, EventTree, Member, RotatedKey, RotationWait, Seat, Step, add_gates, rotate_key,
};
use lanyard_core::attestation::{
    Attestation, AttestationError, verify_attestation, verify_attestation_given,
};
use lanyard_core::checkpoint::{Checkpoint, CheckpointError};
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::ids::{Authority, Hash};
use lanyard_core::log::ConsistencyProof;
use lanyard_core::manifest::VerifiedManifest;
use lanyard_core::note::SigningKey;
use lanyard_core::witness_request::AddCheckpoint;
use lanyard_env::Env;
use lanyard_feed::newest_checkpoint;
use lanyard_party::{Folder, ManifestStore, expected, trust_anchors};
use lanyard_tests::{Desk, TestEvent, eventually, run_together, sample_plan};
use lanyard_transport::certificates::certificate_key;
use lanyard_transport::policy::ADD_CHECKPOINT;
use lanyard_transport::{Identity, Role, Tls, connect, http1, status};
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;

use crate::world::{MAIN, copy, may_follow, news_flow, published, started};

fn seat(event: &TestEvent, member: &str) -> Seat {
    let exchange = EventTree::exchange(event.dir());
    Seat::open(event.env(), &event.folder(member), &exchange).unwrap()
}

/// Drafts, signs and adopts, as everyone does in their own house.
fn next_manifest(event: &TestEvent, plan: &EventPlan) -> Arc<VerifiedManifest> {
    let tree = EventTree::read(&*event.env().files, event.dir()).unwrap();
    add_gates(event.env(), event.dir(), plan, &tree.services).unwrap();
    newest(event, "committee")
}

fn newest(event: &TestEvent, member: &str) -> Arc<VerifiedManifest> {
    let folder = Folder::open(event.folder(member), event.env());
    ManifestStore::open(&folder).unwrap().current()
}

/// Waits until the newest checkpoint is signed under the key that replaces the log's.
fn end_when_signed(seat: &Seat) {
    run_together(async {
        eventually("a tick under both keys", async || seat.rotate_end(RotatedKey::Log).ok()).await;
    });
    assert_eq!(seat.rotate_end(RotatedKey::Log).unwrap(), Step::AlreadyDone);
}

async fn attestations(desk: &Desk, badge: &str) -> Vec<Attestation> {
    let request = gate::ExportAttestationsRequest { credential: badge.to_owned() };
    let mut client = desk.gate_operator.gate().unwrap();
    let exported = client.export_attestations(request).await.unwrap().into_inner().attestations;
    exported.iter().map(|bytes| Attestation::from_bytes(bytes).unwrap()).collect()
}

/// What the trustee's witness answers the committee to a checkpoint.
async fn ask_witness(event: &TestEvent, checkpoint: String) -> u16 {
    let folder = Folder::open(event.folder("committee"), event.env());
    let manifest = newest(event, "committee");
    let identity = folder.service_identity().unwrap();
    let tls = Tls::new(event.env(), identity, trust_anchors(&manifest).unwrap());
    let address = event.address("trustee").to_string();
    let expected = expected("trustee").unwrap();
    let answer = http1::post(event.env(), &tls, &address, &expected, ADD_CHECKPOINT, checkpoint);
    answer.await.unwrap().status
}

/// A fork, signed with a key that leaked, as its holder would have it cosigned: it starts where the witness stands.
fn forked(event: &TestEvent, key: &SigningKey) -> String {
    let feed = event.folder("committee").join("data/feeds/committee");
    let newest = newest_checkpoint(&event.env().files, &feed, Authority::Committee).unwrap();
    let newest = Checkpoint::parse(newest.unwrap().text()).unwrap();
    let origin = self::newest(event, "committee").origin(Authority::Committee);
    let fork = Checkpoint::new(&origin, newest.size() + 1_000, Hash::new([6; 32]));
    let note = fork.sign(key).unwrap().note().clone();
    AddCheckpoint { old: 0, proof: ConsistencyProof::default(), note }.to_text()
}

#[test]
fn a_log_key_is_replaced_with_overlap_and_a_leaked_one_at_once() {
    let plan = sample_plan();
    let mut event = started(&plan, Env::system());
    let (badges, before) = run_together(async {
        let desk = Desk::of(&event);
        let badges = published(&desk).await;
        let before = attestations(&desk, &badges[0]).await;
        (badges, before)
    });
    let first = newest(&event, "committee");
    let committee = seat(&event, "committee");
    let old = committee.folder().log_key().unwrap();

    // With overlap: a manifest in which both count.
    assert!(committee.rotate_end(RotatedKey::Log).is_err(), "nothing was begun");
    assert_eq!(committee.rotate_begin(RotatedKey::Log).unwrap(), Step::Done);
    assert_eq!(committee.rotate_begin(RotatedKey::Log).unwrap(), Step::AlreadyDone);
    let overlap = next_manifest(&event, &plan);
    let origin = overlap.origin(Authority::Committee);
    assert_eq!(overlap.log_key(Authority::Committee).name().as_str(), origin.as_str());
    assert!(overlap.log_key(Authority::Committee) != first.log_key(Authority::Committee));
    assert!(committee.rotate_finish(RotatedKey::Log).is_err(), "the old one still counts");
    run_together(async {
        let desk = Desk::of(&event);
        news_flow(&desk, &badges[1], "P-0001").await;
        // A verifier that has the manifest of before, and one that has the newest.
        eventually("both verify", async || {
            let feed = event.folder("committee").join("data/feeds/committee");
            let files = &event.env().files;
            let note = newest_checkpoint(files, &feed, Authority::Committee).ok()??;
            let both = [&first, &overlap].map(|one| one.log_keys(Authority::Committee));
            both.iter().all(|keys| keys.verify(&note).is_ok()).then_some(())
        })
        .await;
    });

    // The old one ends. Its holder, a thief by now, signs a fork: witnesses refuse it.
    end_when_signed(&committee);
    let ended = next_manifest(&event, &plan);
    let fork = forked(&event, &old);
    run_together(async {
        eventually("the witness has the manifest", async || {
            (ask_witness(&event, fork.clone()).await == 403).then_some(())
        })
        .await;
    });
    assert_eq!(committee.rotate_finish(RotatedKey::Log).unwrap(), Step::Done);
    assert_eq!(committee.rotate_finish(RotatedKey::Log).unwrap(), Step::AlreadyDone);
    run_together(async { news_flow(&Desk::of(&event), &badges[1], "P-0001").await });

    // What was signed before stays provable; what is signed under the old key now is not, whatever manifest it names.
    for attestation in &before {
        verify_attestation_given(attestation, &first, &ended).unwrap();
    }
    let note = Checkpoint::new(&origin, 1_000_000, Hash::new([6; 32])).sign(&old).unwrap();
    let verify = |keys: lanyard_core::manifest::LogKeys| keys.verify(note.note()).map(drop);
    verify(first.log_keys(Authority::Committee)).unwrap();
    let refused = verify(first.log_keys_given(Authority::Committee, &ended));
    assert!(matches!(refused, Err(CheckpointError::Retired { .. })), "{refused:?}");

    // Everyone starts again from folders that hold checkpoints of before, under the newest manifest alone.
    event.stop_all();
    event.start_all();
    run_together(async {
        let desk = Desk::of(&event);
        news_flow(&desk, &badges[1], "P-0001").await;
        for attestation in attestations(&desk, &badges[0]).await {
            let manifest = newest(&event, "committee");
            verify_attestation(&attestation, &manifest).unwrap();
            let other = verify_attestation(&attestation, &first);
            assert!(matches!(other, Err(AttestationError::OtherManifest { .. })));
        }
    });

    // At once: both steps before one manifest.
    let leaked = seat(&event, "police").folder().log_key().unwrap();
    rotate(&event, Member::Police, RotatedKey::Log, None);
    let at_once = newest(&event, "committee");
    assert_eq!(at_once.version, ended.version + 1);
    assert!(at_once.end_of(leaked.verifying_key()).is_some());
    run_together(async { news_flow(&Desk::of(&event), &badges[1], "P-0001").await });
}

/// As one command does it where all folders stand in one directory; what it waited for.
fn rotate(
    event: &TestEvent,
    member: Member,
    key: RotatedKey,
    overlap: Option<Duration>,
) -> Vec<RotationWait> {
    let mut waits = Vec::new();
    rotate_key(event.env(), event.dir(), &member, key, overlap, |what, duration| {
        waits.push(what);
        std::thread::sleep(duration);
    })
    .unwrap();
    waits
}

#[test]
fn one_command_replaces_a_key_with_overlap_or_at_once() {
    let mut event = started(&sample_plan(), Env::system());
    let badges = run_together(async { published(&Desk::of(&event)).await });
    let flows = |event: &TestEvent| run_together(news_flow(&Desk::of(event), &badges[1], "P-0001"));
    let overlap = Some(Duration::from_secs(5));
    let key_of = |event: &TestEvent| seat(event, "committee").folder().log_key().unwrap();

    // Planned: in the overlap a tick is signed under both, and nobody need wait for it.
    let old = key_of(&event);
    assert_eq!(
        rotate(&event, Member::Committee, RotatedKey::Log, overlap),
        [RotationWait::Overlap]
    );
    let manifest = newest(&event, "police");
    assert_eq!(manifest.version, 3);
    assert!(manifest.end_of(old.verifying_key()).is_some());
    assert!(key_of(&event).verifying_key() == manifest.log_key(Authority::Committee));
    flows(&event);

    // Interrupted in the wait, and gone on with: the same key, not a third one.
    let trustee = seat(&event, "trustee");
    trustee.rotate_begin(RotatedKey::Witness).unwrap();
    let plan = sample_plan();
    let begun = next_manifest(&event, &plan);
    assert_eq!(rotate(&event, Member::Trustee, RotatedKey::Witness, None), []);
    let manifest = newest(&event, "police");
    assert_eq!(manifest.version, begun.version + 1);
    let key = |manifest: &VerifiedManifest| manifest.witness("trustee").unwrap().key.clone();
    assert!(key(&manifest) == key(&begun));

    // The manifest that names the next key of manifests ends the one before.
    assert_eq!(rotate(&event, Member::Police, RotatedKey::Manifest, overlap), []);
    assert_eq!(newest(&event, "police").version, manifest.version + 1);

    // A gate that runs would sign on under the old key.
    let gate: Member = "gate-1".parse().unwrap();
    let refused =
        rotate_key(event.env(), event.dir(), &gate, RotatedKey::Receipts, None, |_, _| {
            panic!("there is nothing to wait for")
        });
    assert!(refused.unwrap_err().to_string().contains("stop that one first"));
    event.stop("gate-1");
    assert_eq!(rotate(&event, gate, RotatedKey::Receipts, overlap), []);
    event.start("gate-1");
    flows(&event);

    // All gates' certificates come from one authority.
    assert_eq!(rotate(&event, Member::GateAuthority, RotatedKey::Ca, None), []);
    event.stop("gate-1");
    event.start("gate-1");
    flows(&event);
}

#[test]
fn a_leaked_key_of_any_kind_ends_at_once() {
    let mut event = started(&sample_plan(), Env::system());
    let badges = run_together(async { published(&Desk::of(&event)).await });
    let flows = |event: &TestEvent| run_together(news_flow(&Desk::of(event), &badges[1], "P-0001"));
    let loot = tempfile::tempdir().unwrap();
    copy(&event.folder("sponsor"), loot.path());
    // One manifest for each key, in which the old one has its end.
    let mut version = newest(&event, "police").version;
    let mut replace = |event: &TestEvent, member: Member, key| {
        assert_eq!(rotate(event, member, key, None), []);
        let manifest = newest(event, "police");
        version += 1;
        assert_eq!(manifest.version, version);
        manifest
    };

    let leaked = seat(&event, "trustee").folder().witness_key().unwrap();
    let first = newest(&event, "police");
    let manifest = replace(&event, Member::Trustee, RotatedKey::Witness);
    let log = seat(&event, "committee").folder().log_key().unwrap();
    let origin = manifest.origin(Authority::Committee);
    let mut checkpoint = Checkpoint::new(&origin, 9, Hash::new([9; 32])).sign(&log).unwrap();
    let later = event.env().now().plus_millis(1_000);
    checkpoint.attach(&leaked.cosign(&checkpoint, later).unwrap()).unwrap();
    let count = |newest: &VerifiedManifest| {
        first.cosignatures_given(Authority::Committee, &checkpoint, newest).unwrap().len()
    };
    assert_eq!([count(&first), count(&manifest)], [1, 0]);
    flows(&event);

    // Of a gate, which is stopped.
    let leaked = seat(&event, "gate-1").folder().receipts_key().unwrap();
    event.stop("gate-1");
    let manifest = replace(&event, "gate-1".parse().unwrap(), RotatedKey::Receipts);
    assert!(manifest.end_of(leaked.verifying_key()).is_some());
    event.start("gate-1");
    flows(&event);

    // The next manifest is signed by the new key alone.
    let manifest = replace(&event, Member::Police, RotatedKey::Manifest);
    let of = |manifest: &VerifiedManifest| manifest.authority(Authority::Police).manifest.clone();
    assert!(of(&manifest) != of(&first));

    // A certificate authority: what it certified before is refused. The service reads its new certificate as it starts.
    assert!(run_together(may_follow(&event, loot.path())));
    replace(&event, Member::Sponsor, RotatedKey::Ca);
    event.stop("sponsor");
    event.start("sponsor");
    run_together(async {
        eventually("the old certificate is refused", async || {
            (!may_follow(&event, loot.path()).await).then_some(())
        })
        .await;
        assert!(may_follow(&event, &event.folder("sponsor")).await);
    });
    flows(&event);
}

#[test]
fn the_other_keys_are_replaced_while_the_event_runs() {
    let plan = sample_plan();
    let mut event = started(&plan, Env::system());
    let badges = run_together(async { published(&Desk::of(&event)).await });
    let first = newest(&event, "committee");

    // Of the other witnesses of the committee's log one is stopped: the trustee's is needed at every step.
    let trustee = seat(&event, "trustee");
    let old = trustee.folder().witness_key().unwrap();
    trustee.rotate_begin(RotatedKey::Witness).unwrap();
    // The manifest key, by which the next one is signed, is announced in the same manifest.
    let police = seat(&event, "police");
    police.rotate_begin(RotatedKey::Manifest).unwrap();
    let receipts = seat(&event, "gate-1");
    receipts.rotate_begin(RotatedKey::Receipts).unwrap();
    event.stop("gate-1");
    event.start("gate-1");
    let overlap = next_manifest(&event, &plan);
    run_together(async { news_flow(&Desk::of(&event), &badges[1], "P-0001").await });
    trustee.rotate_end(RotatedKey::Witness).unwrap();
    receipts.rotate_end(RotatedKey::Receipts).unwrap();
    police.rotate_finish(RotatedKey::Manifest).unwrap();
    let ended = next_manifest(&event, &plan);
    assert_eq!((overlap.version, ended.version), (2, 3));
    trustee.rotate_finish(RotatedKey::Witness).unwrap();
    receipts.rotate_finish(RotatedKey::Receipts).unwrap();
    assert!(ended.end_of(old.verifying_key()).is_some());
    one_witness_counts_once(&event, &old, &first, &overlap, &ended);

    // A party's certificate authority, and a certificate of its that leaked before.
    let sponsor = seat(&event, "sponsor");
    sponsor.rotate_begin(RotatedKey::Ca).unwrap();
    next_manifest(&event, &plan);
    run_together(async { news_flow(&Desk::of(&event), &badges[1], "P-0001").await });
    sponsor.rotate_end(RotatedKey::Ca).unwrap();
    assert_eq!(sponsor.rotate_end(RotatedKey::Ca).unwrap(), Step::AlreadyDone);
    event.stop("sponsor");
    event.start("sponsor");
    next_manifest(&event, &plan);
    run_together(async { news_flow(&Desk::of(&event), &badges[1], "P-0001").await });
    a_certificate_is_revoked(&event, plan);
}

/// Under both keys, a witness is one witness; under the old one after its end, none.
fn one_witness_counts_once(
    event: &TestEvent,
    old: &WitnessKey,
    first: &VerifiedManifest,
    overlap: &VerifiedManifest,
    ended: &VerifiedManifest,
) {
    let log = seat(event, "committee").folder().log_key().unwrap();
    let origin = first.origin(Authority::Committee);
    let mut checkpoint = Checkpoint::new(&origin, 9, Hash::new([9; 32])).sign(&log).unwrap();
    let new = Folder::open(event.folder("trustee"), event.env()).witness_key().unwrap();
    for key in [old, &new] {
        let line = key.cosign(&checkpoint, event.env().now()).unwrap();
        checkpoint.attach(&line).unwrap();
    }
    let count = |manifest: &VerifiedManifest| {
        manifest.cosignatures(Authority::Committee, &checkpoint).unwrap().len()
    };
    assert_eq!([count(first), count(overlap), count(ended)], [1, 1, 1]);
    let mut alone = Checkpoint::new(&origin, 9, Hash::new([9; 32])).sign(&log).unwrap();
    // Cosignatures carry whole seconds.
    let line = old.cosign(&alone, event.env().now().plus_millis(1_000)).unwrap();
    alone.attach(&line).unwrap();
    let count = |manifest: &VerifiedManifest, newest: &VerifiedManifest| {
        manifest.cosignatures_given(Authority::Committee, &alone, newest).unwrap().len()
    };
    assert_eq!(count(first, first), 1);
    assert_eq!([count(first, ended), count(overlap, ended), count(ended, ended)], [0, 0, 0]);
}

/// A scanner's certificate and key leaked. The scanner gets a new one, and the manifest revokes the old.
fn a_certificate_is_revoked(event: &TestEvent, mut plan: EventPlan) {
    let folder = Folder::open(event.folder("gate-1"), event.env());
    let read = |path| std::fs::read(path).unwrap();
    let leaked = read(folder.operator_certificate_path(Role::Scanner, "scanner"));
    let key = read(folder.operator_key_path(Role::Scanner, "scanner"));
    let holder = lanyard_ceremony::Holder::Person(Role::Scanner, "scanner");
    seat(event, "gate-1").renew_certificate(&seat(event, "gate-ca"), holder).unwrap();
    plan.revoked_certificates.push(certificate_key(&leaked).unwrap());
    let manifest = next_manifest(event, &plan);
    let identity = Identity::from_pem(&leaked, &key).unwrap();
    let tls = Tls::new(event.env(), identity, trust_anchors(&manifest).unwrap());
    let address = event.address("gate-1").to_string();
    let expected = expected("gate-1").unwrap();
    run_together(async {
        eventually("the leaked certificate is refused", async || {
            let channel = connect(event.env(), &tls, &address, &expected).unwrap();
            let request = gate::GetSyncStateRequest {};
            let refused = GateServiceClient::new(channel).get_sync_state(request).await.err()?;
            status::is_unreachable(&refused).then_some(())
        })
        .await;
        let desk = Desk::of(event);
        assert!(desk.check("LY1:nothing", MAIN).await.is_ok(), "the renewed one works");
    });
    // A plan that forgets it makes no manifest.
    plan.revoked_certificates.clear();
    let error = seat(event, "committee").draft_manifest(&plan).unwrap_err().to_string();
    assert!(error.contains("revoked"), "{error}");
}
