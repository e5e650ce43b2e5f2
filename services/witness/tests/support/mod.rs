//! A log, witnesses and their servers for tests.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use lanyard_core::checkpoint::{Checkpoint, VerifiedCheckpoint};
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::ids::{Authority, EventId, Origin, Timestamp};
use lanyard_core::log::{self, ConsistencyProof, Log};
use lanyard_core::note::{KeyName, SigningKey, VerifyingKey};
use lanyard_core::witness_request::AddCheckpoint;
use lanyard_env::{
    AppendFile, DiskFiles, Env, FileError, Files, FolderLock, ManualClock, Mode, ReadAt,
};
use lanyard_transport::certificates::{CertificateAuthority, make_csr};
use lanyard_transport::{Acceptor, Identity, Limits, PartyName, PeerId, Role, Tls, TrustAnchors};
use lanyard_witness::{LogSource, MemoryError, Witness};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) clock: ManualClock,
    pub(crate) disk: Arc<FaultyFiles>,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(NOW);
        let disk = Arc::new(FaultyFiles::default());
        let mut env = Env::for_test(clock.clone());
        env.files = Arc::clone(&disk) as Arc<dyn Files>;
        Self { env, clock, disk, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn witness_key(&self, name: &str) -> WitnessKey {
        WitnessKey::generate(KeyName::parse(name).unwrap(), &mut self.env.rng())
    }

    /// A witness of `logs` with a fresh key; the memory is the folder's.
    pub(crate) fn witness(&self, name: &str, logs: &[&TestLog]) -> Result<Witness, MemoryError> {
        let keys: Vec<_> = logs.iter().map(|log| log.verifying_key().into()).collect();
        let logs: LogSource = Arc::new(move || keys.clone());
        let folder = self.folder.path().join(name);
        let key = self.witness_key(name).format();
        let keys = Arc::new(move || Ok(vec![WitnessKey::parse(&key).unwrap()]));
        Witness::open(self.env.clone(), &folder, keys, logs)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

pub(crate) struct TestLog {
    pub(crate) origin: Origin,
    pub(crate) key: SigningKey,
    pub(crate) log: Log,
}

impl TestLog {
    pub(crate) fn new(env: &Env, authority: Authority, leaves: u8) -> Self {
        let origin = Origin::new(&EventId::parse("games-2028").unwrap(), authority);
        let name = KeyName::parse(origin.as_str()).unwrap();
        let key = SigningKey::generate(name, &mut env.rng());
        let mut log = Log::new();
        (0..leaves).for_each(|leaf| {
            log.append(log::leaf_hash(&[leaf]));
        });
        Self { origin, key, log }
    }

    /// The same log and key, but other leaves from `size` on.
    pub(crate) fn fork(&self, size: u8, leaves: u8) -> Self {
        let key = SigningKey::parse(&self.key.format()).unwrap();
        let mut log = Log::new();
        for leaf in 0..leaves {
            let content = if leaf < size { [leaf, 0] } else { [leaf, 1] };
            log.append(log::leaf_hash(if leaf < size { &content[..1] } else { &content }));
        }
        Self { origin: self.origin.clone(), key, log }
    }

    pub(crate) fn verifying_key(&self) -> VerifyingKey {
        self.key.verifying_key().clone()
    }

    pub(crate) fn checkpoint(&self, size: u64) -> VerifiedCheckpoint {
        let root = self.log.root_at(size).unwrap();
        Checkpoint::new(&self.origin, size, root).sign(&self.key).unwrap()
    }

    pub(crate) fn proof(&self, old: u64, size: u64) -> ConsistencyProof {
        self.log.consistency_proof(old, size).unwrap()
    }

    pub(crate) fn request(&self, old: u64, size: u64) -> AddCheckpoint {
        let note = self.checkpoint(size).note().clone();
        AddCheckpoint { old, proof: self.proof(old, size), note }
    }
}

/// The disk, or a full one.
#[derive(Default)]
pub(crate) struct FaultyFiles {
    disk: DiskFiles,
    pub(crate) full: AtomicBool,
}

impl Files for FaultyFiles {
    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(FileError::DiskFull { action: "write", path: path.to_owned() });
        }
        self.disk.write_atomic(path, bytes, mode)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.disk.read(path)
    }

    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        self.disk.append(path)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        self.disk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> Result<(), FileError> {
        self.disk.create_dir_all(dir)
    }

    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        self.disk.exists(path)
    }

    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        self.disk.lock(dir)
    }
}

/// Certificates for a caller and a server, each under its party's authority.
pub(crate) struct Mtls {
    pub(crate) caller: Tls,
    pub(crate) server: Tls,
}

impl Mtls {
    pub(crate) fn new(env: &Env, caller: &PeerId, server: &PeerId) -> Self {
        let until = NOW.plus_millis(86_400_000);
        let make = |party| CertificateAuthority::generate(party, NOW, until).unwrap();
        let authorities = [make(caller.party()), make(server.party())];
        let pems = authorities.iter().map(|own| (own.party(), own.certificate_pem()));
        let anchors = TrustAnchors::from_pem(pems).unwrap();
        let tls = |peer: &PeerId, authority: &CertificateAuthority| {
            let request = make_csr(peer).unwrap();
            let chain = authority.issue(peer, &request.csr_pem, NOW, until).unwrap();
            let identity =
                Identity::from_pem(chain.as_bytes(), request.key_pem.as_bytes()).unwrap();
            Tls::new(env, identity, anchors.clone())
        };
        Self { caller: tls(caller, &authorities[0]), server: tls(server, &authorities[1]) }
    }

    /// The police asking the trustee.
    pub(crate) fn police_and_trustee(env: &Env) -> Self {
        let service = |party, name| PeerId::new(party, Role::Service, name).unwrap();
        let police = service(PartyName::Police, "police");
        Self::new(env, &police, &service(PartyName::Trustee, "trustee"))
    }
}

/// A running server; stops when dropped.
pub(crate) struct Serving {
    pub(crate) address: String,
    _stop: DropGuard,
}

pub(crate) async fn serve(env: &Env, tls: &Tls, routes: Router) -> Serving {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let acceptor = Acceptor::bind(env, any, tls, Limits::default()).await.unwrap();
    let address = acceptor.local_addr().to_string();
    let stop = CancellationToken::new();
    tokio::spawn(lanyard_transport::serve(routes, acceptor, stop.clone()));
    Serving { address, _stop: stop.drop_guard() }
}
