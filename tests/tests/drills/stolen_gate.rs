//! A gate is stolen and expelled. The thief has its whole folder and runs it, and has all that mirrors ever got.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_ceremony::{EventPlan, EventTree, GateName, Member, expel_gate};
use lanyard_core::decision::AccessPoint;
use lanyard_core::ids::{Audience, Authority, Epoch};
use lanyard_core::manifest::VerifiedManifest;
use lanyard_core::receipt::{Receipt, ReceiptError, ReceiptOrigin, verify_receipt_given};
use lanyard_env::Env;
use lanyard_feed::{Mirror, MirrorConfig, Recipient};
use lanyard_party::{Folder, ManifestStore, expected, trust_anchors};
use lanyard_tests::{Desk, ShiftedClock, TestEvent, eventually, run_together, sample_plan};
use lanyard_transport::{Role, Tls, connect, status};
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::{DirectoryId, FollowRequest, LookupRequest};
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;
use tonic::Status;
use tonic::transport::Channel;

use crate::world::{MAIN, copy, news_flow, published, says_at, started};

const STOLEN: &str = "gate-2";
/// What the stolen gate served.
const POOL: &str = "aqu-main";
/// The gate that followed the stolen one alone, and what it serves.
const BEHIND: &str = "gate-3";
const NORTH: &str = "sta-north";

/// The stolen gate follows the sponsor; the first gate has it between others, the third has nobody else.
fn plan() -> EventPlan {
    let mut plan = sample_plan();
    let (id, venue, zone) = (NORTH.to_owned(), "STA".to_owned(), "PUB".to_owned());
    plan.access_points.push(AccessPoint { id, venue, zone });
    let mut second = plan.gates[0].clone();
    second.name = STOLEN.parse().unwrap();
    second.access_points.retain(|point| point.starts_with("aqu"));
    let mut third = second.clone();
    third.name = BEHIND.parse().unwrap();
    third.access_points = vec![NORTH.to_owned()];
    third.upstreams = vec![STOLEN.parse().unwrap()];
    let first = &mut plan.gates[0];
    first.access_points.retain(|point| !point.starts_with("aqu"));
    first.upstreams = vec![Member::Sponsor, STOLEN.parse().unwrap(), Member::Police];
    plan.gates.extend([second, third]);
    plan
}

/// Whoever has a copy of the gate's folder.
struct Thief {
    env: Env,
    folder: PathBuf,
}

impl Thief {
    fn channel(&self, event: &TestEvent, who: Option<Role>, server: &str) -> Channel {
        let folder = Folder::open(&self.folder, &self.env);
        let identity = match who {
            None => folder.service_identity(),
            Some(role) => folder.operator_identity(role, role.name()),
        };
        // It still believes the manifest that it was stolen with.
        let manifest = ManifestStore::open(&folder).unwrap().current();
        let tls = Tls::new(&self.env, identity.unwrap(), trust_anchors(&manifest).unwrap());
        let address = event.address(server).to_string();
        connect(&self.env, &tls, &address, &expected(server).unwrap()).unwrap()
    }

    /// Everything that its certificates could do before: follow and look up at every mirror, check at another gate.
    async fn try_all(&self, event: &TestEvent) -> Vec<Result<(), Status>> {
        let origin = "lanyard/harbour-games-2027/committee";
        let mut tries = Vec::new();
        for server in ["sponsor", "committee", "police"] {
            let mut feed = FeedServiceClient::new(self.channel(event, None, server));
            let audiences = vec![lanyard_wire::common::v1::Audience::Gate.into()];
            let request =
                FollowRequest { origin: origin.to_owned(), audiences, ..Default::default() };
            tries.push(feed.follow(request).await.map(drop));
            let mut feed =
                FeedServiceClient::new(self.channel(event, Some(Role::Operator), server));
            let request = LookupRequest {
                origin: origin.to_owned(),
                directory: Some(DirectoryId::of(Epoch::new(1), Audience::Gate)),
                prefix: vec![0],
                prefix_bits: 8,
                known_size: 0,
            };
            tries.push(feed.lookup(request).await.map(drop));
        }
        for role in [Role::Scanner, Role::Supervisor] {
            let mut other = GateServiceClient::new(self.channel(event, Some(role), "gate-1"));
            let request = gate::CheckRequest {
                credential: "LY1:nothing".to_owned(),
                access_point: MAIN.to_owned(),
                direction: gate::Direction::In.into(),
                nonce: vec![7; 16],
            };
            tries.push(other.check(request).await.map(drop));
        }
        tries
    }
}

#[test]
fn a_stolen_gate_is_shut_out_and_goes_blind() {
    let clock = ShiftedClock::default();
    let env = Env::for_test(clock.clone());
    let mut event = started(&plan(), env.clone());
    let badges = run_together(async {
        let badges = published(&Desk::of(&event)).await;
        let there = Desk::at(&event, STOLEN);
        eventually("the other gate is in step", async || {
            (there.check(&badges[0], POOL).await.ok()?.verdict == "DENY").then_some(())
        })
        .await;
        says_at(&Desk::at(&event, BEHIND), &badges[2], NORTH, "ADMIT").await;
        badges
    });
    let loot = tempfile::tempdir().unwrap();
    copy(&event.folder(STOLEN), loot.path());
    let thief = Thief { env: env.clone(), folder: loot.path().to_owned() };
    let since = env.now();
    let mut open_stream = run_together(async {
        let tries = thief.try_all(&event).await;
        assert!(tries.iter().all(Result::is_ok), "{tries:?}");
        let mut feed = FeedServiceClient::new(thief.channel(&event, None, "sponsor"));
        let audiences = vec![lanyard_wire::common::v1::Audience::Gate.into()];
        let origin = "lanyard/harbour-games-2027/police".to_owned();
        let request = FollowRequest { origin, audiences, ..Default::default() };
        feed.follow(request).await.unwrap().into_inner()
    });

    // Before it can hear of the manifest that shuts it out: a thief would see to that.
    let stolen_with = newest(&env, &event.folder(STOLEN));
    let written = written(&event, &badges[0]);

    let name: GateName = STOLEN.parse().unwrap();
    let (tree, changed) = expel_gate(&env, event.dir(), &name, since).unwrap();
    assert!(tree.services.keys().all(|member| member.name() != STOLEN));
    let followers: Vec<_> =
        changed.iter().map(|one| (one.member.name(), one.has_other_upstreams)).collect();
    assert_eq!(followers, [("gate-1", false), (BEHIND, true)]);
    // Again: nothing changes, neither the time.
    assert_eq!(expel_gate(&env, event.dir(), &name, env.now()).unwrap(), (tree, Vec::new()));
    run_together(async {
        eventually("nobody lets it in", async || {
            let tries = thief.try_all(&event).await;
            tries.iter().all(|tried| tried.as_ref().is_err_and(shut_out)).then_some(())
        })
        .await;
        // What it had open was closed.
        while let Ok(Some(_)) = open_stream.message().await {}
        news_flow(&Desk::of(&event), &badges[1], "P-0001").await;
    });
    the_gate_behind_it_goes_on(&mut event, &badges[2]);
    let manifest = newest(&env, &event.folder("committee"));
    receipts(&written, &stolen_with, &manifest);
    keys(&mut event, &clock, &thief, &manifest);
}

/// Restarted, it follows whom the stolen gate followed.
fn the_gate_behind_it_goes_on(event: &mut TestEvent, badge: &str) {
    let plan = EventTree::plan(&*event.env().files, event.dir()).unwrap();
    let upstreams = |gate: &str| plan.gate(&gate.parse().unwrap()).unwrap().upstreams.clone();
    assert_eq!(upstreams("gate-1"), [Member::Sponsor, Member::Police]);
    assert_eq!(upstreams(BEHIND), [Member::Sponsor]);
    event.stop(BEHIND);
    event.start(BEHIND);
    run_together(async {
        let behind = Desk::at(event, BEHIND);
        says_at(&behind, badge, NORTH, "ADMIT").await;
        behind.committee_says(StatusAction::Suspend, "P-0002").await.unwrap();
        says_at(&behind, badge, NORTH, "REFER").await;
    });
}

fn shut_out(status: &Status) -> bool {
    status::is_unreachable(status) && status.message().contains("refuses this party's certificate")
}

fn newest(env: &Env, folder: &Path) -> Arc<VerifiedManifest> {
    ManifestStore::open(&Folder::open(folder, env)).unwrap().current()
}

/// The thief goes on writing receipts: all that the gate has.
fn written(event: &TestEvent, badge: &str) -> String {
    let there = Desk::at(event, STOLEN);
    run_together(async {
        there.check(badge, POOL).await.unwrap();
        let request = gate::ExportReceiptsRequest { from: 1, limit: 0 };
        let mut client = there.gate_operator.gate().unwrap();
        let mut stream = client.export_receipts(request).await.unwrap().into_inner();
        let mut text = Vec::new();
        while let Some(part) = stream.message().await.unwrap() {
            text.extend(part.data);
        }
        String::from_utf8(text).unwrap()
    })
}

/// Under the manifest that it was stolen with they all hold; under the newest one only those of before.
fn receipts(text: &str, stolen_with: &VerifiedManifest, manifest: &VerifiedManifest) {
    let key = stolen_with.gate(STOLEN).unwrap().receipts.clone();
    let origin = ReceiptOrigin::new(&manifest.event, STOLEN).unwrap();
    let title = "lanyard receipt v1\n";
    let (mut before, mut after) = (0, 0);
    for body in text.split(title).skip(1) {
        let receipt = Receipt::parse(&format!("{title}{body}")).unwrap();
        let keys = std::slice::from_ref(&key);
        verify_receipt_given(&receipt, &origin, keys, stolen_with).unwrap();
        match verify_receipt_given(&receipt, &origin, keys, manifest) {
            Ok(_) => before += 1,
            Err(ReceiptError::Ended { .. }) => after += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(before > 0 && after > 0, "{before} before, {after} after");
}

/// What is published later is sealed to gates that are still there, and opens nothing to the stolen one.
fn keys(event: &mut TestEvent, clock: &ShiftedClock, thief: &Thief, manifest: &VerifiedManifest) {
    let live = manifest.epoch_at(event.env().now());
    clock.jump_to(manifest.epochs.publish_at(live.next()));
    run_together(async {
        let desk = Desk::of(event);
        desk.settle().await;
    });
    event.stop("committee");
    event.stop("police");
    for authority in Authority::ALL {
        let party = event.folder(authority.name());
        let manifests = Arc::new(ManifestStore::open(&Folder::open(&party, event.env())).unwrap());
        let opens = |folder: &Path, gate: &str, epoch: Epoch| {
            let key = Folder::open(folder, event.env()).hpke_key().unwrap();
            let recipient = Recipient { id: format!("gate/{gate}"), key: Arc::new(key) };
            let audiences = Audience::published_by(authority).to_vec();
            let recipient = Some(recipient);
            let config = MirrorConfig { authority, audiences, recipient, publisher: false };
            let dir = party.join("data/feeds").join(authority.name());
            let mirror =
                Mirror::open(event.env().clone(), &dir, config, Arc::clone(&manifests) as _);
            let mirror = mirror.unwrap();
            let view = mirror.read();
            let directory = view.directory(epoch, Audience::Gate).expect("it is published");
            directory.audience_key().is_some()
        };
        let there = event.folder("gate-1");
        assert!(opens(&there, "gate-1", live) && opens(&there, "gate-1", live.next()));
        assert!(opens(&thief.folder, STOLEN, live), "delivered before");
        assert!(!opens(&thief.folder, STOLEN, live.next()), "{authority}: it opens what comes");
    }
}
