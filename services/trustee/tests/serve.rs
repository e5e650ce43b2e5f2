//! The trustee on the wire.

#![allow(clippy::disallowed_methods)] // a free port

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lanyard_ceremony::{EventPlan, init_all};
use lanyard_env::Env;
use lanyard_party::{Folder, ManifestStore, PartyConfig, expected, trust_anchors};
use lanyard_transport::{Role, Tls, connect, http1, status};
use lanyard_wire::pseudonym::v1::GetUsageRequest;
use lanyard_wire::pseudonym::v1::key_share_service_client::KeyShareServiceClient;
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
    let event = event();
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
