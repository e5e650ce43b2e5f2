//! The sponsor on the wire, cut off from the authorities.

#![allow(clippy::disallowed_methods)] // a free port

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lanyard_ceremony::{EventPlan, init_all};
use lanyard_core::badge::{BadgeSecret, ScopedCode};
use lanyard_core::ids::{Audience, Epoch};
use lanyard_env::Env;
use lanyard_party::{Folder, ManifestStore, PartyConfig, expected, trust_anchors};
use lanyard_transport::{Role, Tls, connect, status};
use lanyard_wire::feed::v1::LookupRequest;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::sponsor::v1::desk_service_client::DeskServiceClient;
use lanyard_wire::sponsor::v1::{CheckCodeRequest, CodeVerdict};
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
            tokio::spawn(async move { lanyard_sponsor::serve(config, env, stop).await.unwrap() });
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
async fn desk_and_feed_answer_whom_they_may() {
    let event = event();
    let sponsor = Running::start(&event, "sponsor");
    let manifest = ManifestStore::open(&Folder::open(&sponsor.folder, &Env::system())).unwrap();
    let id = manifest.current().event.clone();
    let secret = BadgeSecret::from_bytes([1; 32]);
    let code = ScopedCode::derive(&secret, &id, Audience::Sponsor, Epoch::new(1)).to_text(&id);
    let desk =
        DeskServiceClient::new(sponsor.channel_as(&sponsor.folder, Some((Role::Desk, "desk"))));
    let answer = eventually(|| {
        let (mut desk, code) = (desk.clone(), code.to_string());
        async move { desk.check_code(CheckCodeRequest { code }).await }
    });
    assert_eq!(answer.await.into_inner().verdict(), CodeVerdict::Undetermined);

    let gate = event.path().join("gate-1");
    let refused = DeskServiceClient::new(sponsor.channel_as(&gate, None))
        .check_code(CheckCodeRequest { code: code.to_string() })
        .await
        .unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some(status::NOT_ALLOWED));
    let request =
        LookupRequest { origin: "lanyard/other/committee".to_owned(), ..Default::default() };
    let missing = FeedServiceClient::new(sponsor.channel_as(&gate, None)).lookup(request).await;
    assert_eq!(status::reason(&missing.unwrap_err()).as_deref(), Some("NOT_MIRRORED"));
    sponsor.stop().await;
}
