//! A real S3-compatible server: the one at `LANYARD_S3_URL` (`http://HOST:PORT/BUCKET`, with `AWS_ACCESS_KEY_ID` and
//! `AWS_SECRET_ACCESS_KEY`), or an own one of the program `versitygw`, from `LANYARD_VERSITYGW` or the path. Without either,
//! what needs it is skipped, loudly; with either variable set, it must work.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::{Endpoint, ObjectsConfig, ObjectsError, StoreUrl};

const KEY: &str = "AKIDLANYARDTEST";
const SECRET: &str = "hunter2hunter2hunter2";

/// A server with one empty bucket.
#[derive(Debug)]
pub(super) struct Server {
    endpoint: String,
    bucket: String,
    own: Option<(Child, TempDir)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.own {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    pub(super) fn find() -> Option<Self> {
        if let Ok(url) = std::env::var("LANYARD_S3_URL") {
            let (endpoint, bucket) =
                url.rsplit_once('/').expect("LANYARD_S3_URL=http://HOST:PORT/BUCKET");
            return Some(Self {
                endpoint: endpoint.to_owned(),
                bucket: bucket.to_owned(),
                own: None,
            });
        }
        Self::own("http", &[])
    }

    /// A server of the program's own, with more options.
    fn own(scheme: &str, options: &[&OsStr]) -> Option<Self> {
        let named = std::env::var("LANYARD_VERSITYGW");
        let program = named.as_deref().unwrap_or("versitygw");
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("games")).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let started = Command::new(program)
            .args(["--port", &address, "--access", KEY, "--secret", SECRET, "--quiet"])
            .args(options)
            .arg("posix")
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) if named.is_err() => {
                // Not `eprintln!`, which a test that passes keeps to itself.
                writeln!(
                    std::io::stderr(),
                    "SKIPPED over a real S3-compatible server: versitygw: {error}; install it with \
                     go install github.com/versity/versitygw/cmd/versitygw@v1.8.0, or set LANYARD_S3_URL"
                )
                .unwrap();
                return None;
            }
            Err(error) => panic!("LANYARD_VERSITYGW={program}: {error}"),
        };
        let server = Self {
            endpoint: format!("{scheme}://{address}"),
            bucket: "games".to_owned(),
            own: Some((child, dir)),
        };
        for _ in 0..600 {
            if TcpStream::connect(&address).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{program} does not listen on {address}");
    }

    /// A configuration for a prefix of its own, with its credentials in a file below `folder`.
    pub(super) fn config(&self, folder: &std::path::Path) -> ObjectsConfig {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("test-{}-{number}", std::process::id());
        let credentials = self.own.is_some().then(|| credentials(folder, SECRET));
        ObjectsConfig {
            store: Some(StoreUrl::S3 { bucket: self.bucket.clone(), prefix }),
            archive: true,
            keep_hours: 1,
            endpoint: Some(Endpoint::try_from(self.endpoint.clone()).unwrap()),
            region: None,
            credentials,
            ca: None,
        }
    }
}

fn credentials(folder: &std::path::Path, secret: &str) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join("s3.toml");
    std::fs::write(&path, format!("access_key_id = \"{KEY}\"\nsecret_access_key = \"{secret}\"\n"))
        .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn a_bucket_is_checked_and_what_is_wrong_with_it_is_said_without_secrets() {
    let world = world();
    let Some(server) = Server::find() else { return };
    let folder = world.path("party");
    let good = server.config(&folder);
    let event = &world.manifest.event;
    let check = async |config: &ObjectsConfig| {
        let objects = Objects::open(config, &folder, &world.env)?;
        objects.check(event).await
    };
    check(&good).await.unwrap();
    let mut wrong = Vec::new();

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = Endpoint::try_from(format!("http://{nobody}")).unwrap();
    wrong.push((ObjectsConfig { endpoint: Some(closed), ..good.clone() }, nobody.to_string()));
    let bucket = StoreUrl::try_from("s3://no-such-bucket/x".to_owned()).unwrap();
    wrong.push((
        ObjectsConfig { store: Some(bucket), ..good.clone() },
        "make the bucket first".to_owned(),
    ));
    if server.own.is_some() {
        let other = credentials(&world.path("other"), "hunter3hunter3hunter3");
        wrong.push((
            ObjectsConfig { credentials: Some(other), ..good.clone() },
            "credentials".to_owned(),
        ));
    }
    for (config, words) in wrong {
        let error = check(&config).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(&words) && shown.contains("s3://"), "{shown}");
        for secret in [KEY, "hunter", "AWS4-HMAC", "Signature="] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

/// A certificate authority: its certificate, and what signs for it.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    (certificate, Issuer::new(params, key))
}

#[tokio::test]
async fn a_store_with_an_authority_of_its_own_is_reached_over_tls_and_by_no_other() {
    let world = world();
    let folder = world.path("party");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    let ((ca, issuer), (other, _)) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let (certificate, key) =
        (write("server.pem", &certificate.pem()), write("server.key", &key.serialize_pem()));
    write("ca.pem", &ca);
    write("other.pem", &other);
    let options = ["--cert".as_ref(), certificate.as_ref(), "--key".as_ref(), key.as_ref()];
    let Some(server) = Server::own("https", &options) else { return };
    let config = server.config(&folder);
    let check = async |ca: &str| {
        let config = ObjectsConfig { ca: Some(ca.into()), ..config.clone() };
        Objects::open(&config, &folder, &world.env)?.check(&world.manifest.event).await
    };
    check("ca.pem").await.unwrap();
    let error = check("other.pem").await.unwrap_err().to_string();
    assert!(error.contains("certificate") && !error.contains("hunter"), "{error}");
}

#[tokio::test]
async fn a_large_directory_goes_in_parts() {
    let world = world();
    let Some((_, objects)) = bucket(&world) else { return };
    let mut committee = world.publisher("committee");
    // More than one part of the upload.
    committee.begin(150_000);
    committee.settled(put(&[1], 2));
    archived(&world, &objects, &committee.mirror).await;
    let gate = gate_from(&world, &objects, "gate", 2).await;
    assert_eq!(versions(&gate, 1), (Some(2), Some(2)));
}

#[tokio::test]
async fn credentials_files_are_read_and_a_wrong_one_is_not_repeated() {
    let world = world();
    let folder = world.path("party");
    let path = credentials(&folder, SECRET);
    let config = ObjectsConfig {
        store: Some(StoreUrl::try_from("s3://games".to_owned()).unwrap()),
        archive: false,
        keep_hours: 1,
        endpoint: None,
        region: None,
        credentials: Some("s3.toml".into()),
        ca: None,
    };
    let objects = Objects::open(&config, &folder, &world.env).unwrap();
    assert!(!format!("{objects:?} {config:?}").contains("hunter"));
    std::fs::write(&path, format!("access_key_id = {KEY}\nsecret = \"{SECRET}\"\n")).unwrap();
    let error = Objects::open(&config, &folder, &world.env).unwrap_err();
    assert!(matches!(error, ObjectsError::CredentialsFile { .. }));
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("s3.toml") && !shown.contains("hunter") && !shown.contains(KEY),
        "{shown}"
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Objects::open(&config, &folder, &world.env).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    let ca = ObjectsConfig { credentials: None, ca: Some("none.pem".into()), ..config };
    let error = Objects::open(&ca, &folder, &world.env);
    assert!(error.is_err(), "neither credentials nor certificate authorities are there");
}

/// A prefix of a real bucket, if there is a server.
pub(super) fn bucket(world: &World) -> Option<(Arc<Faulty>, Objects)> {
    let server = Server::find()?;
    let folder = world.path("party");
    let objects = Objects::open(&server.config(&folder), &folder, &world.env).unwrap();
    let faulty = Faulty::keeping(Arc::clone(objects.place().store()), server);
    Some((Arc::clone(&faulty), objects.within(faulty)))
}
