//! A store that fails, dies, waits or is full as it is told.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::watch;

use super::s3::Server;

/// What happens to writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fault {
    None,
    /// From a number on, nothing is done any more.
    Before,
    /// One more write is carried out, and its answer lost.
    After,
    /// Each is refused: the disk is full.
    Full,
}

#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) inner: Arc<dyn ObjectStore>,
    fault: AtomicU8,
    /// Writes so far, and the number of the one that fails.
    writes: AtomicU64,
    fails_at: AtomicU64,
    /// Reads so far.
    reads: AtomicU64,
    /// Names with this in them are written only once this is empty.
    held: watch::Sender<Option<&'static str>>,
    /// The server that it is in, if it is an own one.
    _server: Option<Server>,
}

impl Faulty {
    pub(super) fn over(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Self::new(inner, None)
    }

    pub(super) fn keeping(inner: Arc<dyn ObjectStore>, server: Server) -> Arc<Self> {
        Self::new(inner, Some(server))
    }

    fn new(inner: Arc<dyn ObjectStore>, server: Option<Server>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            fault: AtomicU8::new(Fault::None as u8),
            writes: AtomicU64::new(0),
            fails_at: AtomicU64::new(u64::MAX),
            reads: AtomicU64::new(0),
            held: watch::Sender::new(None),
            _server: server,
        })
    }

    /// Lets `writes` more writes pass, then fails.
    pub(super) fn fail_after(&self, writes: u64, fault: Fault) {
        self.writes.store(0, Ordering::SeqCst);
        self.fails_at.store(writes, Ordering::SeqCst);
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    pub(super) fn mend(&self) {
        self.fail_after(u64::MAX, Fault::None);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.writes.load(Ordering::SeqCst) > self.fails_at.load(Ordering::SeqCst)
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// Lets writes of such names wait.
    pub(super) fn hold(&self, name: Option<&'static str>) {
        self.held.send_replace(name);
    }

    /// `Some` if the write fails; whether it is carried out first.
    async fn fault(&self, location: &Path) -> Option<Fault> {
        let mut held = self.held.subscribe();
        let free = |held: &Option<&str>| held.is_none_or(|name| !location.as_ref().contains(name));
        held.wait_for(free).await.expect("the store lives");
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        let at = self.fails_at.load(Ordering::SeqCst);
        match self.fault.load(Ordering::SeqCst) {
            _ if number < at => None,
            fault if fault == Fault::After as u8 && number == at => Some(Fault::After),
            fault if fault == Fault::Full as u8 => Some(Fault::Full),
            _ => Some(Fault::Before),
        }
    }
}

fn broken(kind: io::ErrorKind) -> Error {
    Error::Generic { store: "Faulty", source: Box::new(io::Error::from(kind)) }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        match self.fault(location).await {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Fault::After) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(broken(io::ErrorKind::ConnectionReset))
            }
            Some(Fault::Full) => Err(broken(io::ErrorKind::StorageFull)),
            Some(_) => Err(broken(io::ErrorKind::ConnectionReset)),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// All objects with this in their names.
pub(super) async fn names(store: &Faulty, part: &str) -> Vec<Path> {
    let listed: Vec<_> = store.inner.list(None).collect().await;
    let mut names: Vec<Path> = listed.into_iter().map(|meta| meta.unwrap().location).collect();
    names.retain(|name| name.as_ref().contains(part));
    names.sort();
    names
}

pub(super) async fn read(store: &Faulty, name: &Path) -> Bytes {
    store.inner.get_opts(name, GetOptions::default()).await.unwrap().bytes().await.unwrap()
}

/// Exchanges one bit of an object, as a failing disk would.
pub(super) async fn flip(store: &Faulty, name: &Path) {
    let mut bytes = read(store, name).await.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(store, name, bytes.into()).await;
}

pub(super) async fn write(store: &Faulty, name: &Path, bytes: Bytes) {
    store.inner.put_opts(name, bytes.into(), PutOptions::default()).await.unwrap();
}

pub(super) async fn remove(store: &Faulty, name: &Path) {
    let names = futures::stream::iter([Ok(name.clone())]).boxed();
    let removed: Vec<_> = store.inner.delete_stream(names).collect().await;
    removed.into_iter().for_each(|one| drop(one.unwrap()));
}
