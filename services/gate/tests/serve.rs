//! A gate on the wire, cut off from everyone: it answers, and admits nobody.

#![allow(clippy::disallowed_methods)] // a free port

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lanyard_ceremony::{EventPlan, init_all};
use lanyard_env::Env;
use lanyard_party::{Folder, ManifestStore, PartyConfig, expected, trust_anchors};
use lanyard_transport::{Role, Tls, connect, status};
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;
use lanyard_wire::gate::v1::{
    CheckRequest, Direction, ExportReceiptsRequest, GetSyncStateRequest, OverrideRequest, Reason,
    Verdict,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

/// An event from the sample plan.
fn event() -> TempDir {
    let env = Env::system();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/cli/samples/event.toml");
    let plan = EventPlan::read(&*env.files, &path).unwrap();
    let members = plan.members().into_iter().filter(|member| member.service().is_some());
    let addresses = members.zip(std::iter::repeat_with(free_port)).collect();
    let dir = tempfile::tempdir().unwrap();
    init_all(&env, dir.path(), &plan, &addresses, "correct horse battery", |_, _| {}).unwrap();
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
            tokio::spawn(async move { lanyard_gate::serve(config, env, stop).await.unwrap() });
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

const SCANNER: (Role, &str) = (Role::Scanner, "scanner");
const SUPERVISOR: (Role, &str) = (Role::Supervisor, "supervisor");
const OPERATOR: (Role, &str) = (Role::Operator, "operator");

fn client(gate: &Running, who: (Role, &str)) -> GateServiceClient<Channel> {
    GateServiceClient::new(gate.channel_as(&gate.folder, Some(who)))
}

fn check(nonce: u8) -> CheckRequest {
    CheckRequest {
        credential: "no badge".to_owned(),
        access_point: "sta-main".to_owned(),
        direction: Direction::In.into(),
        nonce: vec![nonce; 16],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_cut_off_answers_records_and_remembers() {
    let event = event();
    let gate = Running::start(&event, "gate-1");
    let scanner = client(&gate, SCANNER);
    let answer = eventually(|| {
        let mut scanner = scanner.clone();
        async move { scanner.check(check(1)).await }
    });
    let answer = answer.await.into_inner();
    assert_eq!((answer.verdict(), answer.reason()), (Verdict::Deny, Reason::Malformed));
    let state = client(&gate, SCANNER).get_sync_state(GetSyncStateRequest {}).await.unwrap();
    let state = state.into_inner();
    assert_eq!((state.receipts, state.access_points.len()), (1, 8));
    assert!(state.authorities.iter().all(|one| one.age_millis.is_none() && !one.key_present));

    let export = ExportReceiptsRequest { from: 1, limit: 0 };
    let refused = client(&gate, SCANNER).export_receipts(export).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some(status::NOT_ALLOWED));
    let mut parts = client(&gate, OPERATOR).export_receipts(export).await.unwrap().into_inner();
    let part = parts.message().await.unwrap().unwrap();
    assert!(part.data.starts_with(b"lanyard receipt v1\n"));
    let request = OverrideRequest {
        receipt_id: answer.receipt_id,
        nonce: vec![1; 16],
        verdict: Verdict::Admit.into(),
        reason: "known to me".to_owned(),
    };
    let refused = client(&gate, SUPERVISOR).r#override(request).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some("NOT_OVERRIDABLE"));
    gate.stop().await;

    let gate = Running::start(&event, "gate-1");
    let scanner = client(&gate, SCANNER);
    let again = eventually(|| {
        let mut scanner = scanner.clone();
        async move { scanner.check(check(1)).await }
    });
    assert_eq!(again.await.into_inner(), answer);
    assert_eq!(client(&gate, SCANNER).check(check(2)).await.unwrap().into_inner().receipt_id, 2);
    gate.stop().await;
}
