//! Mirrors of mirrors: gates that serve gates, leave upstreams that are bad and come back to them, and one mirror with many
//! followers.

#![allow(clippy::disallowed_methods)]

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use lanyard_ceremony::{EventPlan, Member, PlannedGate};
use lanyard_client::Connection;
use lanyard_core::decision::AccessPoint;
use lanyard_core::head::MapHead;
use lanyard_core::ids::{Authority, Origin};
use lanyard_gate::GateSection;
use lanyard_liar::{Liar, Mode};
use lanyard_party::{Folder, ManifestStore, PartyConfig, expected, trust_anchors};
use lanyard_sponsor::SponsorSection;
use lanyard_tests::{Desk, TestEvent, eventually, run_together, sample_plan};
use lanyard_transport::{Role, Tls, connect};
use lanyard_wire::common::v1::{Audience, StatusAction};
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{FollowRequest, FollowResponse};
use lanyard_wire::gate::v1 as gate;
use rand::Rng as _;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

/// The only door of a gate.
fn door(gate: &str) -> String {
    format!("{gate}-door")
}

/// The sample with these gates, each with a public door of the stadium and its own upstreams.
fn plan(gates: &[(&str, &[&str])]) -> EventPlan {
    let mut plan = sample_plan();
    plan.tick_millis = 500;
    let point = plan.access_points.iter().find(|point| point.id == "sta-main").unwrap().clone();
    plan.access_points =
        gates.iter().map(|(name, _)| AccessPoint { id: door(name), ..point.clone() }).collect();
    let member = |name: &&str| name.parse::<Member>().unwrap();
    plan.gates = gates
        .iter()
        .map(|(name, upstreams)| PlannedGate {
            name: name.parse().unwrap(),
            access_points: vec![door(name)],
            upstreams: upstreams.iter().map(member).collect(),
        })
        .collect();
    plan
}

/// A gate as its scanner sees it.
struct Gate {
    scanner: Connection,
    door: String,
}

impl Gate {
    fn of(event: &TestEvent, name: &str) -> Self {
        Self { scanner: event.person(name, Role::Scanner), door: door(name) }
    }

    async fn check(&self, badge: &str) -> gate::CheckResponse {
        let mut nonce = [0; 16];
        self.scanner.env().rng().fill_bytes(&mut nonce);
        let request = gate::CheckRequest {
            credential: badge.to_owned(),
            access_point: self.door.clone(),
            direction: gate::Direction::In.into(),
            nonce: nonce.to_vec(),
        };
        self.scanner.gate().unwrap().check(request).await.unwrap().into_inner()
    }

    async fn says(&self, badge: &str, verdict: gate::Verdict) {
        eventually(&format!("the gate says {verdict:?}"), async || {
            (self.check(badge).await.verdict() == verdict).then_some(())
        })
        .await;
    }

    async fn state(&self, authority: Authority) -> gate::AuthorityState {
        let request = gate::GetSyncStateRequest {};
        let state =
            self.scanner.gate().unwrap().get_sync_state(request).await.unwrap().into_inner();
        let place = Authority::ALL.iter().position(|one| *one == authority).unwrap();
        state.authorities[place].clone()
    }

    /// Waits until this upstream is in use for an authority's feed.
    async fn follows(&self, authority: Authority, upstream: &str) -> gate::AuthorityState {
        let mut state = self.state(authority).await;
        // A better one is tried less and less often.
        for _ in 0..1_200 {
            let standing = named(&state, upstream).standing();
            if state.upstream == upstream && standing == gate::Standing::InUse {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            state = self.state(authority).await;
        }
        panic!("{upstream} is not used for {authority}: {state:?}");
    }
}

fn named<'a>(state: &'a gate::AuthorityState, upstream: &str) -> &'a gate::Upstream {
    state.upstreams.iter().find(|one| one.name == upstream).unwrap()
}

#[test]
fn a_gate_behind_a_gate_survives_a_lying_sponsor_and_moves_on_and_back() {
    let gates: [(&str, &[&str]); 2] =
        [("gate-1", &["sponsor", "police"]), ("gate-2", &["gate-1", "committee"])];
    let mut event = TestEvent::make(&plan(&gates));
    for party in ["committee", "police", "trustee", "sponsor"] {
        event.start(party);
    }
    // The sponsor that the first gate knows is one that can lie.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let honest = event.address("sponsor").to_string();
    let any_port = "127.0.0.1:0".parse().unwrap();
    let folder = event.folder("sponsor");
    let starting = Liar::start(event.env(), &folder, ("sponsor", &honest), any_port);
    let liar = runtime.block_on(starting).unwrap();
    let config = event.folder("gate-1").join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(&honest, &liar.address().to_string())).unwrap();
    event.start_all();

    let badges = run_together(async {
        let desk = Desk::of(&event);
        let badges = desk.publish_people(4).await;
        let (first, second) = (Gate::of(&event, "gate-1"), Gate::of(&event, "gate-2"));
        for authority in Authority::ALL {
            first.follows(authority, "sponsor").await;
            second.follows(authority, "gate-1").await;
        }
        second.says(&badges[0], gate::Verdict::Admit).await;

        // A lie about one feed is stopped at the first level; the other feed stays where it is.
        liar.set_mode(Authority::Police, Mode::ForgeRecord);
        let state = first.follows(Authority::Police, "police").await;
        let left = named(&state, "sponsor");
        assert_eq!(left.standing(), gate::Standing::Left);
        assert!(left.problem.contains("evidence was saved"), "{left:?}");
        assert_eq!((state.evidence.len(), state.evidence[0].upstream.as_str()), (1, "sponsor"));
        first.follows(Authority::Committee, "sponsor").await;
        desk.police_say(StatusAction::Suspend, &badges[0]).await.unwrap();
        second.says(&badges[0], gate::Verdict::Refer).await;
        let behind = second.follows(Authority::Police, "gate-1").await;
        assert!(behind.evidence.is_empty(), "{behind:?}");
        badges
    });

    // The first gate goes; whoever has its port now takes connections and says nothing.
    event.stop("gate-1");
    let silent = TcpListener::bind(event.address("gate-1")).unwrap();
    run_together(async {
        let desk = Desk::of(&event);
        let second = Gate::of(&event, "gate-2");
        for authority in Authority::ALL {
            let state = second.follows(authority, "committee").await;
            assert_eq!(named(&state, "gate-1").standing(), gate::Standing::Left);
        }
        desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
        second.says(&badges[1], gate::Verdict::Refer).await;
        eventually("it is tried in vain", async || {
            let state = second.state(Authority::Police).await;
            (named(&state, "gate-1").problem.contains("nothing came")).then_some(())
        })
        .await;
        assert_eq!(second.state(Authority::Police).await.upstream, "committee");
    });
    drop(silent);
    event.start("gate-1");
    run_together(async {
        let second = Gate::of(&event, "gate-2");
        for authority in Authority::ALL {
            let state = second.follows(authority, "gate-1").await;
            assert_eq!(named(&state, "committee").standing(), gate::Standing::Waiting);
        }
    });

    // Nobody is left to follow: the gate goes on, and says so.
    event.stop("gate-1");
    event.stop("committee");
    run_together(async {
        let second = Gate::of(&event, "gate-2");
        let state = eventually("both were left", async || {
            let state = second.state(Authority::Police).await;
            let all = state.upstreams.iter().all(|one| one.standing() != gate::Standing::InUse);
            (all && state.upstream.is_empty() && !state.problem.is_empty()).then_some(state)
        })
        .await;
        assert!(state.upstreams.iter().all(|one| one.times_left > 0), "{state:?}");
        let old = eventually("the answer says how old knowledge is", async || {
            let answer = second.check(&badges[2]).await;
            (answer.age_seconds >= 4).then_some(answer)
        })
        .await;
        assert_eq!(old.verdict(), gate::Verdict::Admit);
    });
    drop(liar);
}

const FOLLOWERS: usize = 100;
/// Of them, those who do not read.
const STALLED: usize = 20;

/// One follower of one feed, by its own connection.
async fn follower(tls: &Tls, event: &TestEvent, origin: &Origin) -> Streaming<FollowResponse> {
    let address = event.address("sponsor").to_string();
    let channel = connect(event.env(), tls, &address, &expected("sponsor").unwrap()).unwrap();
    let request = FollowRequest {
        origin: origin.as_str().to_owned(),
        audiences: vec![Audience::Gate.into()],
        ..FollowRequest::default()
    };
    FeedServiceClient::new(channel).follow(request).await.unwrap().into_inner()
}

#[test]
fn a_mirror_with_many_followers_some_of_whom_do_not_read_reaches_all_who_do() {
    let sponsor: &[&str] = &["sponsor"];
    let gates = [("gate-1", sponsor), ("gate-2", sponsor), ("gate-3", sponsor)];
    let mut event = TestEvent::make(&plan(&gates));
    event.start_all();
    run_together(async {
        let desk = Desk::of(&event);
        let badges = desk.publish_people(2).await;
        let folder = Folder::open(event.folder("gate-1"), event.env());
        let manifest = ManifestStore::open(&folder).unwrap().current();
        let anchors = trust_anchors(&manifest).unwrap();
        let tls = Tls::new(event.env(), folder.service_identity().unwrap(), anchors);
        let origin = Origin::new(&manifest.event, Authority::Police);
        let connecting = (0..FOLLOWERS).map(|_| follower(&tls, &event, &origin));
        let mut streams: Vec<_> =
            futures::stream::iter(connecting).buffer_unordered(16).collect().await;

        let _stalled: Vec<_> = streams.drain(..STALLED).collect();
        let sizes: Arc<[AtomicU64]> = streams.iter().map(|_| AtomicU64::new(0)).collect();
        for (place, mut stream) in streams.into_iter().enumerate() {
            let sizes = Arc::clone(&sizes);
            tokio::spawn(async move {
                while let Ok(Some(response)) = stream.message().await {
                    if let Some(Update::Tick(tick)) = response.update {
                        let head = MapHead::from_bytes(&tick.head).unwrap();
                        sizes[place].store(head.size, Ordering::Relaxed);
                    }
                }
            });
        }
        for name in ["gate-1", "gate-2", "gate-3"] {
            Gate::of(&event, name).says(&badges[0], gate::Verdict::Admit).await;
        }
        let size = desk.police_say(StatusAction::Suspend, &badges[0]).await.unwrap();
        for name in ["gate-1", "gate-2", "gate-3"] {
            Gate::of(&event, name).says(&badges[0], gate::Verdict::Refer).await;
        }
        // Whatever was suspended is in one of the next two ticks.
        eventually("all who read have it", async || {
            sizes.iter().all(|one| one.load(Ordering::Relaxed) >= size + 2).then_some(())
        })
        .await;
    });
}

#[test]
fn a_list_of_upstreams_that_cannot_be_is_refused_at_the_start() {
    let event = TestEvent::make(&plan(&[("gate-1", &["sponsor"])]));
    let env = event.env().clone();
    let config = |party: &str| event.folder(party).join("config.toml");
    let gate = PartyConfig::<GateSection>::read(&*env.files, &config("gate-1")).unwrap();
    let sponsor = PartyConfig::<SponsorSection>::read(&*env.files, &config("sponsor")).unwrap();
    run_together(async {
        for (upstreams, problem) in [
            (["sponsor", "sponsor"], "sponsor stands there twice; take one out"),
            (["sponsor", "gate-1"], "gate-1 is this service itself"),
            (["sponsor", "trustee"], "the trustee serves no feed"),
            (["sponsor", "police"], "no address for \"police\""),
        ] {
            let mut config = gate.clone();
            config.section.upstreams = upstreams.map(str::to_owned).into();
            let serving = lanyard_gate::serve(config, env.clone(), CancellationToken::new());
            let refused = tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap();
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(problem), "{refused}");
        }
        let mut config = sponsor.clone();
        config.section.upstreams = vec!["committee".to_owned(), "gate-1".to_owned()];
        let serving = lanyard_sponsor::serve(config, env.clone(), CancellationToken::new());
        let refused = tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap();
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("directories for gates only"), "{refused}");
    });
}
