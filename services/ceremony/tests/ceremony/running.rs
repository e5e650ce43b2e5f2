//! What parties find in their folders, and what changes while they run.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lanyard_ceremony::{CeremonyError, EventTree, Holder, Member, Step, add_gates};
use lanyard_core::ids::Authority;
use lanyard_core::manifest::{Manifest, sign_manifest};
use lanyard_env::{DiskFiles, Env};
use lanyard_party::{
    CommonConfig, Folder, Generation, ManifestStore, ManifestStoreError, PartyConfig, trust_anchors,
};
use lanyard_transport::{PeerId, Role};
use serde::Deserialize;

use crate::support::{addresses, copy, member, sample_plan, seat, shared};

/// All fields that some party's section has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnySection {
    store: Option<String>,
    upstreams: Vec<String>,
    access_points: Vec<String>,
    witnesses: std::collections::BTreeMap<String, String>,
}

#[test]
fn every_service_finds_manifest_certificate_and_configuration() {
    let env = Env::system();
    let plan = sample_plan();
    let tree = EventTree::read(&DiskFiles::new(), shared()).unwrap();
    assert_eq!(tree.services, addresses(&plan));
    let mut manifests = Vec::new();
    for (member, address) in &tree.services {
        let folder = Folder::open(EventTree::folder(shared(), member), &env);
        let manifest = ManifestStore::open(&folder).unwrap().current();
        trust_anchors(&manifest).unwrap();
        manifests.push(manifest.note().to_string());
        assert_eq!(Some(folder.service_identity().unwrap().peer()), member.service());

        let config: PartyConfig<AnySection> =
            PartyConfig::read(&DiskFiles::new(), &folder.config_path()).unwrap();
        let CommonConfig { name, listen, peers, .. } = config.common;
        assert_eq!((name.as_str(), listen), (member.name(), *address));
        for upstream in &config.section.upstreams {
            assert!(peers.contains_key(upstream), "{member} has no address of {upstream}");
        }
        assert_eq!(config.section.store.is_some(), member.is_authority());
        assert_eq!(config.section.access_points.is_empty(), member.certifies());
        if let Ok(authority) = Authority::parse(member.name()) {
            let expected: Vec<_> =
                manifest.witnesses_of(authority).map(|witness| witness.name.clone()).collect();
            assert_eq!(config.section.witnesses.len(), expected.len());
            for name in expected {
                assert!(peers.contains_key(&config.section.witnesses[&name]));
            }
            let log_key = folder.log_key().unwrap();
            assert_eq!(log_key.verifying_key(), manifest.log_key(authority));
            folder.store_key().unwrap();
        }
    }
    assert!(manifests.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn default_operators_can_act() {
    let folder = Folder::open(shared().join("gate-1"), &Env::system());
    let scanner = folder.operator_identity(Role::Scanner, "scanner").unwrap();
    assert_eq!(scanner.peer().to_string(), "spiffe://gate/scanner/gate-1.scanner");
    let folder = Folder::open(shared().join("committee"), &Env::system());
    let registrar = folder.operator_identity(Role::Operator, "registrar").unwrap();
    assert_eq!(registrar.peer().to_string(), "spiffe://committee/operator/registrar");
}

#[test]
fn operators_are_added_once_and_certificates_renewed() {
    let dir = copy();
    let (gate, authority) = (seat(dir.path(), "gate-1"), seat(dir.path(), "gate-ca"));
    assert_eq!(gate.add_operator(&authority, Role::Scanner, "north").unwrap(), Step::Done);
    assert_eq!(gate.add_operator(&authority, Role::Scanner, "north").unwrap(), Step::AlreadyDone);
    let folder = Folder::open(dir.path().join("gate-1"), &Env::system());
    let identity = folder.operator_identity(Role::Scanner, "north").unwrap();

    for bad in ["", "../x", "Name", "a/b"] {
        let refused = gate.add_operator(&authority, Role::Scanner, bad);
        assert!(matches!(refused, Err(CeremonyError::Peer(_))), "{bad:?}");
    }
    let service = gate.add_operator(&authority, Role::Service, "gate-1");
    assert!(matches!(service, Err(CeremonyError::NotForMember { .. })));
    // A gate certifies nobody, and no authority certifies for another party.
    let own = gate.add_operator(&gate, Role::Scanner, "south");
    assert!(matches!(own, Err(CeremonyError::NotForMember { .. })));
    let police = seat(dir.path(), "police");
    let foreign = gate.add_operator(&police, Role::Scanner, "south");
    assert!(matches!(foreign, Err(CeremonyError::Certificate(_))));

    let service = folder.service_identity().unwrap();
    let before = fs::read(folder.service_certificate_path()).unwrap();
    gate.renew_certificate(&authority, Holder::Service).unwrap();
    assert_ne!(before, fs::read(folder.service_certificate_path()).unwrap());
    service.reload(&DiskFiles::new()).unwrap();
    gate.renew_certificate(&authority, Holder::Person(Role::Scanner, "north")).unwrap();
    identity.reload(&DiskFiles::new()).unwrap();
    let nobody = gate.renew_certificate(&authority, Holder::Person(Role::Scanner, "south"));
    assert!(matches!(nobody, Err(CeremonyError::KeyFile(_))));
}

#[test]
fn an_operator_elsewhere_sends_a_request_and_gets_a_certificate() {
    let police = seat(shared(), "police");
    let anna: PeerId = "spiffe://police/operator/anna".parse().unwrap();
    let made = lanyard_transport::certificates::make_csr(&anna).unwrap();
    let certificate = police.certify(&anna, &made.csr_pem).unwrap();
    let identity =
        lanyard_transport::Identity::from_pem(certificate.as_bytes(), made.key_pem.as_bytes());
    assert_eq!(identity.unwrap().peer(), anna);
}

#[test]
fn a_gate_is_added_while_the_others_run() {
    let dir = copy();
    let env = Env::system();
    let running =
        |name: &str| ManifestStore::open(&Folder::open(dir.path().join(name), &env)).unwrap();
    let (sponsor, trustee) = (running("sponsor"), running("trustee"));
    let mut told = sponsor.subscribe();
    let first = sponsor.current();
    assert!(!sponsor.reload_if_changed().unwrap());

    let mut plan = sample_plan();
    let moved = plan.gates[0].access_points.split_off(4);
    let mut gate = plan.gates[0].clone();
    gate.name = "gate-2".parse().unwrap();
    gate.access_points = moved;
    plan.gates.push(gate);
    let tree = add_gates(&env, dir.path(), &plan, &addresses(&plan)).unwrap();
    assert!(tree.services.contains_key(&member("gate-2")));
    // Again: nothing changes.
    assert_eq!(add_gates(&env, dir.path(), &plan, &addresses(&plan)).unwrap(), tree);

    assert!(sponsor.reload_if_changed().unwrap());
    assert!(told.has_changed().unwrap());
    let second = told.borrow_and_update().clone();
    assert_eq!((second.version, second.previous), (2, Some(first.hash())));
    assert_eq!(second.gate("gate-2").unwrap().access_points.len(), 4);
    assert!(second.verifier("gate/gate-2").is_some());
    assert_eq!(second.epochs, first.epochs);
    // Through the feed instead: the note itself. An upstream that is behind passes on what was in force before; neither way
    // leads back.
    for (note, is_new) in [(&second, true), (&second, false), (&first, false)] {
        assert_eq!(trustee.accept(&note.note().to_string()).unwrap(), is_new);
        assert_eq!(trustee.current().version, 2);
    }
    let mut other = Manifest::clone(&first);
    other.tick_millis += 1_000;
    let keys = ["committee", "police"]
        .map(|authority| Folder::open(dir.path().join(authority), &env).manifest_key().unwrap());
    let other = sign_manifest(&other.to_text().unwrap(), &[&keys[0], &keys[1]]).unwrap();
    let back = trustee.accept(&other.to_string());
    assert!(matches!(back, Err(ManifestStoreError::Manifest { .. })), "{back:?}");

    let gate = Folder::open(dir.path().join("gate-2"), &env);
    assert_eq!(ManifestStore::open(&gate).unwrap().current().version, 2);
    assert_eq!(gate.service_identity().unwrap().peer().name(), "gate-2");
}

#[test]
fn what_is_fixed_stays_and_unknown_gates_are_refused() {
    let dir = copy();
    let committee = seat(dir.path(), "committee");
    let mut plan = sample_plan();
    plan.epochs.length_minutes = 720;
    let refused = committee.draft_manifest(&plan).unwrap_err().to_string();
    assert!(refused.contains("epochs.length_minutes"), "{refused}");
    let mut plan = sample_plan();
    plan.share_holders.holders.swap(0, 1);
    let refused = committee.draft_manifest(&plan).unwrap_err().to_string();
    assert!(refused.contains("share_holders"), "{refused}");
    let refused = lanyard_ceremony::Seat::prepare(
        &Env::system(),
        &dir.path().join("gate-9"),
        &dir.path().join("exchange"),
        &Member::Gate("gate-9".parse().unwrap()),
        &sample_plan(),
        None,
    );
    assert!(matches!(refused, Err(CeremonyError::Plan(_))));
}

#[test]
fn manifests_on_the_disk_are_verified_at_each_start() {
    let dir = copy();
    let folder = Folder::open(dir.path().join("sponsor"), &Env::system());
    let path = folder.manifests_dir().join("1.note");
    let good = fs::read_to_string(&path).unwrap();

    fs::write(&path, good.replace("Harbour Games", "Harbor Games")).unwrap();
    let error = ManifestStore::open(&folder).err().unwrap().to_string();
    assert!(error.contains("1.note"), "{error}");
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(ManifestStore::open(&folder).is_err());
    fs::write(&path, &good).unwrap();

    // The copy for people is put right by the chain.
    fs::write(folder.manifest_path(), "something else").unwrap();
    ManifestStore::open(&folder).unwrap();
    assert_eq!(fs::read_to_string(folder.manifest_path()).unwrap(), good);

    fs::remove_file(folder.trust_path()).unwrap();
    let missing = ManifestStore::open(&folder);
    assert!(matches!(missing, Err(ManifestStoreError::NotAdopted { .. })));
}

#[test]
fn a_bad_key_file_is_named_with_what_to_do() {
    let dir = copy();
    let folder = Folder::open(dir.path().join("police"), &Env::system());
    let held = folder.lock_data().unwrap();
    assert!(folder.lock_data().is_err(), "two processes on one state");
    drop(held);
    let _held = folder.lock_data().unwrap();
    let path = folder.log_key_path();
    let good = fs::read_to_string(&path).unwrap();
    let error = |folder: &Folder| folder.log_key().err().unwrap().to_string();

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let exposed = error(&folder);
    assert!(exposed.contains("log.key") && exposed.contains("chmod 600"), "{exposed}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    for bad in
        ["", "x\n", &good[..good.len() - 3], &format!("{good}{good}"), &good.replace('+', "-")]
    {
        fs::write(&path, bad).unwrap();
        let malformed = error(&folder);
        assert!(malformed.contains("log.key") && malformed.contains("backup"), "{malformed}");
        assert!(!malformed.contains(good[40..].trim_end()), "{malformed}");
    }
    // A key of another kind is no log key.
    fs::copy(folder.witness_key_path(), &path).unwrap();
    assert!(folder.log_key().is_err());
    fs::remove_file(&path).unwrap();
    assert!(error(&folder).contains("no such key"));

    // A share that is not the holder's own.
    let committee = Folder::open(dir.path().join("committee"), &Env::system());
    let foreign = fs::read_to_string(committee.share_key_path(Generation::FIRST)).unwrap();
    fs::write(folder.share_key_path(Generation::FIRST), foreign.replace("KEY-1 2 ", "KEY-1 3 "))
        .unwrap();
    assert!(folder.held_share(Generation::FIRST).err().unwrap().to_string().contains("share.key"));
    let wrong = committee.issuing_key("wrong passphrase").err().unwrap().to_string();
    assert!(wrong.contains("issuing.age") && wrong.contains("passphrase"), "{wrong}");
}
