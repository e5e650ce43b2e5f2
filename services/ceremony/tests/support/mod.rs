//! One service of an event on the wire, all others away: for the tests of the parties that serve alone.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lanyard_ceremony::{EventPlan, init_all};
use lanyard_env::Env;
use lanyard_party::{Folder, ManifestStore, PartyConfig, expected, trust_anchors};
use lanyard_transport::{Role, Tls, connect, status};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

/// The sample plan.
pub(crate) fn sample() -> EventPlan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/cli/samples/event.toml");
    EventPlan::read(&*Env::system().files, &path).unwrap()
}

/// An event of this plan.
pub(crate) fn event_of(plan: &EventPlan) -> TempDir {
    let members = plan.members().into_iter().filter(|member| member.service().is_some());
    let addresses = members.zip(std::iter::repeat_with(free_port)).collect();
    let dir = tempfile::tempdir().unwrap();
    let env = Env::system();
    init_all(&env, dir.path(), plan, &addresses, "correct horse battery", |_, _| {}).unwrap();
    dir
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A running service.
pub(crate) struct Running {
    pub(crate) folder: PathBuf,
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Running {
    /// Starts a member's service: the `serve` of its crate.
    pub(crate) fn start<S, F, E>(
        event: &TempDir,
        member: &str,
        serve: impl FnOnce(PartyConfig<S>, Env, CancellationToken) -> F,
    ) -> Self
    where
        S: DeserializeOwned,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Debug,
    {
        let (env, folder) = (Env::system(), event.path().join(member));
        let config = PartyConfig::read(&*env.files, &folder.join("config.toml")).unwrap();
        let address = config.common.listen;
        let shutdown = CancellationToken::new();
        let running = serve(config, env, shutdown.clone());
        let serving = tokio::spawn(async move { running.await.unwrap() });
        Self { folder, address, shutdown, serving }
    }

    /// Stops it, and waits for its end.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.serving).await.unwrap().unwrap();
    }

    /// A channel as a person of the party in `folder`, or as its service.
    pub(crate) fn channel_as(&self, folder: &Path, who: Option<(Role, &str)>) -> Channel {
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
pub(crate) async fn eventually<T, F>(mut call: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, Status>>,
{
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
