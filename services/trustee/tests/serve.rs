//! The trustee on the wire.

#![allow(clippy::disallowed_methods)] // a free port

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lanyard_ceremony::{CeremonyError, EventPlan, Seat, Step, add_gates, init_all};
use lanyard_core::manifest::Quota;
use lanyard_core::oprf::BlindedElement;
use lanyard_env::Env;
use lanyard_party::{Folder, ManifestStore, PartyConfig, expected, trust_anchors};
use lanyard_shareholder::{Ledger, reason};
use lanyard_transport::{Role, Tls, connect, http1, status};
use lanyard_wire::pseudonym::v1::key_share_service_client::KeyShareServiceClient;
use lanyard_wire::pseudonym::v1::{EvaluateRequest, EvaluateResponse, GetUsageRequest, Purpose};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

/// The sample plan.
fn sample() -> EventPlan {
    let env = Env::system();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/cli/samples/event.toml");
    EventPlan::read(&*env.files, &path).unwrap()
}

/// An event of this plan.
fn event_of(plan: &EventPlan) -> TempDir {
    let env = Env::system();
    let members = plan.members().into_iter().filter(|member| member.service().is_some());
    let addresses = members.zip(std::iter::repeat_with(free_port)).collect();
    let dir = tempfile::tempdir().unwrap();
    init_all(&env, dir.path(), plan, &addresses, "correct horse battery", |_, _| {}).unwrap();
    dir
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A running service.
struct Running {
    folder: PathBuf,
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Running {
    fn start(event: &TempDir, member: &str) -> Self {
        let (env, folder) = (Env::system(), event.path().join(member));
        let config = PartyConfig::read(&*env.files, &folder.join("config.toml")).unwrap();
        let address = config.common.listen;
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let serving =
            tokio::spawn(async move { lanyard_trustee::serve(config, env, stop).await.unwrap() });
        Self { folder, address, shutdown, serving }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.serving).await.unwrap().unwrap();
    }

    /// A channel as a person of the party in `folder`, or as its service.
    fn channel_as(&self, folder: &Path, who: Option<(Role, &str)>) -> Channel {
        let env = Env::system();
        let folder = Folder::open(folder, &env);
        let identity = match who {
            Some((role, name)) => folder.operator_identity(role, name).unwrap(),
            None => folder.service_identity().unwrap(),
        };
        let anchors = trust_anchors(&ManifestStore::open(&folder).unwrap().current()).unwrap();
        let tls = Tls::new(&env, identity, anchors);
        let name = self.folder.file_name().unwrap().to_str().unwrap();
        connect(&env, &tls, &self.address.to_string(), &expected(name).unwrap()).unwrap()
    }
}

/// Tries until the service answers.
async fn eventually<T, F: Future<Output = Result<T, Status>>>(mut call: impl FnMut() -> F) -> T {
    for _ in 0..100 {
        match call().await {
            Ok(answer) => return answer,
            Err(error) if status::is_unreachable(&error) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the service does not answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn share_and_witness_answer_whom_they_may() {
    let event = event_of(&sample());
    for _ in ["the first start", "the second, with the key that the first drew"] {
        let trustee = Running::start(&event, "trustee");
        let operator = Some((Role::Operator, "operator"));
        let own = KeyShareServiceClient::new(trustee.channel_as(&trustee.folder, operator));
        let usage = eventually(|| {
            let mut own = own.clone();
            async move { own.get_usage(GetUsageRequest {}).await }
        });
        let usages = usage.await.into_inner().usages;
        assert_eq!(usages.len(), 3);
        assert!(usages.iter().all(|usage| usage.used == 0 && usage.quota > 0));

        let committee = event.path().join("committee");
        let other = trustee.channel_as(&committee, Some((Role::Operator, "registrar")));
        let refused = KeyShareServiceClient::new(other).get_usage(GetUsageRequest {}).await;
        let refused = status::reason(&refused.unwrap_err());
        assert_eq!(refused.as_deref(), Some(status::NOT_ALLOWED));

        let env = Env::system();
        let folder = Folder::open(&committee, &env);
        let anchors = trust_anchors(&ManifestStore::open(&folder).unwrap().current()).unwrap();
        let tls = Tls::new(&env, folder.service_identity().unwrap(), anchors);
        let (address, expected) = (trustee.address.to_string(), expected("trustee").unwrap());
        let path = "/witness/add-checkpoint";
        let answer = http1::post(&env, &tls, &address, &expected, path, "no request").await;
        assert_eq!(answer.unwrap().status, 400);
        trustee.stop().await;
    }
}

/// A batch of the committee's for the trustee.
fn batch(id: u8, count: usize, generation: u32) -> EvaluateRequest {
    let inputs: Vec<_> = (0..count).map(|number| [id, u8::try_from(number).unwrap()]).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(<[u8; 2]>::as_slice).collect();
    let state = lanyard_core::oprf::blind(&inputs, &mut Env::system().rng()).unwrap();
    EvaluateRequest {
        purpose: Purpose::Enrolment.into(),
        batch_id: vec![id; 16],
        quorum: vec![1, 2],
        blinded_elements: BlindedElement::encode_batch(state.blinded()),
        generation,
    }
}

/// Asks until the answer is as hoped for: the folder is looked into every few seconds.
async fn until<T>(
    client: &KeyShareServiceClient<Channel>,
    request: &EvaluateRequest,
    mut hoped: impl FnMut(Result<EvaluateResponse, Status>) -> Option<T>,
) -> T {
    for _ in 0..150 {
        let answer = client.clone().evaluate(request.clone()).await;
        if let Some(found) = hoped(answer.map(tonic::Response::into_inner)) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the trustee does not follow its folder")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_raised_by_a_manifest_while_the_trustee_runs() {
    let mut plan = sample();
    let quota = |plan: &mut EventPlan, evaluations| {
        let of_trustee =
            |quota: &&mut Quota| quota.holder == "trustee" && quota.purpose == "enrolment";
        plan.quotas.iter_mut().find(of_trustee).unwrap().evaluations = evaluations;
    };
    quota(&mut plan, 10);
    let event = event_of(&plan);
    let trustee = Running::start(&event, "trustee");
    let committee = trustee.channel_as(&event.path().join("committee"), None);
    let client = KeyShareServiceClient::new(committee);
    let first = batch(1, 10, 1);
    let answer = eventually(|| {
        let mut client = client.clone();
        let first = first.clone();
        async move { client.evaluate(first).await }
    });
    assert_eq!(answer.await.into_inner().remaining, 0);
    // One more than the quota, and nothing is counted for it.
    let second = batch(2, 1, 1);
    let refused = client.clone().evaluate(second.clone()).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some(reason::QUOTA_EXCEEDED));
    // What was done before is answered again, and counted once.
    assert_eq!(client.clone().evaluate(first.clone()).await.unwrap().into_inner().remaining, 0);

    quota(&mut plan, 12);
    let env = Env::system();
    add_gates(&env, event.path(), &plan, &BTreeMap::new()).unwrap();
    let answer = until(&client, &second, Result::ok).await;
    assert_eq!(answer.remaining, 1);
    trustee.stop().await;

    let folder = Folder::open(event.path().join("trustee"), &env);
    let counts = Ledger::counts_in(&env, &folder.evaluations_dir(), &plan.event, "trustee");
    assert_eq!(counts.unwrap().into_values().collect::<Vec<_>>(), [11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_trustee_follows_a_refresh() {
    let event = event_of(&sample());
    let trustee = Running::start(&event, "trustee");
    let committee = trustee.channel_as(&event.path().join("committee"), None);
    let client = KeyShareServiceClient::new(committee);
    let seats = ["trustee", "committee", "police"].map(|holder| {
        let (folder, exchange) = (event.path().join(holder), event.path().join("exchange"));
        Seat::open(&Env::system(), &folder, &exchange).unwrap()
    });
    let all = |take: fn(&Seat) -> Result<Step, CeremonyError>| {
        for seat in &seats {
            take(seat).unwrap();
        }
    };
    let old = batch(1, 3, 1);
    let new = EvaluateRequest { generation: 2, ..old.clone() };
    eventually(|| {
        let (mut client, old) = (client.clone(), old.clone());
        async move { client.evaluate(old).await }
    })
    .await;
    let refused = client.clone().evaluate(new.clone()).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some(reason::SHARE_GENERATION));
    all(Seat::refresh_round1);
    all(Seat::refresh_round2);
    all(Seat::refresh_round3);
    // Confirmed, not yet in force: whoever switches first is answered, at once.
    client.clone().evaluate(new.clone()).await.unwrap();
    all(Seat::refresh_switch);
    client.clone().evaluate(old.clone()).await.unwrap();
    all(Seat::refresh_finish);
    let refused = until(&client, &old, Result::err).await;
    assert_eq!(status::reason(&refused).as_deref(), Some(reason::SHARE_GENERATION));
    client.clone().evaluate(new).await.unwrap();
    trustee.stop().await;
}
